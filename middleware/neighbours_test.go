package middleware_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/gofiber/fiber/v2/middleware/logger"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/requestid"
	"github.com/gofiber/fiber/v2/middleware/timeout"

	"github.com/ocsigo/comet/middleware"
)

// Every stock middleware that touches a response, before and after comet: the
// stream starts at once, and what is sent later comes when it is sent.
func TestStockMiddlewares(t *testing.T) {
	for name, handler := range map[string]func() fiber.Handler{
		"etag":      func() fiber.Handler { return etag.New() },
		"weak etag": func() fiber.Handler { return etag.New(etag.Config{Weak: true}) },
		"compress":  func() fiber.Handler { return compress.New() },
		"cors":      func() fiber.Handler { return cors.New() },
		"helmet":    func() fiber.Handler { return helmet.New() },
		"recover":   func() fiber.Handler { return recover.New() },
		"requestid": func() fiber.Handler { return requestid.New() },
		"logger": func() fiber.Handler {
			return logger.New(logger.Config{Format: "${status} ${resBody} ${latency}\n", Output: new(bytes.Buffer)})
		},
		"timeout": func() fiber.Handler { return timeout.NewWithContext(next, 100*time.Millisecond) },
		//lint:ignore SA1019 apps have it
		"timeout, former": func() fiber.Handler { return timeout.New(next, 100*time.Millisecond) },
	} {
		for _, place := range []string{"before", "after"} {
			t.Run(name+" "+place, func(t *testing.T) {
				t.Parallel()
				testNeighbour(t, handler(), place == "before")
			})
		}
	}
}

func next(c *fiber.Ctx) error { return c.Next() }

func testNeighbour(t *testing.T, neighbour fiber.Handler, before bool) {
	site := newSite(t)
	chat, put := channelOf(t, site, "chat")
	app, tabs := newApp(), new(tabs)
	comet := middleware.New(middleware.Config{Site: site, Logger: new(logbook).logger()})
	if before {
		app.Use(neighbour)
		app.Use(comet)
	} else {
		app.Use(comet)
		app.Use(neighbour)
	}
	app.Get("/", openPage(chat))
	app.Get("/tab", tabs.page)
	b := serve(t, app)
	encoded := []string{"Accept-Encoding", "gzip, br"}

	_, address := b.tab("/tab")
	b.Listen(address, encoded...).Expect("mine", "hello")
	address = b.get("/").Body
	es := b.Listen(address, encoded...)
	es.Hello()
	put("now")
	es.Expect("chat", "now")
	time.Sleep(120 * time.Millisecond) // past the timeout: there is nothing to wait for but time
	put("later")
	es.Expect("chat", "later")
	if got := es.Answer().Header.Get("Content-Encoding"); got != "" {
		t.Errorf("Content-Encoding %s", got)
	}
}

// Neither the app's own ETag nor the server's timeouts touch a stream.
func TestServerConfig(t *testing.T) {
	t.Parallel()
	site := newSite(t)
	chat, put := channelOf(t, site, "chat")
	app := newApp(fiber.Config{
		ETag: true, Immutable: true, ReduceMemoryUsage: true,
		ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond, IdleTimeout: 200 * time.Millisecond,
	})
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	es := b.Listen(b.get("/").Body)
	es.Hello()
	for range 4 {
		time.Sleep(120 * time.Millisecond)
		put("on")
		es.Expect("chat", "on")
	}
}

// An ETag of the copy must not turn the stream into a 304 that somebody with a
// stale copy would take for its content.
func TestConditionalRequest(t *testing.T) {
	site := newSite(t)
	chat, _ := channelOf(t, site, "chat")
	app := newApp()
	app.Use(etag.New())
	app.Use(middleware.New(middleware.Config{Site: site}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	address := b.get("/").Body
	es := b.Listen(address)
	es.Hello()
	again := b.Listen(address, "If-None-Match", es.Answer().Header.Get("Etag"))
	if again.Answer().Status != http.StatusOK {
		t.Errorf("got %d", again.Answer().Status)
	}
	again.Hello()
}
