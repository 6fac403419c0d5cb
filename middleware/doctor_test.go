package middleware_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
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

// examined fails unless all is well. The doctor measures time, and finds of a machine that
// stalls what it would find of a proxy: an examination in which the machine did is
// repeated, a few times.
func examined(t *testing.T, o doctor.Options, well func(doctor.Measured, []doctor.Finding) bool) {
	t.Helper()
	lost := overslept(t)
	for again := 4; ; again-- {
		before := lost()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		m, err := doctor.Check(ctx, o)
		cancel()
		found := doctor.Judge(m)
		if err == nil && well(m, found) {
			return
		}
		if stalled := lost() - before; stalled < 100*time.Millisecond || again == 0 {
			measured, _ := json.Marshal(m)
			t.Fatalf("%v, found %+v, measured %s, and %v in which nothing ran", err, found, measured, stalled)
		}
	}
}

// TestDoctor: where nothing stands between, everything is measured and well.
func TestDoctor(t *testing.T) {
	b := doctored(t, newSite(t, scope.SiteConfig{Heartbeat: time.Second}))
	examined(t, doctor.Options{URL: b.App().Origin() + "/doctor", Idle: true}, func(m doctor.Measured, found []doctor.Finding) bool {
		return doctor.Healthy(found) && len(found) == 1 && strings.Contains(found[0].What, "HTTP/1.1") &&
			len(m.Ticks) == doctor.Ticks && m.End == "clean" && m.Returned != nil && m.Left != nil && m.Left.Left &&
			m.AtOnce.Answered == doctor.AtOnce && m.AtOnce.Connections == doctor.AtOnce && m.Command.Status == 200 && m.Command.Seen != nil && m.Command.Seen.Trusted &&
			m.Idle.Beats == 2 && m.Idle.Finished && m.Seen.Heartbeat == 1000 && m.Seen.Address == "127.0.0.1"
	})
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
		b.App().Origin() + "/doctor":  "does it let you in",
		b.App().Origin() + "/nowhere": "404",
		"doctor":                      "is no URL",
		"http://127.0.0.1:9/doc":      "cannot be reached",
	} {
		if _, err := doctor.Check(context.Background(), doctor.Options{URL: url}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	withHeader := doctor.Options{URL: b.App().Origin() + "/doctor", Header: http.Header{"Authorization": {"Bearer admin"}}}
	examined(t, withHeader, func(_ doctor.Measured, found []doctor.Finding) bool { return doctor.Healthy(found) })
}

// TestDoctorIsBounded: 64 probes run at once, no more; who has left makes room,
// and Shutdown ends those that run.
func TestDoctorIsBounded(t *testing.T) {
	site := newSite(t)
	b := doctored(t, site)
	probe := func(i int) *comettest.Tab { return b.Listen(fmt.Sprintf("/doctor?phase=open&probe=%d", i)) }
	var open []*comettest.Tab
	for i := range 64 {
		es := probe(i)
		if e := es.Event(); e.Name != doctor.EventHello {
			t.Fatalf("probe %d: %q %s, status %d", i, e.Name, e.Data, es.Answer().Status)
		}
		open = append(open, es)
	}
	if a := b.Do("GET", "/doctor?phase=open&probe=x", ""); a.Status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", a.Status)
	}
	open[0].Close()
	eventually(t, "a probe that left is seen", func() bool { return strings.Contains(b.Do("GET", "/doctor?left=0", "").Body, "true") })
	if es := probe(64); es.Answer().Status != 200 {
		t.Errorf("after one left: %d", es.Answer().Status)
	}
	for path, want := range map[string]int{
		"/doctor?phase=none&probe=y":                          400,
		"/doctor?phase=open&probe=" + strings.Repeat("y", 65): 400,
		"/doctor?file=doctor.js":                              200,
		"/doctor":                                             200,
	} {
		if a := b.Do("GET", path, ""); a.Status != want {
			t.Errorf("%s: %d, want %d", path, a.Status, want)
		}
	}
	if a := b.Do("POST", "/doctor", "{"); a.Status != 400 {
		t.Errorf("a POST of nothing: %d", a.Status)
	}
	shutdown(t, site)
	for _, es := range open[1:] {
		es.Ended()
	}
}

// TestDoctorWithoutComet says what is missing.
func TestDoctorWithoutComet(t *testing.T) {
	app := newApp()
	app.All("/doctor", middleware.Doctor())
	if a := serve(t, app).Do("GET", "/doctor", ""); a.Status != 500 || !strings.Contains(a.Body, "comet.New") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
