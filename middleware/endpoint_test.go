package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

func TestStreamHeaders(t *testing.T) {
	site := newSite(t)
	chat, _ := channelOf(t, site, "chat")
	app := newApp()
	app.Use(func(c *fiber.Ctx) error {
		err := c.Next()
		c.Set("X-After", "arrives") // what is set after the endpoint's handler, too
		return err
	})
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	address := b.get("/").body
	es := b.open(address)
	es.greeted()
	for name, want := range map[string]string{
		"Content-Type":      "text/event-stream",
		"Cache-Control":     "no-cache, no-store, no-transform",
		"X-Accel-Buffering": "no",
		"X-After":           "arrives",
		"Set-Cookie":        "",
		"Content-Encoding":  "",
		"Content-Length":    "",
	} {
		if got := es.resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	head := b.do("HEAD", address, "")
	if head.status != 200 || head.body != "" || head.header.Get("Content-Type") != "text/event-stream" ||
		head.header.Get("Cache-Control") != es.resp.Header.Get("Cache-Control") {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
}

// An event stream is compressed for who accepts it, and HEAD says the same.
func TestCompression(t *testing.T) {
	site := newSite(t)
	chat, put := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Compression: []string{"zstd", "gzip"}}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	address := b.get("/").body
	es := b.open(address) // net/http accepts gzip, and hides it
	es.greeted()
	large := strings.Repeat("large ", 1000)
	put(large)
	es.expect("chat", large)
	put("small")
	es.expect("chat", "small")
	if !es.resp.Uncompressed || es.resp.Header.Get("Cache-Control") != "no-cache, no-store, no-transform" {
		t.Errorf("compressed: %v, header %v", es.resp.Uncompressed, es.resp.Header)
	}
	for accept, want := range map[string]string{"gzip, deflate, br, zstd": "zstd", "gzip": "gzip", "br": ""} {
		for _, method := range []string{"HEAD", "GET"} {
			ctx, cancel := context.WithCancel(context.Background())
			resp := b.send(ctx, method, address, "", "Accept-Encoding", accept)
			if resp.Header.Get("Content-Encoding") != want || resp.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s of %q: %v, want %q", method, accept, resp.Header, want)
			}
			cancel()
			resp.Body.Close()
		}
	}
}

// HEAD opens nothing: an attached stream goes on undisturbed (rule 11).
func TestHeadOpensNothing(t *testing.T) {
	b, tabs, _ := tabApp(t, middleware.Config{})
	token, address := b.tab("/")
	es := b.open(address)
	es.expect("mine", "hello")
	b.do("HEAD", address, "")
	h, err := scope.Register(tabs.of(token), scope.Spec{Name: "later"})
	if err != nil {
		t.Fatal(err)
	}
	if a := b.do("POST", address, "register=later"); a.status != 200 {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	if err := h.Feed().Put(context.Background(), []byte("on")); err != nil {
		t.Fatal(err)
	}
	es.expect("later", "on")
}

func TestOtherMethods(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		a := b.do(method, "/comet", "")
		if a.header.Get("Allow") != "GET, HEAD, POST, OPTIONS" || !strings.Contains(a.body, "Method Not Allowed") {
			t.Errorf("%s: %v %s", method, a.header, a.body)
		}
	}
}

// The cursor of the header wins over the URL's, and after= over the URL's
// positions (rule 4).
func TestCursorInHeaderAndURL(t *testing.T) {
	site := newSite(t)
	chat, put := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.Get("/", openPage(chat.History(0)))
	b := serve(t, app)
	address := b.get("/").body
	var ids []string
	es := b.open(address)
	for _, text := range []string{"1", "2", "3"} {
		put(text)
		ids = append(ids, es.expect("chat", text).ID)
	}
	b.open(address).expect("chat", "1")
	b.open(address+"&after="+ids[0]).expect("chat", "2")
	b.open(address, "Last-Event-ID", ids[1]).expect("chat", "3")
	b.open(address+"&after="+ids[0], "Last-Event-ID", ids[1]).expect("chat", "3")
}

