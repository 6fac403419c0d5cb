package e2e

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/helmet"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
)

func init() { servers["inspect"] = serveInspect }

// serveInspect serves inspect at /inspect, with a strict policy, and at /hear the event stream of a channel whose reader has a hostile
// name; /say says something in it.
func serveInspect(listener net.Listener, _ []string) error {
	site := comet.NewSite()
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(helmet.New(helmet.Config{ContentSecurityPolicy: "default-src 'self'; img-src 'self' data:"}))
	app.Use(comet.New(comet.Config{Site: site, User: func(*fiber.Ctx) string { return `<img src=x onerror="document.title='owned'">` }}))
	app.Get("/inspect", comet.Inspect(site))
	said, stream := channel.Push[string]()
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 10})
	if err != nil {
		return err
	}
	app.Get("/hear", func(c *fiber.Ctx) error {
		url, err := comet.Open(c, chat)
		if err != nil {
			return err
		}
		return c.SendString(url)
	})
	app.Get("/say", func(c *fiber.Ctx) error { return said.Send(c.UserContext(), "hello") })
	return app.Listener(listener)
}

// TestInspectPage: the page shows a channel and its reader live, what comes from outside as text, and needs no more than a strict policy
// allows.
func TestInspectPage(t *testing.T) {
	inShell(t)
	s, p := newSession(t), serve(t, "inspect")
	origin := strings.TrimSuffix(p.url, "/")
	get := func(path string) *http.Response {
		t.Helper()
		response, err := http.Get(origin + path)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", path, response, err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	address, err := bufio.NewReader(get("/hear").Body).ReadString(0)
	if address == "" {
		t.Fatal(err)
	}
	get(address) // it reads nothing: what is small the socket takes
	tab := s.open(origin + "/inspect")
	tab.until(`document.querySelector("#channels tbody tr")?.cells[2].textContent === "1"`)
	// What is shown already is not made anew each second, under the mouse and a selection.
	eval[bool](tab, `(window.button = document.querySelector("#channels button"), window.state = document.querySelector("#state").textContent, true)`)
	tab.until(`document.querySelector("#state").textContent !== state`)
	if !eval[bool](tab, `button.isConnected`) {
		t.Error("a channel's button was made anew, though its name is the same")
	}
	tab.click("#channels button")
	tab.until(`document.querySelector("#readers tbody tr")?.cells[2].textContent.startsWith("<img src=x")`)
	get("/say")
	tab.until(`document.querySelector("#channels tbody tr").cells[5].textContent === "1" && document.querySelector("#readers tbody tr").cells[0].textContent ===
		document.querySelector("#channels tbody tr").lastElementChild.textContent`)
	if title := eval[string](tab, `document.title`); title != "Comet: inspect" {
		t.Errorf("the title is %q", title)
	}
	if images := eval[int](tab, `document.images.length`); images != 0 {
		t.Errorf("%d images were made of a name", images)
	}
	if border := eval[string](tab, `getComputedStyle(document.querySelector("table")).borderCollapse`); border != "collapse" {
		t.Error("the policy holds back the page's styles")
	}
	tab.close()
}
