package scope_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// TestShutdownIsFinished proves rule 13: a Shutdown that was not waited for ends
// everything nevertheless, once the last peer has gone.
func TestShutdownIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kit{t, scope.NewSite()}
		var closed atomic.Int32
		k.bind(scope.Hooks{Closed: func() { closed.Add(1) }})
		p, h := k.process("s"), k.channel(scope.Spec{Name: "c"})
		tb := newTab(t, k.site, "s", p, h).connect() // a peer that reads nothing
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := k.site.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if closed.Load() != 0 || p.Err() != nil {
			t.Fatal("ended under a peer's feet")
		}
		tb.cut() // its write has timed out
		synctest.Wait()
		if !errors.Is(p.Err(), scope.ErrShutdown) || !errors.Is(h.Err(), scope.ErrShutdown) || closed.Load() != 1 {
			t.Fatalf("left alone: process %v, channel %v, Closed was called %d times", p.Err(), h.Err(), closed.Load())
		}
		if k.site.Engine().Health(context.Background()) == nil {
			t.Fatal("the Site's own engine is open")
		}
		if err := k.site.Shutdown(context.Background()); err != nil || closed.Load() != 1 {
			t.Fatal("again:", err, closed.Load())
		}
	})
}

// slowWatch is a shared engine whose Watch answers when it is released.
type slowWatch struct {
	*memory.Engine
	release  chan struct{}
	watching atomic.Int32
}

func (e *slowWatch) Caps() engine.Caps {
	c := e.Engine.Caps()
	c.Shared = true
	return c
}

func (e *slowWatch) Watch(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
	stop, err := e.Engine.Watch(ctx, n, s)
	if err != nil {
		return nil, err
	}
	e.watching.Add(1)
	<-e.release // the answer is on its way, whatever ctx says
	return func() { e.watching.Add(-1); stop() }, nil
}

// TestShutdownDuringRegister proves rules 13 and 14: Shutdown waits for a Register
// under way, which then fails and leaves nothing on the app's engine.
func TestShutdownDuringRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowWatch{Engine: memory.New(), release: make(chan struct{})}
		site := scope.NewSite(scope.SiteConfig{Engine: slow})
		registered := make(chan error, 1)
		go func() {
			_, err := scope.Register(site, scope.Spec{Name: "c", Stop: func(error) { t.Error("Register failed, and Stop was called") }})
			registered <- err
		}()
		synctest.Wait()
		if slow.watching.Load() != 1 {
			t.Fatal("Register does not watch")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := site.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("Shutdown did not wait:", err)
		}
		close(slow.release)
		if err := site.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := <-registered; !errors.Is(err, scope.ErrShutdown) && !errors.Is(err, context.Canceled) {
			t.Fatal("Register after Shutdown:", err)
		}
		synctest.Wait()
		if n := slow.watching.Load(); n != 0 {
			t.Fatalf("%d watch of the app's engine is left", n)
		}
		if err := slow.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCommandsKeepBothAlive proves rule 10: a command restarts the clock of the
// process of its URL and of the one that it names.
func TestCommandsKeepBothAlive(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		a, b := k.process("s"), k.process("s")
		tb := newTab(t, k.site, "s", a)
		for range 10 {
			time.Sleep(30 * time.Second)
			tb.do("comet", b.Token(), "register", "x")
		}
		if a.Err() != nil || b.Err() != nil {
			t.Fatalf("with a command every 30 s: the URL's process %v, the named one %v", a.Err(), b.Err())
		}
		time.Sleep(62 * time.Second)
		if a.Err() == nil || b.Err() == nil {
			t.Fatal("with none they live on")
		}
	})
}

// TestSupersededIsNotInactive proves rules 10 and 11: a process that goes from one
// event stream to a newer is never inactive; the end of the older starts no clock.
func TestSupersededIsNotInactive(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		p := k.process("s")
		older := newTab(t, k.site, "s", p).connect()
		waited := make(chan time.Duration, 1)
		begin := time.Now()
		go func() {
			if err := p.WaitTimeout(context.Background(), time.Second); err != nil {
				t.Error(err)
			}
			waited <- time.Since(begin)
		}()
		time.Sleep(500 * time.Millisecond)
		newer := newTab(t, k.site, "s", p).connect()
		older.wantNotice("superseded", notice{Process: p.Token(), Reason: "newer"})
		older.cut()
		time.Sleep(5 * time.Second)
		newer.cut()
		if d := <-waited; d != 6500*time.Millisecond {
			t.Fatalf("inactive after %v, want 6.5s", d)
		}
	})
}

// TestOpenAgainAfterManyEnds proves rule 8: a living tab is not gone because more
// of its channels have ended than are remembered.
func TestOpenAgainAfterManyEnds(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	tb := newTab(t, k.site, "s", p).connect()
	for range 150 {
		h := k.private(p, scope.Spec{Name: "a"})
		if _, err := tb.command("register", "a"); err != nil {
			t.Fatal(err)
		}
		h.Close()
		tb.hear()
	}
	again := newTab(t, k.site, "s", p, k.private(p, scope.Spec{Name: "b"})).connect()
	if events := again.hear(); len(of(events, "comet:gone")) > 0 {
		t.Fatal(events)
	}
}
