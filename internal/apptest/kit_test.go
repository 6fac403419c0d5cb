// Package apptest_test has no code but tests: whole apps, made as a reader of the
// README makes one, on a real listener, heard by a client that has nothing of
// Comet but the URL in the page.
package apptest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/internal/leak"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// TestMain fails the run when it leaves goroutines behind, but for those that
// Fiber and its storage leave running by design.
func TestMain(m *testing.M) {
	leak.Main(m,
		"StartTimeStampUpdater",                           // the memory storage's clock, one for the process
		"github.com/valyala/fasthttp.updateServerDate",    // a clock, one for the process
		"github.com/valyala/fasthttp.(*workerPool).Start", // ends within ten seconds of Shutdown
	)
}

// patience bounds what must happen but has no moment of its own.
const patience = time.Minute

// A server is an app with one Comet, listening.
type server struct {
	t      testing.TB
	origin string
	site   *scope.Site
	log    *logbook

	mu       sync.Mutex
	requests map[string]int      // by method and path
	closed   map[string]struct{} // connections, by the client's address
	opened   int                 // connections
}

// serve runs an app with a Comet of the given Site; routes adds what the app does.
func serve(t testing.TB, config comet.SiteConfig, routes func(*fiber.App, *scope.Site)) *server {
	t.Helper()
	return serveOn(t, config, comet.Config{}, routes)
}

// serveOn is serve with more of the Comet's config.
func serveOn(t testing.TB, config comet.SiteConfig, with comet.Config, routes func(*fiber.App, *scope.Site)) *server {
	t.Helper()
	s := &server{t: t, site: comet.NewSite(config), log: new(logbook), requests: map[string]int{}, closed: map[string]struct{}{}}
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ErrorHandler: s.failed})
	app.Server().Logger = s.log
	app.Server().ConnState = s.connState
	with.Site, with.Logger = s.site, slog.New(slog.NewTextHandler(s.log, nil))
	app.Use(s.count, comet.New(with))
	routes(app, s.site)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.origin = "http://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(s.site.Shutdown(ctx), app.ShutdownWithContext(ctx), <-served); err != nil {
			t.Error("shutting down:", err)
		}
	})
	return s
}

func (s *server) count(c *fiber.Ctx) error {
	s.mu.Lock()
	s.requests[c.Method()+" "+string(c.Request().URI().Path())]++
	s.mu.Unlock()
	return c.Next()
}

func (s *server) asked(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[what]
}

func (s *server) connState(c net.Conn, state fasthttp.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case fasthttp.StateNew:
		s.opened++
	case fasthttp.StateClosed:
		s.closed[c.RemoteAddr().String()] = struct{}{}
	}
}

// failed is an error that reached the app: it is logged, as an app would.
func (s *server) failed(c *fiber.Ctx, err error) error {
	s.log.Printf("%s %s: %v", c.Method(), c.Path(), err)
	return fiber.DefaultErrorHandler(c, err)
}

// A logbook has everything that anybody logged.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// Printf makes it fasthttp's Logger.
func (l *logbook) Printf(format string, args ...any) {
	slog.New(slog.NewTextHandler(l, nil)).Error("fasthttp", "format", format, "args", args)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A browser has a cookie jar, and connections of its own.
type browser struct {
	t         testing.TB
	server    *server
	client    *http.Client
	transport *http.Transport
}

func (s *server) browser() *browser {
	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &browser{s.t, s, &http.Client{Jar: jar, Transport: transport}, transport}
}

func (b *browser) do(ctx context.Context, method, path, body string, header http.Header) *http.Response {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.server.origin + path
	}
	req, err := http.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// get loads a page; post submits a form, as the page whose process is token.
func (b *browser) get(path string) string { b.t.Helper(); return b.text("GET", path, "", nil) }

func (b *browser) post(path, form, token string) string {
	b.t.Helper()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Mode": {"cors"}}
	if token != "" {
		header.Set("Comet-Process", token)
	}
	return b.text("POST", path, form, header)
}

func (b *browser) text(method, path, body string, header http.Header) string {
	b.t.Helper()
	resp := b.do(context.Background(), method, path, body, header)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
	}
	return string(text)
}

// tokenIn returns the process that an event stream's URL names.
func tokenIn(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ := strings.Cut(u.Query().Get("p"), ".")
	return token
}

// A source is one connection of an EventSource.
type source struct {
	t      testing.TB
	status int
	events chan sse.Event
	hangUp context.CancelFunc
	lastID string // of the last event that next returned
}

// listen connects to an event stream, with the last id heard, if any.
func (b *browser) listen(address, lastID string) *source {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	header := http.Header{"Accept": {"text/event-stream"}}
	if lastID != "" {
		header.Set("Last-Event-ID", lastID)
	}
	resp := b.do(ctx, "GET", address, "", header)
	es := &source{t: b.t, status: resp.StatusCode, events: make(chan sse.Event, 2000), hangUp: cancel, lastID: lastID}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(es.events)
		defer resp.Body.Close()
		for e, err := range sse.Read(resp.Body) {
			if err != nil {
				if ctx.Err() == nil {
					b.t.Errorf("reading %s: %v", address, err)
				}
				return
			}
			es.events <- e
		}
	}()
	b.t.Cleanup(func() { cancel(); <-done })
	return es
}

// next returns the next event but heartbeats; false at the end.
func (es *source) next() (sse.Event, bool) {
	es.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, ok := <-es.events:
			if ok && e.Name == "comet:hb" {
				continue
			}
			if ok {
				es.lastID = e.ID
			}
			return e, ok
		case <-late:
			es.t.Fatal("no event came, and no end")
		}
	}
}

// expect reads up to an event of the name, passing over hello, and checks its
// data, unless that is "".
func (es *source) expect(name, data string) sse.Event {
	es.t.Helper()
	for {
		e, ok := es.next()
		switch {
		case ok && e.Name == "comet:hello" && name != "comet:hello":
			continue
		case !ok:
			es.t.Fatalf("the end, where %s %s was due", name, data)
		case e.Name != name || data != "" && string(e.Data) != data:
			es.t.Fatalf("got %s %s, want %s %s", e.Name, e.Data, name, data)
		}
		return e
	}
}

// text returns what the next event of the name says, "" if none comes. Unlike
// expect it is for any goroutine.
func (es *source) text(name string) string {
	for late := time.After(patience); ; {
		select {
		case e := <-es.events:
			if e.Name == name || e.Name == "" {
				return string(e.Data)
			}
		case <-late:
			return ""
		}
	}
}

func (es *source) ended() {
	es.t.Helper()
	if e, ok := es.next(); ok {
		es.t.Fatalf("got %s %s, want the end", e.Name, e.Data)
	}
}

// texts makes a channel of plain text.
func texts(t testing.TB, owner scope.Owner, name string) (*channel.Channel[string], func(string)) {
	t.Helper()
	posts, stream := channel.Push[string]()
	ch, err := channel.Create(owner, stream, channel.Config{Name: name, Encoding: channel.Text})
	if err != nil {
		t.Fatal(err)
	}
	return ch, func(text string) {
		if err := posts.Send(context.Background(), text); err != nil {
			t.Errorf("Send %s: %v", name, err)
		}
	}
}

// eventually waits for what other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// received waits for what a channel brings.
func received[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("never: ", what)
	}
	return v
}
