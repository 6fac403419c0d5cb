package middleware_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/helmet"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// figures is what the tests read of an answer of Inspect.
type figures struct {
	Streams, Processes, Attached, More int
	Ended                              map[string]uint64
	Kinds                              []struct {
		Kind                       string
		Channels, Readers, Waiting int
	}
	Channels []struct {
		Name, Kind, Tail         string
		Readers, Delivered, Kept int
	}
	Readers []struct {
		At, User, Address string
		Waiting           int
	}
}

func (b *browser) figures(query string) (f figures, body string) {
	b.t.Helper()
	a := b.Do("GET", "/inspect?figures=1"+query, "")
	if err := json.Unmarshal([]byte(a.Body), &f); err != nil || a.Status != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		b.t.Fatalf("%d, %v: %s", a.Status, err, a.Body)
	}
	return f, a.Body
}

// inspected is an app with Inspect at /inspect, whose readers are called <b>ada.
func inspected(t *testing.T, site *scope.Site, before ...fiber.Handler) (*browser, *tabs) {
	app, all := newApp(), new(tabs)
	app.Use(middleware.New(middleware.Config{
		Site: site, Logger: new(logbook).logger(), User: func(*fiber.Ctx) string { return "<b>ada" },
	}))
	app.Get("/inspect", append(before, middleware.Inspect(site))...)
	app.Get("/tab", all.page)
	app.Get("/chat", func(c *fiber.Ctx) error {
		chat, err := scope.Find(site, "chat", nil)
		if err != nil {
			return err
		}
		address, err := middleware.Open(c, chat)
		if err != nil {
			return err
		}
		return c.SendString("- " + address)
	})
	return serve(t, app), all
}

// TestInspect: it shows who hears what and how far, and no secret of anybody's.
func TestInspect(t *testing.T) {
	site := newSite(t)
	b, all := inspected(t, site)
	_, say := channelOf(t, site, "chat")
	_, address := b.tab("/chat")
	chat := b.Listen(address)
	chat.Hello()
	token, private := b.tab("/tab")
	mine := b.Listen(private)
	mine.Hello()
	mine.Expect("mine", "hello")
	say("secret value")
	chat.Expect("chat", "secret value")

	var f figures
	var body string
	for start := time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
		if f, body = b.figures("&channel=chat"); len(f.Channels) == 1 && f.Channels[0].Delivered == 1 {
			break
		}
	}
	if f.Streams != 2 || f.Processes != 1 || f.Attached != 1 || len(f.Kinds) != 4 || f.Kinds[0].Readers != 1 || f.Kinds[2].Channels != 1 {
		t.Errorf("%s", body)
	}
	if len(f.Channels) != 1 || f.Channels[0].Name != "chat" || f.Channels[0].Readers != 1 || f.Channels[0].Kept != 1 || f.Channels[0].Tail == "" {
		t.Errorf("channels: %s", body)
	}
	if len(f.Readers) != 1 || f.Readers[0].User != "<b>ada" || f.Readers[0].Address != "127.0.0.1" || f.Readers[0].At != f.Channels[0].Tail {
		t.Errorf("readers: %s", body)
	}
	for _, secret := range []string{token, all.of(token).Session(), "secret value", "<b>", b.Cookies()[0].Value} {
		if strings.Contains(body, secret) {
			t.Errorf("%q is told: %s", secret, body)
		}
	}
	chat.Close()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
		if f, body = b.figures(""); f.Streams == 1 {
			break
		}
	}
	if f.Streams != 1 || f.Ended["peer_closed"] != 1 || len(f.Readers) != 0 {
		t.Errorf("after it left: %s", body)
	}
}

// TestInspectIsBounded: so many channels and no more, but each can be found.
func TestInspectIsBounded(t *testing.T) {
	site := newSite(t)
	b, _ := inspected(t, site)
	var held []any // or they are collected
	for i := range 250 {
		room, say := channelOf(t, site, fmt.Sprintf("room%03d", i))
		held = append(held, room, say)
	}
	defer runtime.KeepAlive(held)
	if f, _ := b.figures(""); len(f.Channels) != 200 || f.More != 50 {
		t.Errorf("%d channels, %d more", len(f.Channels), f.More)
	}
	if f, _ := b.figures("&find=m24"); len(f.Channels) != 10 || f.More != 0 || f.Channels[9].Name != "room249" {
		t.Errorf("found %+v", f.Channels)
	}
}

// TestInspectPage: the page and its files, under a policy without inline scripts, and
// nothing else; the app's authorization stands before all of it.
func TestInspectPage(t *testing.T) {
	site := newSite(t)
	b, _ := inspected(t, site, func(c *fiber.Ctx) error {
		if c.Get("Authorization") != "Bearer admin" {
			return fiber.ErrUnauthorized
		}
		return c.Next()
	})
	for path, contentType := range map[string]string{
		"": "text/html", "?file=inspect.js": "text/javascript", "?file=inspect.css": "text/css", "?figures=1": "application/json",
	} {
		if a := b.Do("GET", "/inspect"+path, ""); a.Status != http.StatusUnauthorized {
			t.Errorf("%s without authorization: %d", path, a.Status)
		}
		a := b.Do("GET", "/inspect"+path, "", "Authorization", "Bearer admin")
		if a.Status != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), contentType) || len(a.Body) < 50 ||
			!strings.Contains(a.Header.Get("Cache-Control"), "no-store") || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, a.Status, a.Header)
		}
		if csp := a.Header.Get("Content-Security-Policy"); (path == "") != strings.Contains(csp, "script-src 'self';") {
			t.Errorf("%s has the policy %q", path, csp)
		}
		if path == "" && (strings.Contains(a.Body, "<script>") || strings.Contains(a.Body, "<style") || strings.Contains(a.Body, " style=") || strings.Contains(a.Body, " onclick")) {
			t.Errorf("something is inline: %s", a.Body)
		}
		if head := b.Do("HEAD", "/inspect"+path, "", "Authorization", "Bearer admin"); head.Status != 200 || head.Body != "" {
			t.Errorf("HEAD %s: %d %q", path, head.Status, head.Body)
		}
	}
	for _, file := range []string{"inspect.html", "../inspect.go", "x"} {
		if a := b.Do("GET", "/inspect?file="+file, "", "Authorization", "Bearer admin"); a.Status != 404 {
			t.Errorf("%s: %d", file, a.Status)
		}
	}
}

// TestInspectKeepsThePolicy: the app's own, if it has one.
func TestInspectKeepsThePolicy(t *testing.T) {
	site := newSite(t)
	app := newApp()
	app.Use(helmet.New(helmet.Config{ContentSecurityPolicy: "default-src 'self'"}))
	app.All("/inspect", middleware.Inspect(site))
	b := serve(t, app)
	if csp := b.get("/inspect").Header.Get("Content-Security-Policy"); csp != "default-src 'self'" {
		t.Errorf("the policy is %q", csp)
	}
	if a := b.Do("POST", "/inspect", ""); a.Status != 405 || a.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", a.Status, a.Header.Get("Allow"))
	}
	defer func() {
		if said, _ := recover().(string); !strings.Contains(said, "Config.Site") {
			t.Errorf("without a site: %q", said)
		}
	}()
	middleware.Inspect(nil)
}
