package wire_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/logger"
	"github.com/gofiber/fiber/v2/middleware/recover"

	"github.com/ocsigo/comet/internal/wire"
)

// serveApp runs app on a TCP listener.
func serveApp(t *testing.T, app *fiber.App) *server {
	ln, dial := listenTCP(t)
	done := make(chan error, 1)
	go func() { done <- app.Listener(ln) }()
	t.Cleanup(func() {
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return &server{t: t, dial: dial}
}

// Middlewares that read the response's body hang on a body stream. On a real
// connection they see an empty body, and the stream runs live around them.
func TestBodyReadingMiddlewares(t *testing.T) {
	for name, mw := range map[string]fiber.Handler{
		"etag":     etag.New(),
		"compress": compress.New(),
		"logger":   logger.New(logger.Config{Format: "${resBody}${latency}\n", Output: io.Discard}),
		"recover":  recover.New(),
		"storing": func(c *fiber.Ctx) error { // what cache and idempotency do
			err := c.Next()
			if body := c.Response().Body(); len(body) > 0 {
				t.Errorf("storing sees a body: %q", body)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := newScript(t)
			app := fiber.New(fiber.Config{DisableStartupMessage: true})
			app.Use(mw)
			app.Get("/", func(c *fiber.Ctx) error {
				c.Set(fiber.HeaderContentType, "text/event-stream")
				wire.Serve(c.Context(), src, wire.Options{})
				return nil
			})
			srv := serveApp(t, app)
			resp := srv.connect("GET / HTTP/1.1\r\nHost: comet\r\nAccept-Encoding: gzip\r\n\r\n").response(http.MethodGet)
			if enc := resp.Header.Get("Content-Encoding"); enc != "" {
				t.Errorf("Content-Encoding: %s", enc)
			}
			r := bufio.NewReader(resp.Body)
			for _, event := range numbered("live", 3) {
				src.say(event)
				if got := events(t, r, 1); got[0] != event {
					t.Fatalf("heard %q, want %q", got[0], event)
				}
			}
			src.finish(nil)
			src.waitGone(nil)
		})
	}
}

// A handler that panics after Serve, and is recovered, has its error answered.
func TestRecoveredHandler(t *testing.T) {
	src := newScript(t)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(recover.New())
	app.Get("/", func(c *fiber.Ctx) error {
		wire.Serve(c.Context(), src, wire.Options{})
		panic("the handler panics, as told")
	})
	resp := serveApp(t, app).connect(get).response(http.MethodGet)
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != 500 || err != nil || len(body) == 0 {
		t.Errorf("%s, body %q, %v", resp.Status, body, err)
	}
	src.waitGone(wire.ErrNotStarted)
}

// App.Test gives the event stream of a source that ends.
func TestAppTest(t *testing.T) {
	src := newScript(t)
	src.say(numbered("event", 1000)...)
	src.finish(nil)
	app := fiber.New()
	app.Get("/", func(c *fiber.Ctx) error {
		wire.Serve(c.Context(), src, wire.Options{})
		return nil
	})
	resp, err := app.Test(httptest.NewRequest("GET", "/", nil), int(patience.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(resp.Body)
	if got := events(t, r, 1000); got[0] != "event 0" || got[999] != "event 999" {
		t.Errorf("from %q to %q", got[0], got[999])
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("the stream did not end cleanly: %v", err)
	}
	src.waitGone(nil)
}
