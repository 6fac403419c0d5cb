package scope_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// drain shuts a node down, in the background.
func (c *nodes) drain(node int) (done chan error) {
	done = make(chan error, 1)
	go func() { done <- c.kits[node].site.Shutdown(context.Background()) }()
	return done
}

// back has a tab that was told to come back do so, on a node.
func (c *nodes) back(tb *tab, node int) []heard {
	c.t.Helper()
	if !tb.ended {
		c.t.Fatal("the tab was not told to come back")
	}
	return c.hear(c.on(tb, node))
}

// TestNothingIsMadeInWhatIsHandedOver: who makes a channel while a process is about to be handed over, as when one
// ends, is told that there is no process; made, it would be without an end, and what it is given lost.
func TestNothingIsMadeInWhatIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		var made error
		old := c.kits[0].private(p, scope.Spec{Name: "old", Stop: func(error) { _, made = scope.Register(p, scope.Spec{Name: "new"}) }})
		c.hear(c.on(newTab(t, c.kits[0].site, "s", p, old), 1))
		if err := <-c.drain(0); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(made, scope.ErrNoProcess) || !errors.Is(made, scope.ErrShutdown) {
			t.Error("Register:", made)
		}
	})
}

// TestDrain: a node that shuts down loses nothing that waits: whether its tabs are with
// it, with a relay or away, they hear what their sources had put, then that each channel
// is closed, then that the process is gone, once.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		var tabs [3]*tab // at home, relayed, away
		for i := range tabs {
			p := c.kits[0].process("s")
			a, b := c.kits[0].private(p, scope.Spec{Name: "a"}), c.kits[0].private(p, scope.Spec{Name: "b"})
			tabs[i] = newTab(t, c.kits[0].site, "s", p, a, b)
			c.kits[0].put(a, "1")
			c.want(c.on(tabs[i], i%2), "a", "1")
			if i == 2 {
				tabs[i].bytes()
				tabs[i].cut()
			}
			synctest.Wait()
			c.kits[0].put(a, "2", "3") // wait, or are about to be collected
			c.kits[0].put(b, "x")
			if i == 2 {
				b.Feed().End(errors.New("failed")) // its own end is told, not closed
			}
			t.Cleanup(func() {
				if err := a.Feed().Put(context.Background(), []byte("late")); !errors.Is(err, scope.ErrClosed) {
					t.Error("a source puts on after the drain:", err)
				}
			})
		}
		done := c.drain(0)
		synctest.Wait()
		var heard [3][]heard
		heard[1] = c.hear(tabs[1]) // while the node is there, for the sake of the tab at home, and says where the processes are
		heard[0] = c.hear(tabs[0])
		heard[0] = append(heard[0], c.back(tabs[0], 2)...)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // whoever comes late finds the way
		heard[2] = c.hear(c.on(tabs[2], 1))
		for i, events := range heard {
			var order []string
			for _, e := range events {
				switch e.name {
				case "comet:hello", "comet:hb", "comet:away":
				case "a", "b":
					order = append(order, e.name+e.data)
				default:
					order = append(order, e.name)
				}
			}
			story := strings.Join(order, " ")
			if fmt.Sprint(of(events, "a"), of(events, "b")) != "[2 3] [x]" || !strings.HasSuffix(story, "comet:gone") || strings.Count(story, "comet:") != 3 {
				t.Errorf("tab %d heard %s", i, story)
			}
			if i == 2 && strings.Count(story, "comet:end") != 1 {
				t.Errorf("tab %d heard %s, want the end of b", i, story)
			}
			if !tabs[i].ended {
				t.Errorf("tab %d goes on", i)
			}
			if c.on(tabs[i], i%2+1); !tabs[i].dead {
				t.Errorf("tab %d came back after gone", i)
			}
		}
	})
}

