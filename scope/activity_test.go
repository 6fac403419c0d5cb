package scope_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// returns runs p.WaitTimeout and reports when it returned, and with what.
func returns(ctx context.Context, p *scope.ClientProcess, d time.Duration) <-chan error {
	result := make(chan error, 1)
	go func() { result <- p.WaitTimeout(ctx, d) }()
	return result
}

// wantAt fails unless result comes exactly after d.
func wantAt(t *testing.T, result <-chan error, d time.Duration, want error) {
	t.Helper()
	begin := time.Now()
	err := <-result
	if took := time.Since(begin); took != d || !errors.Is(err, want) {
		t.Fatalf("returned %v after %v; want %v after %v", err, took, want, d)
	}
}

// TestWaitTimeout proves rule 10, every case at the exact moment.
func TestWaitTimeout(t *testing.T) {
	ctx := context.Background()
	for name, f := range map[string]func(*testing.T, kit, *scope.ClientProcess){
		"never connected": func(t *testing.T, k kit, p *scope.ClientProcess) {
			wantAt(t, returns(ctx, p, 10*time.Second), 10*time.Second, nil)
			if err := p.WaitTimeout(ctx, 5*time.Second); err != nil { // has been away for longer
				t.Fatal(err)
			}
		},
		"connected for an hour": func(t *testing.T, k kit, p *scope.ClientProcess) {
			tb := newTab(t, k.site, "s", p).connect()
			tb.hear()
			waiting := returns(ctx, p, time.Second)
			for range 60 {
				time.Sleep(time.Minute)
				tb.hear()
			}
			tb.cut()
			wantAt(t, waiting, time.Second, nil)
		},
		"quick reconnect": func(t *testing.T, k kit, p *scope.ClientProcess) {
			tb := newTab(t, k.site, "s", p).connect()
			tb.hear()
			waiting := returns(ctx, p, time.Second)
			for range 5 {
				tb.cut()
				time.Sleep(999 * time.Millisecond)
				tb.connect().hear()
				time.Sleep(time.Millisecond)
			}
			select {
			case err := <-waiting:
				t.Fatal("returned", err)
			default:
			}
			tb.cut()
			wantAt(t, waiting, time.Second, nil)
		},
		"replayed, then vanished": func(t *testing.T, k kit, p *scope.ClientProcess) { // eliom.md 2.8, its bug
			h := k.private(p, scope.Spec{Name: "a"})
			tb := newTab(t, k.site, "s", p, h).connect()
			tb.hear()
			before := tb.lastID
			k.put(h, "1")
			tb.hear()
			tb.lastID = before
			tb.cut().connect().want("a", "1")
			waiting := returns(ctx, p, time.Second)
			time.Sleep(time.Minute)
			tb.cut()
			wantAt(t, waiting, time.Second, nil)
		},
		"commands": func(t *testing.T, k kit, p *scope.ClientProcess) {
			tb := newTab(t, k.site, "s", p)
			waiting := returns(ctx, p, 10*time.Second)
			time.Sleep(9 * time.Second)
			if _, err := tb.command("register", "later"); err != nil {
				t.Fatal(err)
			}
			wantAt(t, waiting, 10*time.Second, nil)
		},
		"two waiters": func(t *testing.T, k kit, p *scope.ClientProcess) {
			short, long := returns(ctx, p, time.Second), returns(ctx, p, 3*time.Second)
			wantAt(t, short, time.Second, nil)
			wantAt(t, long, 2*time.Second, nil)
		},
		"cancelled": func(t *testing.T, k kit, p *scope.ClientProcess) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			wantAt(t, returns(ctx, p, time.Minute), time.Second, context.DeadlineExceeded)
		},
		"closed": func(t *testing.T, k kit, p *scope.ClientProcess) {
			waiting := returns(ctx, p, 50*time.Second)
			time.AfterFunc(time.Second, p.Close)
			wantAt(t, waiting, time.Second, scope.ErrProcessGone)
			if err := p.WaitTimeout(ctx, time.Second); !errors.Is(err, scope.ErrProcessGone) {
				t.Fatal(err)
			}
		},
		"superseded is no absence": func(t *testing.T, k kit, p *scope.ClientProcess) {
			a, b := newTab(t, k.site, "s", p).connect(), newTab(t, k.site, "s", p)
			waiting := returns(ctx, p, time.Second)
			b.connect().hear()
			a.hear()
			time.Sleep(time.Minute)
			b.cut()
			wantAt(t, waiting, time.Second, nil)
		},
		"site channels are activity too": func(t *testing.T, k kit, p *scope.ClientProcess) {
			tb := newTab(t, k.site, "s", p, k.channel(scope.Spec{Name: "chat"})).connect()
			waiting := returns(ctx, p, time.Second)
			time.Sleep(time.Minute)
			tb.cut()
			wantAt(t, waiting, time.Second, nil)
		},
		"carried by another tab's stream": func(t *testing.T, k kit, p *scope.ClientProcess) {
			leader := newTab(t, k.site, "s", k.process("s")).connect()
			if _, err := leader.command("attach", p.Token()); err != nil {
				t.Fatal(err)
			}
			waiting := returns(ctx, p, time.Second)
			time.Sleep(time.Minute)
			if _, err := leader.command("detach", p.Token()); err != nil {
				t.Fatal(err)
			}
			wantAt(t, waiting, time.Second, nil)
			leader.cut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) { f(t, k, k.process("s")) })
		})
	}
}

