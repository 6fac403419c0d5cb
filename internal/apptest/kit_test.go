// Package apptest_test has no code but tests: whole apps, made as a reader of the
// README makes one, on a real listener, and what is seen from outside, by comettest.
package apptest_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/internal/leak"
	"github.com/ocsigo/comet/scope"
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

// A server is an app with one Comet, served on a port.
type server struct {
	*comettest.App
	site *scope.Site
	log  *logbook

	mu       sync.Mutex
	requests map[string]int      // by method and path
	closed   map[string]struct{} // connections, by the client's address
}

// serve runs an app with a Comet of the given Site; routes adds what the app does.
func serve(t testing.TB, config comet.SiteConfig, routes func(*fiber.App, *scope.Site)) *server {
	t.Helper()
	return serveOn(t, config, comet.Config{}, routes)
}

// serveOn is serve with more of the Comet's config.
func serveOn(t testing.TB, config comet.SiteConfig, with comet.Config, routes func(*fiber.App, *scope.Site)) *server {
	t.Helper()
	s := &server{site: comet.NewSite(config), log: new(logbook), requests: map[string]int{}, closed: map[string]struct{}{}}
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ErrorHandler: s.failed})
	app.Server().Logger = s.log
	app.Server().ConnState = s.connState
	with.Site, with.Logger = s.site, slog.New(slog.NewTextHandler(s.log, nil))
	app.Use(s.count, comet.New(with))
	routes(app, s.site)
	s.App = comettest.ServeTCP(t, app, s.site)
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
	if state == fasthttp.StateClosed {
		s.mu.Lock()
		defer s.mu.Unlock()
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

// open loads a page that is the address of its event stream, and connects.
func open(b *comettest.Browser, path string) *comettest.Tab {
	page := b.Open(path)
	page.Connect(page.Page.Body)
	return page
}

// hear takes n events, and returns the data of each name, one after the other.
func hear(tab *comettest.Tab, n int) map[string]string {
	heard := map[string]string{}
	for range n {
		e := tab.Next()
		heard[e.Name] += string(e.Data)
	}
	return heard
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
