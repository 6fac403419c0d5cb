package middleware_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
)

// TestSilentConnection pins what docs/draining.md says of ReadTimeout: Fiber's Shutdown
// waits for who is connected and has asked for nothing, as browsers and proxies are, for
// as long as the server lets them be silent.
func TestSilentConnection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		readTimeout time.Duration
		within      time.Duration
		want        error
	}{
		{"without a ReadTimeout", 0, time.Second, context.DeadlineExceeded},
		{"with one", 100 * time.Millisecond, patience, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			site := newSite(t)
			app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: test.readTimeout})
			app.Use(middleware.New(middleware.Config{Site: site}))
			app.Get("/", func(c *fiber.Ctx) error { return c.SendString("served") })
			served := comettest.ServeTCP(t, app, site)
			silent, err := net.Dial("tcp", served.Origin()[len("http://"):])
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			served.Browser().Get("/").Want(200) // it was accepted before this one
			ctx, cancel := context.WithTimeout(t.Context(), test.within)
			defer cancel()
			if err := app.ShutdownWithContext(ctx); !errors.Is(err, test.want) {
				t.Errorf("the app's Shutdown: %v, want %v", err, test.want)
			}
		})
	}
}
