package e2e

import (
	"fmt"
	"html"
	"net"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
)

type message struct{ Text string }

// Rule 3: one line of script is enough to hear a channel.
func TestPlainEventSource(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	site := comet.NewSite()
	posts, stream := channel.Push[message]()
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(comet.New(comet.Config{Site: site}))
	app.Get("/", func(c *fiber.Ctx) error {
		url, err := comet.Open(c, chat.History(50))
		if err != nil {
			return err
		}
		c.Type("html", "utf-8")
		return c.SendString(fmt.Sprintf(`<!doctype html><link rel="icon" href="data:,"><meta name="comet" content="%s"><script>
			const got = [];
			new EventSource(document.querySelector("meta[name=comet]").content).addEventListener("chat", e => got.push(JSON.parse(e.data).Text));
		</script>`, html.EscapeString(url)))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	defer func() {
		if err := site.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := app.ShutdownWithContext(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	send := func(text string) {
		if err := posts.Send(t.Context(), message{text}); err != nil {
			t.Fatal(err)
		}
	}
	send("before the page")
	tab := s.open("http://" + listener.Addr().String())
	send("after it")
	tab.until(`got.length === 2`)
	if got := eval[[]string](tab, `got`); got[0] != "before the page" || got[1] != "after it" {
		t.Errorf("the page heard %q", got)
	}
}
