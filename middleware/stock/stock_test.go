// Package stock proves how Comet lives with Fiber's stock middlewares and settings:
// all of them in a table, which is docs/around.md's, and what is behind some of its
// rows. Some need a module that Comet does not (github.com/tinylib/msgp), so these
// tests are a module of their own.
package stock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cache"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/csrf"
	"github.com/gofiber/fiber/v2/middleware/idempotency"
	"github.com/gofiber/fiber/v2/middleware/limiter"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

const patience = time.Minute

// A server is an app with a site channel "chat" whose address is at /, and a
// page of a client process at /tab.
type server struct {
	t      *testing.T
	origin string
	chat   *scope.Handle
	log    *bytes.Buffer // read it when the requests are over
}

// serve builds the app from what stands before comet, after it, and around the
// page of the process.
func serve(t *testing.T, before, after, page []fiber.Handler) *server {
	t.Helper()
	return serveConfig(t, middleware.Config{}, before, after, page)
}

func serveConfig(t *testing.T, config middleware.Config, before, after, page []fiber.Handler) *server {
	t.Helper()
	s := &server{t: t, log: new(bytes.Buffer)}
	site := scope.NewSite()
	var err error
	if s.chat, err = scope.Register(site, scope.Spec{Name: "chat"}); err != nil {
		t.Fatal(err)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	use := func(handlers []fiber.Handler) {
		for _, h := range handlers {
			app.Use(h)
		}
	}
	use(before)
	config.Site, config.Logger = site, slog.New(slog.NewTextHandler(s.log, nil))
	app.Use(middleware.New(config))
	use(after)
	app.Get("/", func(c *fiber.Ctx) error { return s.page(c, s.chat) })
	app.Get("/tab", append(page, func(c *fiber.Ctx) error {
		if _, err := middleware.ClientProcess(c); err != nil {
			return err
		}
		return s.page(c)
	})...)
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
		if err := site.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := app.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) page(c *fiber.Ctx, refs ...scope.Ref) error {
	address, err := middleware.Open(c, refs...)
	if err != nil {
		return err
	}
	return c.SendString(address)
}

func (s *server) put(text string) {
	s.t.Helper()
	if err := s.chat.Feed().Put(context.Background(), []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) send(ctx context.Context, method, path string, fields ...string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, s.origin+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func (s *server) get(path string, fields ...string) (*http.Response, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp := s.send(ctx, "GET", path, fields...)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// hears opens the stream as EventSource does, puts two values a while apart and
// expects each as it is put.
func (s *server) hears(address string, fields ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp := s.send(ctx, "GET", address, append([]string{"Cache-Control", "no-cache", "Accept", "text/event-stream"}, fields...)...)
	defer resp.Body.Close()
	r := sse.NewReader(resp.Body)
	if e, err := r.Next(); err != nil || e.Name != "comet:hello" {
		s.t.Fatalf("got %q, %v, want comet:hello", e.Name, err)
	}
	for _, text := range []string{"now", "later"} {
		s.put(text)
		e, err := r.Next()
		if err != nil || e.Name != "chat" || string(e.Data) != text {
			s.t.Fatalf("got %q %s, %v, want chat %s", e.Name, e.Data, err, text)
		}
	}
}

// The compress middleware, which would give each reader an encoder, leaves event
// streams alone: those that Comet compresses, and those that it does not.
func TestCompressMiddleware(t *testing.T) {
	for _, codings := range [][]string{nil, {"gzip"}} {
		for _, place := range []string{"before", "after"} {
			t.Run(fmt.Sprint(place, codings), func(t *testing.T) {
				before, after := []fiber.Handler{compress.New()}, []fiber.Handler(nil)
				if place == "after" {
					before, after = after, before
				}
				s := serveConfig(t, middleware.Config{Compression: codings}, before, after, nil)
				_, address := s.get("/")
				s.hears(address) // net/http accepts gzip, and hides it
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				resp := s.send(ctx, "GET", address, "Accept-Encoding", "gzip")
				defer resp.Body.Close()
				if got := resp.Header.Values("Content-Encoding"); fmt.Sprint(got) != fmt.Sprint(codings) {
					t.Errorf("Content-Encoding %q, want %q", got, codings)
				}
			})
		}
	}
}

func TestStoringMiddlewares(t *testing.T) {
	for name, handler := range map[string]func() fiber.Handler{
		"cache":       func() fiber.Handler { return cache.New() },
		"idempotency": func() fiber.Handler { return idempotency.New() },
		"limiter":     func() fiber.Handler { return limiter.New(limiter.Config{Max: 100}) },
		"csrf":        func() fiber.Handler { return csrf.New() },
	} {
		for _, place := range []string{"before", "after"} {
			t.Run(name+" "+place, func(t *testing.T) {
				var before, after []fiber.Handler
				if place == "before" {
					before = []fiber.Handler{handler()}
				} else {
					after = []fiber.Handler{handler()}
				}
				s := serve(t, before, after, nil)
				for range 2 { // the second time it has stored what it stores
					_, address := s.get("/", "Cache-Control", "no-cache")
					s.hears(address)
				}
			})
		}
	}
}

// An event stream is not a response to be repeated. Where idempotency is told to
// store those of GET too, a client that sends a key twice is told to come back,
// and by a comment why.
func TestIdempotencyKeyOnAStream(t *testing.T) {
	everything := idempotency.New(idempotency.Config{Next: func(*fiber.Ctx) bool { return false }})
	s := serve(t, []fiber.Handler{everything}, nil, nil)
	_, address := s.get("/")
	key := []string{"X-Idempotency-Key", "00000000-0000-0000-0000-000000000000"}
	s.hears(address, key...)
	resp, body := s.get(address, key...)
	if resp.StatusCode != 200 || !strings.HasPrefix(body, "retry: ") || !strings.Contains(body, "register comet.New before the middleware that stores it") {
		t.Errorf("the copy is %d %q", resp.StatusCode, body)
	}
}

// csrf refuses commands, audibly; with a Next it leaves them to Comet's own
// guard.
func TestCSRFAndCommands(t *testing.T) {
	skip := csrf.New(csrf.Config{Next: func(c *fiber.Ctx) bool { return c.Path() == "/comet" }})
	for want, handler := range map[int]fiber.Handler{403: csrf.New(), 400: skip} {
		s := serve(t, []fiber.Handler{handler}, nil, nil)
		resp := s.send(context.Background(), "POST", "/comet?v=1")
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("got %d, want %d", resp.StatusCode, want)
		}
	}
}

// cache stores without asking: what it stores of a stream is harmless and says
// what is wrong, and so does one line of the log.
func TestCacheBeforeComet(t *testing.T) {
	s := serve(t, []fiber.Handler{cache.New()}, nil, nil)
	_, address := s.get("/")
	s.hears(address)
	// A client that does not say no-cache, as EventSource does, gets the copy.
	resp, body := s.get(address)
	if resp.Header.Get("X-Cache") != "hit" {
		t.Fatalf("X-Cache %q: cache no longer stores the stream, and the warning is not needed", resp.Header.Get("X-Cache"))
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" ||
		!strings.HasPrefix(body, "retry: ") || !strings.Contains(body, "register comet.New before the middleware that stores it") {
		t.Errorf("the copy is %d %v %q", resp.StatusCode, resp.Header, body)
	}
	s.hears(address) // and EventSource the stream
	if n := strings.Count(s.log.String(), "register comet.New first"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, s.log)
	}
}

// A cache behind comet stores pages that belong to one tab.
func TestCacheOnATabsPage(t *testing.T) {
	s := serve(t, nil, nil, []fiber.Handler{cache.New()})
	s.get("/tab")
	s.get("/tab", "Cache-Control", "no-cache")
	if n := strings.Count(s.log.String(), "give cache a Next"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, s.log)
	}
}

// Where cache is of no harm, nothing is said.
func TestCacheElsewhere(t *testing.T) {
	only := cache.New(cache.Config{Next: func(c *fiber.Ctx) bool { return c.Path() != "/docs" }})
	s := serve(t, nil, []fiber.Handler{only}, nil)
	_, address := s.get("/")
	s.hears(address)
	s.get("/tab")
	if s.log.Len() != 0 {
		t.Errorf("logged:\n%s", s.log)
	}
}
