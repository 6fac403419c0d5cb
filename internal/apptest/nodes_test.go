package apptest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
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
	user := a.browser()
	address := user.get("/")
	token, tab := tokenIn(t, address), tabs.of(t, address)
	say := func(values ...string) {
		t.Helper()
		for _, v := range values {
			if err := tab.send.Send(context.Background(), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	say("1")
	es := user.listen(b.origin+address, "")
	es.expect("mine", "1")
	say("2", "3")
	es.expect("mine", "2")
	es.expect("mine", "3")
	es.hangUp()
	say("4")
	es = user.listen(b.origin+address, es.lastID)
	es.expect("mine", "4")

	if got := user.post(b.origin+address, "register=soon", ""); !strings.Contains(got, "wanted") {
		t.Error(got)
	}
	header := http.Header{"Comet-Process": {token}, "Sec-Fetch-Mode": {"cors"}}
	for origin, want := range map[string]int{a.origin: 200, b.origin: 421} {
		resp := user.do(context.Background(), "POST", origin+"/form", "", header)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a form of the page at %s got %d, want %d", origin, resp.StatusCode, want)
		}
	}
	thief := b.browser()
	stolen := thief.listen(address, "")
	stolen.expect("comet:gone", fmt.Sprintf(`{"process":%q,"reason":"gone"}`, token))
	stolen.ended()

	// A logout at B ends what the session has on A.
	other := b.browser()
	elsewhere := other.get("/")
	far := other.listen(a.origin+elsewhere, "")
	far.expect("comet:hello", "")
	other.post(a.origin+"/logout", "", "")
	far.expect("comet:gone", "")
	far.ended()

	es.hangUp()
	say("5", "6")
	if err := a.site.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	es = user.listen(b.origin+address, es.lastID)
	es.expect("mine", "5")
	es.expect("mine", "6")
	es.expect("comet:closed", `{"channel":"mine","reason":"closed","final":true}`)
	es.expect("comet:gone", fmt.Sprintf(`{"process":%q,"reason":"gone"}`, token))
	es.ended()
	if again := user.listen(b.origin+address, es.lastID); again.status != 204 {
		t.Errorf("the reconnect got %d, want 204", again.status)
	}
}
