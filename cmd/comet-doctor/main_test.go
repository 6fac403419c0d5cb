package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/doctor"
)

const patience = time.Minute

// serve serves a doctor behind a header, and returns where.
func serve(t *testing.T) (origin string) {
	t.Helper()
	site := comet.NewSite()
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(comet.New(comet.Config{Site: site}))
	app.All("/doctor", func(c *fiber.Ctx) error {
		if c.Get("X-Admin") != "yes" {
			return fiber.ErrForbidden
		}
		return c.Next()
	}, comet.Doctor())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
	return "http://" + ln.Addr().String()
}

// collecting is a proxy that sends a response when it has all of it.
func collecting(t *testing.T, origin string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", strings.TrimPrefix(origin, "http://")
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		for name := range resp.Header {
			w.Header().Set(name, resp.Header.Get(name))
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestExitStatus: 0 for well, 1 for a fault, 2 where it could not be told.
func TestExitStatus(t *testing.T) {
	origin := serve(t)
	admin := []string{"-idle=false", "-H", "X-Admin: yes"}
	for name, c := range map[string]struct {
		args     []string
		status   int
		out, err string
	}{
		"well":       {append(admin, origin+"/doctor"), 0, "arrive as they were written", ""},
		"a fault":    {append(admin, collecting(t, origin)+"/doctor"), 1, "proxy_buffering off", ""},
		"not let in": {[]string{"-idle=false", origin + "/doctor"}, 2, "", "does it let you in"},
		"no URL":     {nil, 2, "", "usage: comet-doctor"},
		"no such":    {[]string{"-what"}, 2, "", "usage: comet-doctor"},
		"no header":  {[]string{"-H", "X", origin}, 2, "", "Name: value"},
		"no app":     {[]string{"http://127.0.0.1:9/"}, 2, "", "cannot be reached"},
		"as JSON":    {append(admin, "-json", origin+"/doctor"), 0, `"measured"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			var out, errs bytes.Buffer
			if status := run(ctx, c.args, &out, &errs); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			if !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
				t.Errorf("it said\n%s\nand\n%s", out.String(), errs.String())
			}
			if c.out == `"measured"` {
				var got struct {
					Measured doctor.Measured
					Found    []doctor.Finding
				}
				if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Measured.Ticks) != doctor.Ticks {
					t.Errorf("%v: %+v", err, got)
				}
			}
		})
	}
}