// TestAfterInactive: many processes' absence, with no goroutine waiting for it.
func TestAfterInactive(t *testing.T) {
	inBubble(t, scope.SiteConfig{MaxProcesses: 1000}, func(t *testing.T, k kit) {
		away := make(chan error, 1000)
		for range 1000 {
			k.process("s").AfterInactive(time.Second, func(err error) { away <- err })
		}
		stopped := k.process("t").AfterInactive(time.Second, func(error) { t.Error("called after stop") })
		if !stopped() || stopped() {
			t.Error("stop did not tell")
		}
		time.Sleep(999 * time.Millisecond)
		if synctest.Wait(); len(away) != 0 {
			t.Fatal("too early")
		}
		time.Sleep(time.Millisecond)
		if synctest.Wait(); len(away) != 1000 {
			t.Fatalf("%d of 1000 are away", len(away))
		}
	})
}

// TestProcessLifetimes proves rule 10: 60 s to connect, 1 h away; attached for
// ever (eliom.md 4a, 053be75a3), and the wheel is at most a tick late.
func TestProcessLifetimes(t *testing.T) {
	const tick = 250 * time.Millisecond
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		ended := func(p *scope.ClientProcess, after time.Duration) {
			t.Helper()
			time.Sleep(after - time.Millisecond)
			if synctest.Wait(); p.Err() != nil {
				t.Fatal("ended too early")
			}
			time.Sleep(time.Millisecond + tick)
			if synctest.Wait(); !errors.Is(p.Err(), scope.ErrProcessGone) {
				t.Fatal("still there:", p.Err())
			}
		}
		ended(k.process("s"), time.Minute)
		p := k.process("s")
		stopped := make(chan error, 1)
		h := k.private(p, scope.Spec{Name: "a", Stop: func(err error) { stopped <- err }})
		tb := newTab(t, k.site, "s", p, h).connect()
		for range 24 * 60 {
			time.Sleep(time.Minute)
			tb.hear()
		}
		tb.cut()
		ended(p, time.Hour)
		if err := <-stopped; !errors.Is(err, scope.ErrProcessGone) {
			t.Fatal(err)
		}
		if _, err := scope.Register(p, scope.Spec{}); !errors.Is(err, scope.ErrNoProcess) {
			t.Fatal(err)
		}
		tb.connect().wantNotice("gone", notice{Process: p.Token(), Reason: "gone"})
	})
}

