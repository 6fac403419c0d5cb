package scope_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// TestDrainManyStuckReads: sources that do not heed the end of their context cost a node
// that shuts down a second, not a second each: what its processes have is handed over.
func TestDrainManyStuckReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2, scope.SiteConfig{MaxProcesses: 2000})
		stuck := make(chan struct{})
		var tabs []*tab
		var reads atomic.Int64
		for i := range 600 {
			p := c.kits[0].process("s")
			a := c.kits[0].private(p, scope.Spec{Name: "a"})
			b := c.kits[0].private(p, scope.Spec{Name: "b", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
				reads.Add(1)
				<-stuck
				return nil, context.Canceled
			}})
			tb := newTab(t, c.kits[0].site, "s", p, a, b)
			c.hear(c.on(tb, 0))
			if reads.Load() != int64(i+1) {
				t.Fatal("nothing is read")
			}
			tb.cut()
			c.kits[0].put(a, "1")
			tabs = append(tabs, tb)
		}
		done := c.drain(0)
		time.Sleep(10 * time.Second)
		tb := tabs[len(tabs)-1]
		events := c.hear(c.on(tb, 1))
		close(stuck)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(of(events, "a")) != "[1]" {
			t.Fatal(events)
		}
	})
}

// TestSessionEndsDuringDrain: a logout while the session's processes are being handed over
// ends them wherever they come to be.
func TestSessionEndsDuringDrain(t *testing.T) {
	for what, delay := range map[string]time.Duration{"during": 0, "after": 3 * time.Second} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newNodes(t, 3)
				var tabs []*tab
				for _, session := range []string{"s", "other"} {
					p := c.kits[0].process(session)
					a := c.kits[0].private(p, scope.Spec{Name: "a"})
					tb := newTab(t, c.kits[0].site, session, p, a)
					c.hear(c.on(tb, 0))
					tb.cut()
					c.kits[0].put(a, "secret")
					tabs = append(tabs, tb)
				}
				held := make(chan struct{})
				c.views[0].set(func(v *view) {
					v.faults = func(request []byte) (chan error, chan error) {
						if request[0] == scope.AskAdopt {
							<-held // on its way
						}
						return nil, nil
					}
				})
				done := c.drain(0)
				synctest.Wait()
				if delay == 0 {
					c.kits[1].site.EndSession("s")
				}
				synctest.Wait()
				close(held)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if delay > 0 {
					time.Sleep(delay)
					c.kits[1].site.EndSession("s")
				}
				synctest.Wait()
				if events := c.hear(c.on(tabs[0], 1)); len(of(events, "a")) != 0 {
					t.Fatal("after the logout:", events)
				}
				c.want(c.on(tabs[1], 1), "a", "secret")
			})
		})
	}
}

// TestDrainNeighbourStalls: a neighbour that has taken some of the processes and then does
// not answer has none of them: who takes them all has.
func TestDrainNeighbourStalls(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			c := newNodes(t, 3)
			p := c.kits[0].process("s")
			big := c.kits[0].process("s")
			a := c.kits[0].private(p, scope.Spec{Name: "a"})
			b := c.kits[0].private(big, scope.Spec{Name: "b"})
			tb := newTab(t, c.kits[0].site, "s", p, a)
			c.hear(c.on(tb, 0))
			newTab(t, c.kits[0].site, "s", big, b)
			for range 4 {
				c.kits[0].put(b, string(make([]byte, 200<<10)))
			}
			c.kits[0].put(a, "1", "2")
			tb.cut()
			adopts, slow := 0, make(chan error)
			c.views[0].set(func(v *view) {
				v.faults = locked(func(request []byte) (chan error, chan error) {
					if request[0] != scope.AskAdopt {
						return nil, nil
					}
					if adopts++; adopts > 3 && adopts < 9 {
						return nil, slow
					}
					return nil, nil
				})
			})
			if err := <-c.drain(0); err != nil {
				t.Fatal(err)
			}
			close(slow)
			synctest.Wait()
			var events []heard
			for c.on(tb, 1); len(of(events, "a")) == 0; {
				tb.batch.Reset()
				if _, err := tb.stream.Collect(&tb.batch, 1); err != nil {
					t.Fatal(err)
				}
				events = append(events, tb.take(tb.batch.Bytes())...)
				synctest.Wait()
			}
			events = append(events, c.hear(c.on(tb, 2))...)
			if fmt.Sprint(of(events, "a"), len(of(events, "comet:full"))) != "[1 2] 0" {
				t.Fatal(events)
			}
		})
	}
}
