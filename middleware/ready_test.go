package middleware_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// probed is an engine whose health a test says.
type probed struct {
	*memory.Engine
	shared bool

	mu    sync.Mutex
	err   error
	hangs bool
}

func (p *probed) Health(ctx context.Context) error {
	p.mu.Lock()
	err, hangs := p.err, p.hangs
	p.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (p *probed) Caps() engine.Caps {
	c := p.Engine.Caps()
	c.Shared = p.shared
	return c
}

func (p *probed) set(err error, hangs bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.hangs = err, hangs
}

// TestReady proves rule 12's other side, for a load balancer: 200 or 503 with
// Retry-After, and the reason in the log alone, once.
func TestReady(t *testing.T) {
	e, log := &probed{Engine: memory.New()}, new(logbook)
	site := scope.NewSite(scope.SiteConfig{Engine: e})
	app := newApp()
	app.Get("/ready", middleware.Ready(site, middleware.ReadyConfig{
		Within: 20 * time.Millisecond, RetryAfter: 1500 * time.Millisecond, Logger: log.logger(),
	}))
	b := serve(t, app)
	want := func(status int) {
		t.Helper()
		a := b.Do("GET", "/ready", "")
		if a.Status != status || strings.Contains(a.Body, "secret") || a.Header.Get("Cache-Control") == "" {
			t.Fatalf("%+v", a)
		}
		if after := a.Header.Get("Retry-After"); (after == "2") != (status == 503) {
			t.Fatalf("Retry-After %q with %d", after, status)
		}
	}
	want(200)
	e.set(errors.New("no quorum at secret-host:4222"), false)
	want(503)
	want(503)
	e.set(nil, true)
	want(503)
	e.set(nil, false)
	want(200)
	want(200)
	if said := log.String(); strings.Count(said, "\n") != 2 || !strings.Contains(said, "secret-host") || !strings.Contains(said, "ready again") {
		t.Errorf("the log: %s", said)
	}
	shutdown(t, site)
	want(503)
}

// TestReadyIsChecked: what makes no sense is a panic at start that says so.
func TestReadyIsChecked(t *testing.T) {
	site := newSite(t)
	for says, call := range map[string]func(){
		"site is nil":    func() { middleware.Ready(nil) },
		"2 ReadyConfigs": func() { middleware.Ready(site, middleware.ReadyConfig{}, middleware.ReadyConfig{}) },
		"Within -1s":     func() { middleware.Ready(site, middleware.ReadyConfig{Within: -time.Second}) },
	} {
		func() {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, "comet.Ready: ") || !strings.Contains(said, says) {
					t.Errorf("said %q, want %q", said, says)
				}
			}()
			call()
		}()
	}
}

// TestUnhealthyOverHTTP proves rule 12: while a shared engine is away, an event stream
// is a 200 that says when to come again, and ends; afterwards it goes on.
func TestUnhealthyOverHTTP(t *testing.T) {
	t.Parallel()
	e := &probed{Engine: memory.New(), shared: true}
	site := newSite(t, scope.SiteConfig{Engine: e, UnhealthyAfter: time.Second})
	chat, put := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Logger: new(logbook).logger()}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	address := b.get("/").Body
	es := b.Listen(address)
	es.Hello()
	put("before")
	es.Expect("chat", "before")
	e.set(errors.New("cut off"), false)
	es.Away()
	es.Close()
	eventually(t, "a new event stream is turned away", func() bool {
		a := b.Do("GET", address, "")
		return a.Status == 200 && strings.HasPrefix(a.Body, "retry: ") && strings.Count(a.Body, "event: ") == 1 && strings.Contains(a.Body, "\n\nevent: comet:away\n")
	})
	put("meanwhile")
	e.set(nil, false)
	var lines string
	eventually(t, "it is served again", func() bool {
		lines = b.Do("GET", address+"&wait=no", "").Body
		return strings.Contains(lines, "comet:hello")
	})
	if !strings.Contains(lines, "before") || !strings.Contains(lines, "meanwhile") || strings.Contains(lines, "comet:full") {
		t.Errorf("then came %s", lines)
	}
}