// 204 stops an EventSource: nobody may cache it.
func TestOverIs204(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	_, address := b.tab("/")
	stranger := newBrowser(t, b.origin)
	last := stranger.open(address).expect("comet:gone", "")
	a := stranger.do("GET", address, "", "Last-Event-ID", last.ID)
	if a.status != 204 || a.body != "" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "" {
		t.Errorf("%d %v %q", a.status, a.header, a.body)
	}
}

// A stolen token under another session, one that is unknown, and one whose
// process ended: the same bytes on the wire (rule 8).
func TestStolenTokenIsIndistinguishable(t *testing.T) {
	b, tabs, _ := tabApp(t, middleware.Config{})
	token, address := b.tab("/")
	thief := newBrowser(t, b.origin)
	thief.tab("/")
	wire := func(b *browser) string {
		es := b.open(address)
		for _, ok := es.next(); ok; _, ok = es.next() {
		}
		raw := regexp.MustCompile(`retry: \d+`).ReplaceAllString(es.raw.String(), "retry: jittered")
		header := es.resp.Header.Clone()
		header.Del("Date")
		var all strings.Builder
		_ = header.Write(&all)
		return all.String() + raw
	}
	stolen, without := wire(thief), wire(newBrowser(t, b.origin))
	if tabs.of(token).Err() != nil {
		t.Fatal("the attempt ended the process")
	}
	tabs.of(token).Close()
	ended, unknown := wire(b), wire(thief)
	for name, got := range map[string]string{"without a session": without, "ended": ended, "unknown": unknown} {
		if got != stolen {
			t.Errorf("%s:\n%s\nstolen:\n%s", name, got, stolen)
		}
	}
	if !strings.Contains(stolen, "event: comet:gone") {
		t.Errorf("the answer is\n%s", stolen)
	}
}

// Who reads is sampled at connect, in memory of its own, and reaches Allow.
func TestReader(t *testing.T) {
	site := newSite(t)
	chat, put := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{
		Site: site,
		User: func(c *fiber.Ctx) string { return c.Get("X-User") },
		Allow: func(_ context.Context, r scope.Reader, channel string) error {
			if r.User == "ann" && channel == "chat" && r.Session == "" {
				return nil
			}
			return errors.New("no")
		},
	}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	address := b.get("/").body
	put("secret")
	b.open(address, "X-User", "ann").expect("chat", "secret")
	e := b.open(address, "X-User", "bob").expect("comet:closed", "")
	if !strings.Contains(string(e.Data), "unavailable") {
		t.Errorf("refused with %s, want as a channel that is not there (rule 14)", e.Data)
	}
}

// After Shutdown a stream is told to come back, by a 200 (rule 12), and the app
// shuts down without waiting.
func TestShutdown(t *testing.T) {
	site := scope.NewSite()
	chat, _ := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Storage: new(shelf)}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	address := b.get("/").body
	es := b.open(address)
	es.greeted()
	shutdown(t, site)
	es.ended()
	late := b.open(address)
	late.ended()
	if late.resp.StatusCode != 200 || !strings.Contains(late.raw.String(), "retry: ") {
		t.Errorf("after Shutdown: %d %q", late.resp.StatusCode, late.raw)
	}
	start := time.Now()
	if err := app.ShutdownWithTimeout(patience); err != nil || time.Since(start) > patience/2 {
		t.Errorf("app.Shutdown: %v after %v", err, time.Since(start))
	}
}

// A duplicated tab asks with the first one's URL: the newer wins, and the older
// is told and does not come back (rule 11).
func TestDuplicatedTab(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	_, address := b.tab("/")
	first := b.open(address)
	first.expect("mine", "hello")
	second := b.open(address)
	last := first.expect("comet:superseded", "")
	first.ended()
	if a := b.do("GET", address, "", "Last-Event-ID", last.ID); a.status != http.StatusNoContent {
		t.Errorf("the older one's reconnect: %d, want 204", a.status)
	}
	second.greeted()
}
