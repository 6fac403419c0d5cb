package apptest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/gofiber/fiber/v2"
	storage "github.com/gofiber/storage/memory/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// TestNodes: one app on two nodes, which share an engine and the sessions' storage, over
// HTTP. A page of node A is heard from B, commands B, is told by B's handlers that it
// belongs to A; A shuts down and its tab hears what waited, that its channel is closed,
// and that it is gone.
func TestNodes(t *testing.T) {
	engine, sessions := memory.New(memory.Config{Nodes: true}), storage.New()
	t.Cleanup(func() {
		if err := engine.Close(context.Background()); err != nil {
			t.Error(err)
		}
		_ = sessions.Close()
	})
	tabs := new(roster)
	node := func() *server {
		return serveOn(t, comet.SiteConfig{Engine: engine}, comet.Config{Storage: sessions}, func(app *fiber.App, _ *scope.Site) {
			app.Get("/", tabs.page)
			app.Post("/form", func(c *fiber.Ctx) error {
				_, err := comet.ClientProcess(c)
				return err
			})
			app.Post("/logout", func(c *fiber.Ctx) error { return comet.EndSession(c) })
		})
	}
	a, b := node(), node()
	user := a.Browser()
	page := user.Open("/")
	tab := tabs.of(t, page.Page.Body)
	say := func(values ...string) {
		t.Helper()
		for _, v := range values {
			if err := tab.send.Send(context.Background(), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	say("1")
	user.Route(b.App)
	page.Connect(page.Page.Body)
	gone := fmt.Sprintf(`{"process":%q,"reason":"gone"}`, page.Token())
	page.Expect("mine", "1")
	say("2", "3")
	page.Expect("mine", "2")
	page.Expect("mine", "3")
	page.Cut()
	say("4")
	page.Reconnect()
	page.Expect("mine", "4")

	if got := page.Register("soon"); got.State != "wanted" {
		t.Error(got)
	}
	page.Post("/form", nil).Want(421)
	user.Route(a.App)
	page.Post("/form", nil).Want(200)
	user.Route(b.App)
	stolen := b.Browser().Listen(page.URL())
	stolen.Expect("comet:gone", gone)
	stolen.Ended()

	// A logout at B ends what the session has on A.
	other := b.Browser()
	far := other.Open("/")
	other.Route(a.App)
	far.Connect(far.Page.Body)
	far.Hello()
	other.Post("/logout", nil).Want(200)
	far.Expect("comet:gone", "")
	far.Ended()

	page.Offline()
	say("5", "6")
	if err := a.site.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	page.Online()
	page.Expect("mine", "5")
	page.Expect("mine", "6")
	page.Expect("comet:closed", `{"channel":"mine","reason":"closed","final":true}`)
	page.Expect("comet:gone", gone)
	page.Ended()
	page.Reconnect()
	if status := page.Closed(); status != 204 {
		t.Errorf("the reconnect got %d, want 204", status)
	}
}
