package scope_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// TestLateQuestion: a question that was delayed in the engine, and comes when its relay
// has long asked others, says nothing of what the tab has: no channel is full by it, and
// the question that waits is answered.
func TestLateQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a", Size: 2})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 1))
		late := make(chan error)
		var delayed atomic.Bool
		c.views[1].set(func(v *view) {
			v.faults = func(request []byte) (chan error, chan error) {
				if request[0] == scope.AskNext && delayed.CompareAndSwap(false, true) {
					return nil, late
				}
				return nil, nil
			}
		})
		time.Sleep(lease)
		if !delayed.Load() {
			t.Fatal("no question was delayed")
		}
		for i := range 6 {
			c.kits[0].put(a, fmt.Sprint(i))
			c.want(tb, "a", fmt.Sprint(i))
		}
		close(late)
		synctest.Wait()
		c.kits[0].put(a, "x")
		events := c.want(tb, "a", "x")
		if len(of(events, "comet:full")) != 0 {
			t.Fatal(events)
		}
	})
}

// TestManySlowOwners: an event stream that is opened waits a quarter of the lease for its
// owners, all at once.
func TestManySlowOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		var tb *tab
		for i := range 5 {
			p := c.kits[0].process("s")
			a := c.kits[0].private(p, scope.Spec{Name: "a"})
			if i == 0 {
				tb = newTab(t, c.kits[0].site, "s", p, a)
				c.hear(c.on(tb, 0))
				continue
			}
			if _, err := tb.command("attach", p.Token()); err != nil {
				t.Fatal(err)
			}
			c.hear(tb)
		}
		tb.cut()
		c.views[0].set(func(v *view) { v.cut = true })
		begin := time.Now()
		c.on(tb, 1)
		if took := time.Since(begin); took > hold+time.Second {
			t.Fatalf("it took %v to open an event stream with 5 processes of a slow owner", took)
		}
	})
}

// TestAttachTwiceAtOnce: a page that asks twice to attach a process of another node,
// before the first answer is there, carries it, and is not told that somebody newer does.
func TestAttachTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		own, p := c.kits[1].process("s"), c.kits[0].process("s")
		tb := newTab(t, c.kits[1].site, "s", own, c.kits[1].private(own, scope.Spec{Name: "own"}))
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 1))
		stall := make(chan struct{})
		c.views[0].set(func(v *view) { v.stall = stall })
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := tb.command("attach", p.Token())
				errs <- err
			}()
			synctest.Wait()
		}
		c.views[0].set(func(v *view) { v.stall = nil })
		close(stall)
		for range 2 {
			if err := <-errs; err != nil && !isAway(err) {
				t.Fatal(err)
			}
		}
		events := c.hear(tb)
		time.Sleep(lease)
		events = append(events, c.hear(tb)...)
		c.kits[0].put(a, "1")
		events = append(events, c.hear(tb)...)
		if len(of(events, "comet:superseded")) > 0 || fmt.Sprint(of(events, "a@1")) != "[1]" {
			t.Fatal(events)
		}
	})
}
