package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
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
	address := b.get("/").Body
	es := b.Listen(address)
	es.Hello()
	for name, want := range map[string]string{
		"Content-Type":      "text/event-stream",
		"Cache-Control":     "no-cache, no-store, no-transform",
		"X-Accel-Buffering": "no",
		"X-After":           "arrives",
		"Set-Cookie":        "",
		"Content-Encoding":  "",
		"Content-Length":    "",
	} {
		if got := es.Answer().Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	head := b.Do("HEAD", address, "")
	if head.Status != 200 || head.Body != "" || head.Header.Get("Content-Type") != "text/event-stream" ||
		head.Header.Get("Cache-Control") != es.Answer().Header.Get("Cache-Control") {
		t.Errorf("HEAD: %d %v", head.Status, head.Header)
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
	address := b.get("/").Body
	es := b.Listen(address) // net/http accepts gzip, and hides it
	es.Hello()
	large := strings.Repeat("large ", 1000)
	put(large)
	es.Expect("chat", large)
	put("small")
	es.Expect("chat", "small")
	if !es.Answer().Uncompressed || es.Answer().Header.Get("Cache-Control") != "no-cache, no-store, no-transform" {
		t.Errorf("compressed: %v, header %v", es.Answer().Uncompressed, es.Answer().Header)
	}
	for accept, want := range map[string]string{"gzip, deflate, br, zstd": "zstd", "gzip": "gzip", "br": ""} {
		get := b.Listen(address, "Accept-Encoding", accept) // and nobody undoes it
		for method, a := range map[string]comettest.Answer{"HEAD": b.Do("HEAD", address, "", "Accept-Encoding", accept), "GET": get.Answer()} {
			if a.Header.Get("Content-Encoding") != want || a.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s of %q: %v, want %q", method, accept, a.Header, want)
			}
		}
		get.Close()
	}
}

// HEAD opens nothing: an attached stream goes on undisturbed (rule 11).
func TestHeadOpensNothing(t *testing.T) {
	b, tabs, _ := tabApp(t, middleware.Config{})
	token, address := b.tab("/")
	es := b.Listen(address)
	es.Expect("mine", "hello")
	b.Do("HEAD", address, "")
	h, err := scope.Register(tabs.of(token), scope.Spec{Name: "later"})
	if err != nil {
		t.Fatal(err)
	}
	if a := b.Do("POST", address, "register=later"); a.Status != 200 {
		t.Fatalf("register: %d %s", a.Status, a.Body)
	}
	if err := h.Feed().Put(context.Background(), []byte("on")); err != nil {
		t.Fatal(err)
	}
	es.Expect("later", "on")
}

func TestOtherMethods(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		a := b.Do(method, "/comet", "")
		if a.Header.Get("Allow") != "GET, HEAD, POST, OPTIONS" || !strings.Contains(a.Body, "Method Not Allowed") {
			t.Errorf("%s: %v %s", method, a.Header, a.Body)
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
	address := b.get("/").Body
	var ids []string
	es := b.Listen(address)
	for _, text := range []string{"1", "2", "3"} {
		put(text)
		ids = append(ids, es.Expect("chat", text).ID)
	}
	b.Listen(address).Expect("chat", "1")
	b.Listen(address+"&after="+ids[0]).Expect("chat", "2")
	b.Listen(address, "Last-Event-ID", ids[1]).Expect("chat", "3")
	b.Listen(address+"&after="+ids[0], "Last-Event-ID", ids[1]).Expect("chat", "3")
}

// 204 stops an EventSource: nobody may cache it.
func TestOverIs204(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	_, address := b.tab("/")
	stranger := b.another()
	last := stranger.Listen(address).Expect("comet:gone", "")
	a := stranger.Do("GET", address, "", "Last-Event-ID", last.ID)
	if a.Status != 204 || a.Body != "" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "" {
		t.Errorf("%d %v %q", a.Status, a.Header, a.Body)
	}
}

// A stolen token under another session, one that is unknown, and one whose
// process ended: the same bytes on the wire (rule 8).
func TestStolenTokenIsIndistinguishable(t *testing.T) {
	b, tabs, _ := tabApp(t, middleware.Config{})
	token, address := b.tab("/")
	thief := b.another()
	thief.tab("/")
	wire := func(b *browser) string {
		es := b.Listen(address)
		es.Rest()
		raw := regexp.MustCompile(`retry: \d+`).ReplaceAllString(es.Wire(), "retry: jittered")
		header := es.Answer().Header.Clone()
		header.Del("Date")
		var all strings.Builder
		_ = header.Write(&all)
		return all.String() + raw
	}
	stolen, without := wire(thief), wire(b.another())
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
	address := b.get("/").Body
	put("secret")
	b.Listen(address, "X-User", "ann").Expect("chat", "secret")
	e := b.Listen(address, "X-User", "bob").Expect("comet:closed", "")
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
	address := b.get("/").Body
	es := b.Listen(address)
	es.Hello()
	shutdown(t, site)
	es.Away()
	late := b.Listen(address)
	late.Away()
	if late.Answer().Status != 200 || !strings.Contains(late.Wire(), "retry: ") {
		t.Errorf("after Shutdown: %d %q", late.Answer().Status, late.Wire())
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
	first := b.Listen(address)
	first.Expect("mine", "hello")
	second := b.Listen(address)
	last := first.Expect("comet:superseded", "")
	first.Ended()
	if a := b.Do("GET", address, "", "Last-Event-ID", last.ID); a.Status != http.StatusNoContent {
		t.Errorf("the older one's reconnect: %d, want 204", a.Status)
	}
	second.Hello()
}

// TestLeftBeforeItWasHeard proves rule 11 for a page that gave its request up and
// connected anew: who has gone takes nothing from who is there, however late the
// server comes to it.
func TestLeftBeforeItWasHeard(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("whether a peer has gone is known on Linux alone")
	}
	arrived, proceed, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var say func(string)
	app := newApp()
	app.Use(func(c *fiber.Ctx) error {
		if c.Get("X-Slow") == "" {
			return c.Next()
		}
		close(arrived)
		<-proceed
		defer close(answered)
		return c.Next()
	})
	app.Use(middleware.New(middleware.Config{Site: newSite(t)}))
	app.Get("/", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c)
		if err != nil {
			return err
		}
		var mine *scope.Handle
		mine, say = channelOf(t, p, "mine")
		return openPage(mine)(c)
	})
	b := serve(t, app)
	address := b.get("/").Body
	early := b.Browser.Listen(address, "X-Slow", "yes")
	<-arrived
	early.Close()
	tab := b.Listen(address)
	tab.Hello()
	close(proceed)
	<-answered
	say("still here")
	if e := tab.Event(); e.Name != "mine" {
		t.Errorf("heard %s %s", e.Name, e.Data)
	}
}