// TestDrainedAndCut: gone is told again to a tab that was cut before it heard that, and
// what was sent before, too; a minute later nobody is there.
func TestDrainedAndCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 0))
		c.kits[0].put(a, "1", "2")
		done := c.drain(0)
		synctest.Wait()
		tb.bytes() // lost
		tb.cut()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c.on(tb, 1)
			synctest.Wait()
			tb.bytes() // lost, too
			tb.cut()
		}
		events := c.want(c.on(tb, 1), "a", "1", "2")
		if len(of(events, "comet:closed")) != 1 || len(of(events, "comet:gone")) != 1 {
			t.Fatal(events)
		}
		if _, err := c.kits[1].site.Process("s", p.Token()); !errors.Is(err, scope.ErrNoProcess) {
			t.Error("a handler gets a process without its app:", err)
		}
		v := &view{Engine: c.views[0].Engine}
		other := newKit(t, scope.SiteConfig{Engine: v})
		if _, err := other.site.Lookup(context.Background(), "s", p.Token()); !errors.Is(err, scope.ErrNoProcess) {
			t.Error("a handler is sent to a node that has no app of the process:", err)
		}
		time.Sleep(2 * time.Minute)
		tb.lastID = ""
		if events := c.hear(c.on(tb, 1)); len(of(events, "a")) != 0 || len(of(events, "comet:gone")) != 1 {
			t.Error("an adopted process that was told to be gone is kept:", events)
		}
	})
}

// TestDrainUntaken: what a relay had and its tab did not take when the owner drained is
// told to the tab on another node, ends of channels included: nobody has taken the relay's
// having it for the tab's.
func TestDrainUntaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		a, b := c.kits[0].private(p, scope.Spec{Name: "a"}), c.kits[0].private(p, scope.Spec{Name: "b"})
		tb := newTab(t, c.kits[0].site, "s", p, a, b)
		c.hear(c.on(tb, 1))
		c.kits[0].put(a, "1", "2")
		a.Feed().End(io.EOF)
		synctest.Wait()
		tb.bytes() // the first answer, lost; the end may have come with it
		synctest.Wait()
		done := c.drain(0)
		time.Sleep(time.Second)
		events := c.want(c.on(tb, 2), "a", "1", "2")
		if len(of(events, "comet:end")) != 1 || len(of(events, "comet:closed")) != 1 || len(of(events, "comet:gone")) != 1 {
			t.Error(events)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestDrainStaleRelay: a relay that missed the move, and whose tab came to another node
// meanwhile, does not take the process from there.
func TestDrainStaleRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 1))
		c.views[1].set(func(v *view) {
			v.faults = func(request []byte) (lose, late chan error) {
				if request[0] == scope.AskNext {
					return make(chan error), nil
				}
				return nil, nil
			}
		})
		time.Sleep(hold * 3 / 2)
		c.kits[0].put(a, "1", "2")
		done := c.drain(0)
		synctest.Wait()
		again := tb.duplicate() // its connection is dead, and node 1 does not know
		again.lastID = tb.lastID
		c.on(again, 2)
		synctest.Wait()
		c.views[1].set(func(v *view) { v.faults = nil })
		var events []heard
		for range 20 {
			time.Sleep(time.Second)
			if stale := c.hear(tb); len(of(stale, "a")) > 0 {
				t.Fatal("the stale relay was told", stale)
			}
		}
		events = c.want(again, "a", "1", "2")
		if len(of(events, "comet:superseded")) > 0 || len(of(events, "comet:gone")) != 1 {
			t.Error(events)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestDrainTwice: the successor drains, too. A tab that was away all the time finds what
// waits, by the first node's token.
func TestDrainTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		relayed := c.kits[0].process("s")
		b := c.kits[0].private(relayed, scope.Spec{Name: "b"})
		other := newTab(t, c.kits[0].site, "s", relayed, b)
		c.kits[0].put(a, "1", "2")
		c.kits[0].put(b, "1")
		if err := <-c.drain(0); err != nil {
			t.Fatal(err)
		}
		v := &view{Engine: c.views[0].Engine}
		third := newKit(t, scope.SiteConfig{Engine: v})
		c.kits, c.views = append(c.kits, third), append(c.views, v)
		synctest.Wait()
		if err := <-c.drain(1); err != nil {
			t.Fatal(err)
		}
		for _, tb := range []*tab{tb, other} {
			events := c.hear(c.on(tb, 2))
			if len(of(events, "comet:closed")) != 1 || len(of(events, "comet:gone")) != 1 || len(of(events, "a"))+2*len(of(events, "b")) != 2 {
				t.Error(events)
			}
		}
	})
}

