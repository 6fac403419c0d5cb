package scope_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// frail is an engine whose health a test decides.
type frail struct {
	*memory.Engine
	shared, ill, hangs atomic.Bool
	asked              atomic.Int32
}

var errCut = errors.New("cut off from the majority")

func newFrail() *frail {
	e := &frail{Engine: memory.New()}
	e.shared.Store(true)
	return e
}

func (e *frail) Caps() engine.Caps {
	c := e.Engine.Caps()
	c.Shared = e.shared.Load()
	return c
}

func (e *frail) Health(ctx context.Context) error {
	e.asked.Add(1)
	if e.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if e.ill.Load() {
		return errCut
	}
	return e.Engine.Health(ctx)
}

func inWard(t *testing.T, config scope.SiteConfig, test func(t *testing.T, k kit, e *frail)) {
	synctest.Test(t, func(t *testing.T) {
		e := newFrail()
		config.Engine = e
		test(t, newKit(t, config), e)
	})
}

func (tb *tab) mustBeOver(over bool) []byte {
	tb.t.Helper()
	wire := tb.bytes()
	if tb.ended != over {
		tb.t.Fatalf("ended: %v, want %v; the wire: %s", tb.ended, over, wire)
	}
	return wire
}

// TestUnhealthy proves rules 1 and 12: when the health of an engine elsewhere has
// failed for UnhealthyAfter, event streams end with a time to come back at, and no
// word of a loss; so do new ones, until it is back. Whoever then returns has
// everything.
func TestUnhealthy(t *testing.T) {
	inWard(t, scope.SiteConfig{}, func(t *testing.T, k kit, e *frail) {
		var log bytes.Buffer
		k.bind(scope.Hooks{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		p := k.process("s")
		chat, mine := k.channel(scope.Spec{Name: "chat"}), k.private(p, scope.Spec{Name: "mine"})
		var tabs []*tab
		for range 60 {
			tb := newTab(t, k.site, "s", nil, chat).connect()
			tb.hear()
			tabs = append(tabs, tb)
		}
		own := newTab(t, k.site, "s", p, mine, chat).connect()
		own.hear()
		tabs = append(tabs, own)

		e.ill.Store(true) // an election
		time.Sleep(8 * time.Second)
		e.ill.Store(false)
		time.Sleep(20 * time.Second)
		for _, tb := range tabs {
			tb.mustBeOver(false)
		}
		e.ill.Store(true)
		time.Sleep(9 * time.Second)
		for _, tb := range tabs {
			tb.mustBeOver(false)
		}
		k.put(chat, "1") // this node hears what no other may have
		k.put(mine, "1")
		var times []time.Duration
		over := 0
		for step := 0; over < len(tabs) && step < 400; step++ {
			time.Sleep(50 * time.Millisecond)
			before := over
			for _, tb := range tabs {
				if tb.ended {
					continue
				}
				if wire := tb.bytes(); tb.ended {
					over++
					line, rest, _ := strings.Cut(string(wire[strings.Index(string(wire), "retry:"):]), "\n")
					times = append(times, retryOf(t, []byte(line+"\n")))
					if strings.Count(rest, "event:") != 1 || !strings.HasPrefix(rest, "\nevent: comet:away\n") || strings.Contains(string(wire), "comet:full") {
						t.Fatalf("the last of an event stream was %q", wire)
					}
					tb.take(wire)
				} else {
					tb.take(wire)
				}
			}
			if over-before > 2*len(tabs)/20+2 {
				t.Fatalf("%d of %d event streams were sent away at once", over-before, len(tabs))
			}
		}
		if over != len(tabs) {
			t.Fatalf("%d of %d were sent away", over, len(tabs))
		}
		if least, most := slices.Min(times), slices.Max(times); least < 2*time.Second || most > 12*time.Second || most < 3*least/2 {
			t.Fatalf("told to stay away for %v to %v", least, most)
		}

		e.hangs.Store(true)
		time.Sleep(10 * time.Minute) // all nodes are unwell, and tabs go round
		times = nil
		for range 500 {
			tb := newTab(t, k.site, "", nil, chat).connect()
			times = append(times, retryOf(t, tb.mustBeOver(true)))
		}
		wantSpread(t, "after long", times, 15*time.Second, 45*time.Second)

		e.hangs.Store(false)
		e.ill.Store(false)
		time.Sleep(10 * time.Second)
		k.put(chat, "2")
		k.put(mine, "2")
		for _, tb := range tabs {
			tb.connect()
			events := tb.hear()
			if got := of(events, "comet:full"); len(got) > 0 || tb.ended {
				t.Fatalf("after the recovery: %v", events)
			}
		}
		k.put(chat, "3")
		for _, tb := range tabs {
			tb.want("chat", "3")
		}
		synctest.Wait()
		if !strings.Contains(log.String(), errCut.Error()) || strings.Count(log.String(), "\n") != 2 {
			t.Errorf("the log: %s", &log)
		}
		own.cut().connect()
	})
}

// TestUnhealthyLosesNothing proves rule 1 over many bouts: what was said before,
// during and after each is heard, once and in order.
func TestUnhealthyLosesNothing(t *testing.T) {
	inWard(t, scope.SiteConfig{UnhealthyAfter: time.Second}, func(t *testing.T, k kit, e *frail) {
		chat := k.channel(scope.Spec{Name: "chat"})
		tb := newTab(t, k.site, "", nil, chat).connect()
		var heard []string
		said := 0
		for bout := range 12 {
			e.ill.Store(bout%2 == 0)
			for range 20 {
				said++
				k.put(chat, fmt.Sprint(said))
				time.Sleep(250 * time.Millisecond)
				heard = append(heard, of(tb.hear(), "chat")...)
				if tb.ended {
					tb.connect()
				}
			}
		}
		if fmt.Sprint(heard) != fmt.Sprint(numbers(1, said)) {
			t.Fatalf("heard %v", heard)
		}
	})
}

// TestHealth: what a load balancer is told, at once; an engine in this process is
// never asked by the Site, nor is any with a negative UnhealthyAfter.
func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name   string
		shared bool
		after  time.Duration
	}{{"in this process", false, 0}, {"never", true, -1}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFrail()
				e.shared.Store(c.shared)
				k := newKit(t, scope.SiteConfig{Engine: e, UnhealthyAfter: c.after})
				tb := newTab(t, k.site, "", nil, k.channel(scope.Spec{Name: "chat"})).connect()
				e.ill.Store(true)
				time.Sleep(time.Hour)
				tb.mustBeOver(false)
				if n := e.asked.Load(); n != 0 {
					t.Errorf("asked %d times", n)
				}
				if err := k.site.Health(context.Background()); !errors.Is(err, errCut) {
					t.Error(err)
				}
				e.ill.Store(false)
				if err := k.site.Health(context.Background()); err != nil {
					t.Error(err)
				}
				tb.cut()
				if err := k.site.Shutdown(context.Background()); err != nil {
					t.Fatal(err)
				}
				if err := k.site.Health(context.Background()); !errors.Is(err, scope.ErrShutdown) {
					t.Error(err)
				}
			})
		})
	}
}

// TestShutdownWhileUnhealthy: neither a question that hangs nor the sending away
// holds a Shutdown up.
func TestShutdownWhileUnhealthy(t *testing.T) {
	inWard(t, scope.SiteConfig{UnhealthyAfter: time.Second}, func(t *testing.T, k kit, e *frail) {
		chat := k.channel(scope.Spec{Name: "chat"})
		var tabs []*tab
		for range 100 {
			tabs = append(tabs, newTab(t, k.site, "", nil, chat).connect())
		}
		e.hangs.Store(true)
		time.Sleep(4 * time.Second)
		begin := time.Now()
		done := make(chan error, 1)
		go func() { done <- k.site.Shutdown(context.Background()) }()
		synctest.Wait()
		for _, tb := range tabs {
			tb.mustBeOver(true)
		}
		if err := <-done; err != nil || time.Since(begin) > 100*time.Millisecond {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
	})
}
