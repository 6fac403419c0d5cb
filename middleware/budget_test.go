package middleware_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// most is more channels than any address has room for.
const most = 50

// registered opens a page of one site channel below path, registers others of
// 100 bytes' names until one is refused, and moves all of them.
func registered(t *testing.T, config middleware.Config, path string) (b *browser, address, cursor string, accepted int) {
	t.Helper()
	site := newSite(t)
	config.Site = site
	first, put := channelOf(t, site, "first")
	app := newApp()
	app.Use(middleware.New(config))
	app.Get("/", func(c *fiber.Ctx) error {
		_, err := middleware.ClientProcess(c)
		return errors.Join(err, openPage(first)(c))
	})
	b = serve(t, app)
	address = b.get("/").Body
	_, query, _ := strings.Cut(address, "?")
	address = path + "?" + query
	es := b.Listen(address)
	es.Hello()
	puts := []func(string){put}
	for ; accepted < most; accepted++ {
		h, put := channelOf(t, site, fmt.Sprintf("%0100d", accepted))
		if a := b.Do("POST", address, "register="+h.Name()); a.Status != 200 {
			if a.Status != 403 || !strings.Contains(a.Body, scope.ErrTooLong.Error()) {
				t.Fatalf("register %d: %d %s", accepted, a.Status, a.Body)
			}
			break
		}
		puts = append(puts, put)
	}
	for _, put := range puts {
		put("moved")
	}
	for range puts {
		cursor = es.Next().ID
	}
	es.Close()
	return b, address, cursor, accepted
}

// What register accepts leaves room in Fiber's header buffer for the cookies,
// also at the reconnect of an EventSource that a page made with after=, which
// sends the cursor twice (rule 4).
func TestRegisterLeavesRoomForTheCursorTwice(t *testing.T) {
	b, address, cursor, accepted := registered(t, middleware.Config{}, "/comet")
	if accepted == 0 || accepted == most {
		t.Fatalf("%d channels were registered: the bound was not met", accepted)
	}
	cookie := "app=" + strings.Repeat("x", 1900)
	for _, again := range []string{address, address + "&after=" + url.QueryEscape(cursor)} {
		if a := b.Listen(again, "Last-Event-ID", cursor, "Cookie", cookie).Answer(); a.Status != 200 {
			t.Errorf("a reconnect to %d bytes with a cursor of %d: %d", len(again), len(cursor), a.Status)
		}
	}
}

// The path that the browser asks for counts, whether the app sees it or a proxy
// takes its prefix away (rule 4).
func TestPathCountsAgainstRegister(t *testing.T) {
	_, _, _, short := registered(t, middleware.Config{}, "/comet")
	long := "/" + strings.Repeat("x", 1000)
	_, _, _, seen := registered(t, middleware.Config{Path: long}, long)
	_, _, _, hidden := registered(t, middleware.Config{PublicPath: long}, "/comet")
	if seen >= short || hidden != seen {
		t.Errorf("registered below a short path %d, below a long one %d, behind a proxy %d", short, seen, hidden)
	}
}
