package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// Fiber's strings are the request's memory, used again by the next request. Here
// thousands come at once, and everything that outlives one is looked at later:
// user names and sessions of readers, queries and cursors, tokens, texts.
func TestNothingIsBorrowed(t *testing.T) {
	const browsers, rounds = 20, 100
	site := newSite(t, scope.SiteConfig{MaxProcesses: 200})
	tabs := new(tabs)
	var mu sync.Mutex
	readers := map[string]map[scope.Reader]bool{} // by channel, as Allow is told
	app := newApp(fiber.Config{ErrorHandler: tellError})
	app.Use(middleware.New(middleware.Config{
		Site: site,
		User: func(c *fiber.Ctx) string { return c.Get("X-User") },
		Allow: func(_ context.Context, r scope.Reader, channel string) error {
			mu.Lock()
			defer mu.Unlock()
			if readers[channel] == nil {
				readers[channel] = map[scope.Reader]bool{}
			}
			readers[channel][r] = true
			return nil
		},
	}))
	app.Get("/", tabs.page)
	app.Get("/open/:name", func(c *fiber.Ctx) error {
		h, err := scope.Find(site, strings.Clone(c.Params("name")), nil)
		if err != nil {
			return err
		}
		if _, err := middleware.ClientProcess(c); err != nil {
			return err
		}
		return openPage(h)(c)
	})
	app.Post("/say/:name", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c)
		if err != nil {
			return err
		}
		h, err := scope.Find(site, strings.Clone(c.Params("name")), nil)
		if err != nil {
			return err
		}
		return h.Feed().Put(c.UserContext(), []byte(p.Token()+" "+c.FormValue("text")))
	})
	origin := listen(t, app)

	var wg sync.WaitGroup
	for i := range browsers {
		name := fmt.Sprintf("channel%02d", i)
		h, _ := channelOf(t, site, name)
		b := newBrowser(t, origin)
		wg.Go(func() {
			defer h.Name() // holds the channel
			token, _ := b.tab("/")
			user := []string{"X-User", strings.Repeat(fmt.Sprintf("user%02d.", i), 1+i)}
			es := b.Listen(b.get("/open/"+name, "Comet-Process", token).Body, user...)
			es.Expect("mine", "hello")
			for round := range rounds {
				text := strings.Repeat(fmt.Sprintf("%02d-%03d.", i, round), 1+(i*round)%30)
				a := b.Do("POST", "/say/"+name, "text="+text+"&comet="+token,
					"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Mode", "cors")
				if a.Status != 200 {
					t.Errorf("%s: %d %s", name, a.Status, a.Body)
					return
				}
				es.Expect(name, token+" "+text)
			}
			if p := tabs.of(token); p == nil || p.Token() != token {
				t.Errorf("%s: the token of the process changed", name)
			}
		})
	}
	wg.Wait()
	for i := range browsers {
		want := strings.Repeat(fmt.Sprintf("user%02d.", i), 1+i)
		for r := range readers[fmt.Sprintf("channel%02d", i)] {
			if r.User != want || len(r.Session) != 22 {
				t.Errorf("channel%02d was opened by %+v, want the user %s", i, r, want)
			}
		}
	}
}
