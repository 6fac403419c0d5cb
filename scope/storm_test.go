package scope_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// crowded is an engine elsewhere whose reads take their time, and which counts how
// many are open: of all logs, and of one. Its feed says nothing but that it lost
// something.
type crowded struct {
	*memory.Engine

	mu         sync.Mutex
	open, most int
	of         map[string]int
	mostOfOne  int
	reads      int
	sinks      []engine.Sink
	hanging    int // so many reads wait for their context
}

func (e *crowded) Caps() engine.Caps {
	c := e.Engine.Caps()
	c.Shared, c.ReliableFeed = true, false
	return c
}

func (e *crowded) enter(ctx context.Context, n engine.Name) (leave func()) {
	e.mu.Lock()
	e.reads++
	e.open++
	e.of[n.Channel]++
	e.most, e.mostOfOne = max(e.most, e.open), max(e.mostOfOne, e.of[n.Channel])
	hangs := e.hanging > 0
	if hangs {
		e.hanging--
	}
	e.mu.Unlock()
	if hangs {
		<-ctx.Done()
	} else {
		time.Sleep(20 * time.Millisecond)
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.open--
		e.of[n.Channel]--
	}
}

func (e *crowded) Read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	defer e.enter(ctx, n)()
	return e.Engine.Read(ctx, n, after, max)
}

func (e *crowded) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	defer e.enter(ctx, n)()
	return e.Engine.Last(ctx, n, k)
}

func (e *crowded) Tail(ctx context.Context, n engine.Name) (engine.Position, error) {
	defer e.enter(ctx, n)()
	return e.Engine.Tail(ctx, n)
}

func (e *crowded) Watch(_ context.Context, _ engine.Name, s engine.Sink) (func(), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sinks = append(e.sinks, s)
	return func() {}, nil
}

// reconnect tells every follower, a few times, that it may have missed something.
func (e *crowded) reconnect() {
	e.mu.Lock()
	sinks := e.sinks
	e.most, e.mostOfOne, e.reads = 0, 0, 0
	e.mu.Unlock()
	for range 5 {
		for _, s := range sinks {
			s.Dirty(engine.ErrUnavailable)
		}
	}
}

// TestReplayStorm proves rule 13: 500 channels whose feed comes back read what they
// missed with at most eight calls open at the engine, one a channel, and all get it;
// also with a few calls that hang. So do as many tabs that come back from too far
// behind, each of which the log is asked about.
func TestReplayStorm(t *testing.T) {
	for _, hanging := range []int{0, 20} {
		t.Run(fmt.Sprintf("%d hang", hanging), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storm(t, hanging) })
		})
	}
}

func storm(t *testing.T, hanging int) {
	const channels, bound = 500, 8
	e := &crowded{Engine: memory.New(), of: map[string]int{}}
	site := scope.NewSite(scope.SiteConfig{Engine: e, MaxStreams: 2 * channels})
	k := kit{t, site}
	var handles []*scope.Handle
	var tabs []*tab
	for i := range channels {
		h := k.channel(scope.Spec{Name: fmt.Sprint("c", i), Size: 2})
		tb := newTab(t, site, "", nil, h).connect()
		tb.hear()
		tb.cut()
		handles, tabs = append(handles, h), append(tabs, tb)
		k.put(h, "1", "2", "3") // the feed is deaf
	}
	e.reconnect()
	e.mu.Lock()
	e.hanging = hanging
	e.mu.Unlock()
	time.Sleep(2 * time.Minute)
	for i, h := range handles {
		if values, _, err := h.Recent(context.Background(), 10); fmt.Sprintf("%s", values) != "[2 3]" {
			t.Fatalf("channel %d has %s, %v", i, values, err)
		}
	}
	if e.most > bound || e.most < bound/2 || e.mostOfOne != 1 {
		t.Errorf("%d calls were open at once, of one channel %d; at most %d and 1 are allowed", e.most, e.mostOfOne, bound)
	}
	if e.reads > 4*channels+3*hanging { // tail, read, last; and what the Dirty after the first began
		t.Errorf("%d calls for %d channels", e.reads, channels)
	}

	e.mu.Lock()
	e.most, e.reads = 0, 0
	e.mu.Unlock()
	var opening sync.WaitGroup
	for _, tb := range tabs {
		opening.Go(func() { tb.connect() })
	}
	opening.Wait()
	for i, tb := range tabs {
		events := tb.wantNotice("full", notice{Channel: fmt.Sprint("c", i), Reason: "trimmed", Resume: "*"})
		if got := of(events, fmt.Sprint("c", i)); fmt.Sprint(got) != "[2 3]" {
			t.Fatalf("tab %d heard %v", i, got)
		}
		tb.cut()
	}
	if e.most > bound || e.reads != channels {
		t.Errorf("%d calls were open at once, %d in all", e.most, e.reads)
	}
	if err := site.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}
