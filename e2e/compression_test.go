package e2e

import (
	"fmt"
	"html"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
)

func init() { servers["compressed"] = serveCompressed }

// serveCompressed serves a page that hears a compressed event stream, and that asks in which coding.
func serveCompressed(listener net.Listener, codings []string) error {
	site := comet.NewSite()
	posts, stream := channel.Push[message]()
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 200})
	if err != nil {
		return err
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(comet.New(comet.Config{Site: site, Compression: codings}))
	app.Get("/", func(c *fiber.Ctx) error {
		url, err := comet.Open(c, chat.History(200))
		if err != nil {
			return err
		}
		c.Type("html", "utf-8")
		return c.SendString(fmt.Sprintf(`<!doctype html><link rel="icon" href="data:,"><meta name="comet" content="%s"><script>
			const url = document.querySelector("meta[name=comet]").content, got = [], source = new EventSource(url);
			source.addEventListener("chat", e => got.push(JSON.parse(e.data).Text));
			let lost = 0, ended = false, coding;
			source.onerror = () => lost++;
			source.addEventListener("comet:end", () => ended = true);
			fetch(url).then(r => { coding = r.headers.get("content-encoding") ?? "none"; r.body.cancel(); });
		</script>`, html.EscapeString(url)))
	})
	app.Post("/messages", func(c *fiber.Ctx) error { return posts.Send(c.UserContext(), message{c.FormValue("text")}) })
	app.Post("/end", func(c *fiber.Ctx) error { posts.Close(); return nil })
	return app.Listener(listener)
}

// Rule 2, compressed: a replay, large values that are shared and small ones that are not are heard as they are said, each without the
// next; and the clean end as one.
func TestCompressed(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"gzip", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			inEachEngine(t, func(t *testing.T, in string) {
				s := newSessionIn(t, in)
				p := serve(t, "compressed", coding)
				var want []string
				say := func(text string) {
					p.say(text)
					want = append(want, text)
				}
				for i := range 100 {
					say(fmt.Sprint("small, before the page: ", i))
				}
				tab := s.open(p.url)
				tab.until(`got.length === 100 && coding`)
				for i := range 3 {
					for _, text := range []string{"small", strings.Repeat(fmt.Sprint("large ", i, ", "), 1000)} {
						say(text)
						tab.until(fmt.Sprintf(`got.length === %d`, len(want)))
					}
				}
				if got := eval[[]string](tab, `got`); !slices.Equal(got, want) {
					t.Errorf("the page heard %.200q", got)
				}
				if lost := eval[int](tab, `lost`); lost != 0 {
					t.Errorf("the event stream was lost %d times", lost)
				}
				p.post("/end", url.Values{})
				tab.until(`ended && source.readyState === 2`)
				if got := eval[string](tab, `coding`); got != coding {
					t.Errorf("the coding was %q, want %q", got, coding)
				}
			})
		})
	}
}
