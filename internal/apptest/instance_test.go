package apptest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// TestExternal: Eliom rows 1a.5 and 2.5, and rule 17: a page of A hears B's channel
// from B itself; A is not asked, B's history is 1 unless said otherwise, and what B
// does not have is closed.
func TestExternal(t *testing.T) {
	var send func(string)
	var b *server
	a := serve(t, comet.SiteConfig{}, func(app *fiber.App, _ *scope.Site) {
		app.Get("/", func(c *fiber.Ctx) error {
			elsewhere := b.Origin() + "/comet"
			address, err := comet.Open(c, channel.External(elsewhere, "news"), channel.External(elsewhere, "nothing"))
			if err != nil {
				return err
			}
			return c.SendString(address)
		})
	})
	b = serveOn(t, comet.SiteConfig{}, comet.Config{Origins: []string{a.Origin()}}, func(_ *fiber.App, site *scope.Site) { _, send = texts(t, site, "news") })
	tab := a.Browser().Open("/")
	if !strings.HasPrefix(tab.Page.Body, b.Origin()+"/comet?") {
		t.Fatalf("the page is sent to %s", tab.Page.Body)
	}
	send("older")
	send("newest before the page connected")
	tab.Connect(tab.Page.Body)
	want := map[string]string{"news": "newest before the page connected", "comet:closed": `{"channel":"nothing","reason":"unavailable","final":true}`}
	if got := hear(tab, 2); !maps.Equal(got, want) {
		t.Fatalf("heard %v", got)
	}
	send("live")
	tab.Expect("news", "live")
	if n := a.asked("GET /comet"); n != 0 {
		t.Errorf("A was asked for %d event streams", n)
	}
}

// TestServerRestarts: Eliom row 2.2.9 and 4b (no epoch), rules 1 and 8, over HTTP:
// a page that outlives its server hears from the next one what it lost, by name,
// and then everything that is said there.
func TestServerRestarts(t *testing.T) {
	start := func() (*server, func(string)) {
		var send func(string)
		s := serve(t, comet.SiteConfig{}, func(app *fiber.App, site *scope.Site) {
			var chat *channel.Channel[string]
			chat, send = texts(t, site, "chat")
			app.Get("/", func(c *fiber.Ctx) error {
				p, err := comet.ClientProcess(c)
				if err != nil {
					return err
				}
				mine, _ := texts(t, p, "mine")
				address, err := comet.Open(c, chat, mine)
				if err != nil {
					return err
				}
				return c.SendString(address)
			})
		})
		return s, send
	}
	old, say := start()
	tab := open(old.Browser(), "/")
	for i := range 500 {
		say(fmt.Sprint(i))
		tab.Expect("chat", fmt.Sprint(i))
	}
	tab.Close()

	young, say := start()
	say("first words")
	tab = young.Browser().Listen(tab.URL(), "Last-Event-ID", tab.LastEventID())
	seen := hear(tab, 3)
	if !strings.Contains(seen["comet:full"], `"reason":"reset","final":false`) || seen["chat"] != "first words" || !strings.Contains(seen["comet:gone"], `"reason":"gone"`) {
		t.Fatalf("heard %v", seen)
	}
	say("goes on")
	tab.Expect("chat", "goes on")
}

// TestParallelComets: Eliom rows 1e.2, 1e.3 and 2.8.8: parallel hierarchies live
// and end apart. An event stream of one Comet is no activity of the other's tab,
// and the end of one Comet's session leaves the other's alone.
func TestParallelComets(t *testing.T) {
	const away = 200 * time.Millisecond
	admin := comet.NewSite()
	t.Cleanup(func() { _ = admin.Shutdown(context.Background()) })
	adminAway, shopAway := make(chan error, 1), make(chan error, 1)
	var sendShop func(string)
	shop := serve(t, comet.SiteConfig{}, func(app *fiber.App, site *scope.Site) {
		app.Use(comet.New(comet.Config{Site: admin, Path: "/admin", Cookie: "admin"}))
		tab := func(c *fiber.Ctx, owner *scope.Site, inactive chan error) (address string, send func(string), err error) {
			p, err := comet.ClientProcess(c, owner)
			if err != nil {
				return "", nil, err
			}
			p.AfterInactive(away, func(err error) { inactive <- err })
			mine, send := texts(t, p, "mine")
			address, err = comet.Open(c, mine)
			return address, send, err
		}
		app.Get("/", func(c *fiber.Ctx) error {
			inner, _, err := tab(c, admin, adminAway)
			if err != nil {
				return err
			}
			outer, send, err := tab(c, site, shopAway)
			sendShop = send
			return errors.Join(err, c.SendString(inner+" "+outer))
		})
		app.Post("/logout", func(c *fiber.Ctx) error { return comet.EndSession(c, admin) })
	})
	b := shop.Browser()
	inner, outer, _ := strings.Cut(b.Get("/").Want(200).Body, " ")
	shopping := b.Listen(outer)
	shopping.Hello()
	if err := received(t, "the admin tab is inactive, whatever the shop's does", adminAway); err != nil {
		t.Fatal(err)
	}
	administering := b.Listen(inner)
	administering.Hello()
	b.Post("/logout", nil).Want(200)
	administering.Expect("comet:gone", "")
	administering.Ended()
	sendShop("still open")
	shopping.Expect("mine", "still open")
	if len(shopAway) > 0 {
		t.Error("the shop's tab was taken for inactive:", <-shopAway)
	}
}