// TestDrainOfARelay: the node that carries a tab for another shuts down: its tab is told
// to come back, and misses nothing.
func TestDrainOfARelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 1))
		c.kits[0].put(a, "1")
		done := c.drain(1)
		synctest.Wait()
		c.kits[0].put(a, "2")
		heard := of(c.hear(tb), "a")
		c.kits[0].put(a, "3")
		heard = append(heard, of(c.back(tb, 2), "a")...)
		if fmt.Sprint(heard) != "[1 2 3]" {
			t.Fatal(heard)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestDrainWithoutNeighbours: a node alone, and one whose neighbours take nothing, end
// as ever.
func TestDrainWithoutNeighbours(t *testing.T) {
	for what, neighbours := range map[string]int{"alone": 0, "dead": 1, "refusing": 2} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newNodes(t, 1+neighbours)
				p := c.kits[0].process("s")
				a := c.kits[0].private(p, scope.Spec{Name: "a"})
				tb := newTab(t, c.kits[0].site, "s", p, a)
				c.hear(c.on(tb, 0))
				if what == "dead" {
					c.views[1].kill()
				}
				never := make(chan error) // in time
				defer close(never)
				c.views[0].set(func(v *view) {
					v.faults = func(request []byte) (lose, late chan error) {
						if request[0] == scope.AskAdopt {
							return nil, never
						}
						return nil, nil
					}
				})
				done := c.drain(0)
				for range 200 {
					time.Sleep(time.Second)
					c.hear(tb)
				}
				if err := <-done; err != nil || !errors.Is(p.Err(), scope.ErrShutdown) || !tb.ended {
					t.Fatal(err, p.Err(), tb.ended)
				}
				if _, err := c.views[0].Engine.Record(context.Background(), engine.Node{ID: p.Token()[:10]}); !errors.Is(err, engine.ErrNoNode) {
					t.Error("its record stays:", err)
				}
			})
		})
	}
}

// TestDrainLarge: a process with more than one message can have is handed over in parts,
// also where answers are lost.
func TestDrainLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		var want []string
		for i := range 30 {
			want = append(want, fmt.Sprint(i, strings.Repeat("v", 100<<10)))
		}
		c.kits[0].put(a, want...)
		parts := 0
		c.views[0].set(func(v *view) {
			v.faults = locked(func(request []byte) (lose, late chan error) {
				if request[0] != scope.AskAdopt {
					return nil, nil
				}
				if parts++; parts%3 == 0 {
					return make(chan error), nil
				}
				return nil, nil
			})
		})
		if err := <-c.drain(0); err != nil {
			t.Fatal(err)
		}
		if parts < 10 {
			t.Errorf("it took %d parts", parts)
		}
		got := of(c.hear(c.on(tb, 1)), "a")
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("heard %d values, want %d", len(got), len(want))
		}
	})
}

// TestDrainReads: a value that is being read when the node shuts down is kept where the
// source gives it up in time; a source that ignores that is not waited for.
func TestDrainReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		hangs := make(chan struct{})
		quick := c.kits[0].private(p, scope.Spec{Name: "quick", Kind: scope.Pull, Pull: func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			return []byte("taken"), nil
		}})
		stuck := c.kits[0].private(p, scope.Spec{Name: "stuck", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
			<-hangs
			return []byte("lost"), nil
		}})
		tb := newTab(t, c.kits[0].site, "s", p, quick, stuck)
		c.hear(c.on(tb, 1))
		done := c.drain(0)
		time.Sleep(2 * time.Second)
		events := c.hear(tb)
		if fmt.Sprint(of(events, "quick"), of(events, "stuck")) != "[taken] []" || len(of(events, "comet:gone")) != 1 {
			t.Error(events)
		}
		close(hangs)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
