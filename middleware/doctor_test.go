package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/doctor"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// doctored is an app with a doctor at /doctor.
func doctored(t *testing.T, site *scope.Site, before ...fiber.Handler) *browser {
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Logger: new(logbook).logger()}))
	app.All("/doctor", append(before, middleware.Doctor())...)
	return serve(t, app)
}

func examined(t *testing.T, o doctor.Options) (doctor.Measured, []doctor.Finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := doctor.Check(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return m, doctor.Judge(m)
}

// TestDoctor: where nothing stands between, everything is measured and well.
func TestDoctor(t *testing.T) {
	b := doctored(t, newSite(t, scope.SiteConfig{Heartbeat: time.Second}))
	m, found := examined(t, doctor.Options{URL: b.origin + "/doctor", Idle: true})
	if !doctor.Healthy(found) || len(found) != 1 || !strings.Contains(found[0].What, "HTTP/1.1") {
		t.Errorf("found %+v", found)
	}
	if len(m.Ticks) != doctor.Ticks || m.End != "clean" || m.Returned == nil || m.Left == nil || !m.Left.Left ||
		m.AtOnce.Answered != doctor.AtOnce || m.AtOnce.Connections != doctor.AtOnce || m.Command.Status != 200 || !m.Command.Seen.Trusted ||
		m.Idle.Beats != 2 || !m.Idle.Finished || m.Seen.Heartbeat != 1000 || m.Seen.Address != "127.0.0.1" {
		t.Errorf("measured %+v", m)
	}
}

// TestDoctorNeedsItsURL: what is no doctor, or lets nobody in, is said to be so.
func TestDoctorNeedsItsURL(t *testing.T) {
	b := doctored(t, newSite(t), func(c *fiber.Ctx) error {
		if c.Get("Authorization") != "Bearer admin" {
			return fiber.ErrUnauthorized
		}
		return c.Next()
	})
	for url, want := range map[string]string{
		b.origin + "/doctor":     "does it let you in",
		b.origin + "/nowhere":    "404",
		"doctor":                 "is no URL",
		"http://127.0.0.1:9/doc": "cannot be reached",
	} {
		if _, err := doctor.Check(context.Background(), doctor.Options{URL: url}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	if _, found := examined(t, doctor.Options{URL: b.origin + "/doctor", Header: http.Header{"Authorization": {"Bearer admin"}}}); !doctor.Healthy(found) {
		t.Errorf("with its header: %+v", found)
	}
}

// TestDoctorIsBounded: 64 probes run at once, no more; who has left makes room,
// and Shutdown ends those that run.
func TestDoctorIsBounded(t *testing.T) {
	site := newSite(t)
	b := doctored(t, site)
	probe := func(i int) *eventSource { return b.open(fmt.Sprintf("/doctor?phase=open&probe=%d", i)) }
	var open []*eventSource
	for i := range 64 {
		es := probe(i)
		if e := <-es.events; e.Name != doctor.EventHello {
			t.Fatalf("probe %d: %q %s, status %d", i, e.Name, e.Data, es.resp.StatusCode)
		}
		open = append(open, es)
	}
	if a := b.do("GET", "/doctor?phase=open&probe=x", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", a.status)
	}
	open[0].cancel()
	eventually(t, "a probe that left is seen", func() bool { return strings.Contains(b.do("GET", "/doctor?left=0", "").body, "true") })
	if es := probe(64); es.resp.StatusCode != 200 {
		t.Errorf("after one left: %d", es.resp.StatusCode)
	}
	for path, want := range map[string]int{
		"/doctor?phase=none&probe=y":                          400,
		"/doctor?phase=open&probe=" + strings.Repeat("y", 65): 400,
		"/doctor?file=doctor.js":                              200,
		"/doctor":                                             200,
	} {
		if a := b.do("GET", path, ""); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	if a := b.do("POST", "/doctor", "{"); a.status != 400 {
		t.Errorf("a POST of nothing: %d", a.status)
	}
	shutdown(t, site)
	for _, es := range open[1:] {
		es.ended()
	}
}

// TestDoctorWithoutComet says what is missing.
func TestDoctorWithoutComet(t *testing.T) {
	app := newApp()
	app.All("/doctor", middleware.Doctor())
	if a := serve(t, app).do("GET", "/doctor", ""); a.status != 500 || !strings.Contains(a.body, "comet.New") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
