// Package stock proves how Comet lives with Fiber's stock middlewares and settings:
// all of them in a table, which is docs/around.md's, and what is behind some of its
// rows. Some need a module that Comet does not (github.com/tinylib/msgp), so these
// tests are a module of their own.
package stock

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cache"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/csrf"
	"github.com/gofiber/fiber/v2/middleware/idempotency"
	"github.com/gofiber/fiber/v2/middleware/limiter"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// A server is an app with a site channel "chat" whose address is at /, and a
// page of a client process at /tab.
type server struct {
	*comettest.App
	t    *testing.T
	chat *scope.Handle
	log  *bytes.Buffer // read it when the requests are over
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
	s.App = comettest.ServeTCP(t, app, site)
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

// get asks as somebody whom the app does not know.
func (s *server) get(path string, fields ...string) comettest.Answer {
	s.t.Helper()
	return s.Browser().Do("GET", path, "", fields...)
}

// hears connects, puts two values a while apart and expects each as it is put.
func (s *server) hears(address string, fields ...string) {
	s.t.Helper()
	tab := s.Browser().Listen(address, fields...)
	defer tab.Close()
	tab.Hello()
	for _, text := range []string{"now", "later"} {
		s.put(text)
		tab.Expect("chat", text)
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
				address := s.get("/").Body
				s.hears(address) // net/http accepts gzip, and hides it
				tab := s.Browser().Listen(address, "Accept-Encoding", "gzip")
				if got := tab.Answer().Header.Values("Content-Encoding"); fmt.Sprint(got) != fmt.Sprint(codings) {
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
					address := s.get("/", "Cache-Control", "no-cache").Body
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
	address := s.get("/").Body
	key := []string{"X-Idempotency-Key", "00000000-0000-0000-0000-000000000000"}
	s.hears(address, key...)
	a := s.get(address, key...)
	if a.Status != 200 || !strings.HasPrefix(a.Body, "retry: ") || !strings.Contains(a.Body, "register comet.New before the middleware that stores it") {
		t.Errorf("the copy is %d %q", a.Status, a.Body)
	}
}

// csrf refuses commands, audibly; with a Next it leaves them to Comet's own
// guard.
func TestCSRFAndCommands(t *testing.T) {
	skip := csrf.New(csrf.Config{Next: func(c *fiber.Ctx) bool { return c.Path() == "/comet" }})
	for want, handler := range map[int]fiber.Handler{403: csrf.New(), 400: skip} {
		s := serve(t, []fiber.Handler{handler}, nil, nil)
		s.Browser().Do("POST", "/comet?v=1", "").Want(want)
	}
}

// cache stores without asking: what it stores of a stream is harmless and says
// what is wrong, and so does one line of the log.
func TestCacheBeforeComet(t *testing.T) {
	s := serve(t, []fiber.Handler{cache.New()}, nil, nil)
	address := s.get("/").Body
	s.hears(address)
	// A client that does not say no-cache, as EventSource does, gets the copy.
	a := s.get(address)
	if a.Header.Get("X-Cache") != "hit" {
		t.Fatalf("X-Cache %q: cache no longer stores the stream, and the warning is not needed", a.Header.Get("X-Cache"))
	}
	if a.Status != 200 || a.Header.Get("Content-Type") != "text/event-stream" ||
		!strings.HasPrefix(a.Body, "retry: ") || !strings.Contains(a.Body, "register comet.New before the middleware that stores it") {
		t.Errorf("the copy is %d %v %q", a.Status, a.Header, a.Body)
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
	address := s.get("/").Body
	s.hears(address)
	s.get("/tab")
	if s.log.Len() != 0 {
		t.Errorf("logged:\n%s", s.log)
	}
}