// TestPutWhileItsProcessEnds proves that whoever puts while a process ends is told
// that it has, of a channel whose own end has yet to come, too.
func TestPutWhileItsProcessEnds(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	var later *scope.Feed
	var put error
	k.private(p, scope.Spec{Name: "first", Stop: func(error) { put = later.Put(context.Background(), nil) }})
	later = k.private(p, scope.Spec{Name: "later"}).Feed()
	p.Close()
	if !errors.Is(put, scope.ErrProcessGone) || !errors.Is(put, scope.ErrClosed) {
		t.Errorf("Put: %v", put)
	}
}

// TestProcessCap proves rule 10: detached ones go first, the longest away first;
// attached ones never go.
func TestProcessCap(t *testing.T) {
	inBubble(t, scope.SiteConfig{MaxProcesses: 3}, func(t *testing.T, k kit) {
		var processes []*scope.ClientProcess
		var tabs []*tab
		for range 3 {
			p := k.process("s")
			processes = append(processes, p)
			tabs = append(tabs, newTab(t, k.site, "s", p).connect())
			time.Sleep(time.Second)
		}
		if _, err := k.site.NewProcess("s"); !errors.Is(err, scope.ErrTooMany) {
			t.Fatal("an attached process was evicted:", err)
		}
		k.process("another session")
		tabs[2].cut()
		time.Sleep(time.Second)
		tabs[0].cut()
		fourth := k.process("s")
		if processes[2].Err() == nil || processes[0].Err() != nil || processes[1].Err() != nil || fourth.Err() != nil {
			t.Fatal("the wrong one went")
		}
		tabs[1].hear()
		k.site.EndSession("s")
		if processes[0].Err() == nil || processes[1].Err() == nil || fourth.Err() == nil {
			t.Fatal("the session's end left a process")
		}
		tabs[1].wantNotice("gone", notice{Process: processes[1].Token(), Reason: "gone"})
	})
}

// TestHeartbeat: an event stream beats each period, without a cursor, whether or not values come in between: no
// silence is longer. What is written at the very moment takes the heartbeat's place.
func TestHeartbeat(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		chat := k.channel(scope.Spec{Name: "chat"})
		tb := newTab(t, k.site, "s", nil, chat).connect()
		tb.hear()
		id := tb.lastID
		beats := 0
		for range 100 {
			time.Sleep(time.Second)
			events := tb.hear()
			beats += len(of(events, "comet:hb"))
		}
		if beats < 5 || beats > 8 || tb.lastID != id {
			t.Fatalf("%d heartbeats in 100 s, cursor %q, was %q", beats, tb.lastID, id)
		}
		beats = 0
		for i := range 100 {
			time.Sleep(time.Second)
			k.put(chat, "x")
			events := tb.hear()
			beats += len(of(events, "comet:hb"))
			if len(of(events, "chat")) != 1 {
				t.Fatal("a value is missing, second", i)
			}
		}
		if beats > 8 {
			t.Fatalf("%d heartbeats in 100 busy seconds", beats)
		}
	})
}

// TestComingAndGoing: presence, followed without a goroutine and without a loop
// that spins.
func TestComingAndGoing(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		p := k.process("s")
		var seen []string
		var here, away func(error)
		here = func(err error) {
			if err != nil {
				seen = append(seen, "ended")
				return
			}
			seen = append(seen, "here")
			p.AfterInactive(time.Second, away)
		}
		away = func(err error) {
			if err != nil {
				seen = append(seen, "ended")
				return
			}
			seen = append(seen, "away")
			p.AfterActive(here)
		}
		p.AfterActive(here)
		tb := newTab(t, k.site, "s", p)
		for range 2 {
			tb.connect()
			time.Sleep(time.Minute)
			if !p.Active() {
				t.Error("not active")
			}
			tb.cut()
			time.Sleep(500 * time.Millisecond)
			tb.connect() // too soon to be away
			time.Sleep(time.Minute)
			tb.cut()
			time.Sleep(2 * time.Second)
		}
		if err := p.WaitActive(cancelledAfter(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		p.Close()
		synctest.Wait()
		if got := fmt.Sprint(seen); got != "[here away here away ended]" {
			t.Error(got)
		}
		if err := p.WaitActive(context.Background()); !errors.Is(err, scope.ErrProcessGone) {
			t.Error(err)
		}
	})
}

func cancelledAfter(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
