package e2e

import (
	"fmt"
	"html"
	"net"
	"slices"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
)

type message struct{ Text string }

func init() { servers["plain"] = servePlain }

// servePlain serves the shortest page that hears a channel.
func servePlain(listener net.Listener, _ []string) error {
	site := comet.NewSite()
	posts, stream := channel.Push[message]()
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 100})
	if err != nil {
		return err
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
			const got = [], source = new EventSource(document.querySelector("meta[name=comet]").content);
			source.addEventListener("chat", e => got.push(JSON.parse(e.data).Text));
			let lost = 0;
			source.onerror = () => lost++;
			source.addEventListener("comet:full", e => got.push(JSON.parse(e.data).reason));
		</script>`, html.EscapeString(url)))
	})
	app.Post("/messages", func(c *fiber.Ctx) error { return posts.Send(c.UserContext(), message{c.FormValue("text")}) })
	return app.Listener(listener)
}

// Rule 3: one line of script is enough to hear a channel.
func TestPlainEventSource(t *testing.T) {
	inWebKitToo(t, func(t *testing.T, in string) {
		s := newSessionIn(t, in)
		p := serve(t, "plain")
		p.say("before the page")
		tab := s.open(p.url)
		p.say("after it")
		tab.until(`got.length === 2`)
		if got := eval[[]string](tab, `got`); !slices.Equal(got, []string{"before the page", "after it"}) {
			t.Errorf("the page heard %q", got)
		}
	})
}

// Rules 1 and 8: a server that was killed and comes back tells a plain EventSource that its log is another one.
func TestPlainEventSourceServerRestarts(t *testing.T) {
	inWebKitToo(t, func(t *testing.T, in string) {
		s := newSessionIn(t, in)
		p := serve(t, "plain")
		tab := s.open(p.url)
		p.say("before")
		tab.until(`got.length === 1`)
		p.kill()
		tab.until(`lost > 1`) // a connection was refused
		p.restart()
		tab.until(`source.readyState === 1`)
		p.say("after")
		tab.until(`got.at(-1) === "after"`)
		if got := eval[[]string](tab, `got`); !slices.Equal(got, []string{"before", "reset", "after"}) {
			t.Errorf("the page heard %q", got)
		}
	})
}
