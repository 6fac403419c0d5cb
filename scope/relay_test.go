package scope_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// TestRelay: a tab hears its process on whatever node it comes to, from where it
// was; hello tells the same as at home.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		c.kits[0].put(a, "1", "2")
		tb := newTab(t, c.kits[0].site, "s", p, a, c.kits[0].private(p, scope.Spec{Name: "named", Event: "event"}),
			c.kits[0].private(p, scope.Spec{Name: "bare", Unnamed: true}))
		home := tb.duplicate()
		home.connect()
		hello := of(c.hear(home), "comet:hello")[0]
		home.cut()
		events := c.hear(c.on(tb, 1))
		if got := of(events, "comet:hello"); len(got) != 1 || strings.Replace(got[0], `"generation":2`, `"generation":1`, 1) != hello {
			t.Fatalf("a relay greets with %q, the owner with %q", got, hello)
		}
		if fmt.Sprint(of(events, "a")) != "[1 2]" {
			t.Fatal(events)
		}
		c.kits[0].put(a, "3")
		c.want(tb, "a", "3")
		c.kits[0].put(a, "4")
		c.want(c.on(tb, 2), "a", "4")
		c.want(c.on(tb, 0), "a")
		c.kits[0].put(a, "5")
		c.want(tb, "a", "5")
		late := c.kits[0].private(p, scope.Spec{Name: "late", Event: "letter"})
		c.on(tb, 1)
		c.hear(tb)
		if _, err := tb.command("register", "late"); err != nil {
			t.Fatal(err)
		}
		c.kits[0].put(late, "x")
		events = c.want(tb, "letter", "x")
		if got := of(events, "comet:hello"); len(got) != 1 || !strings.Contains(got[0], `"channel":"late","event":"letter"`) {
			t.Fatalf("hello of what was registered is %q", got)
		}
		a.Close()
		if got := of(c.hear(tb), "comet:closed"); len(got) != 1 {
			t.Fatal(got)
		}
		p.Close()
		if got := of(c.hear(tb), "comet:gone"); len(got) != 1 || !tb.ended {
			t.Fatal("gone is not told at once:", got)
		}
		if c.on(tb, 2); !tb.dead {
			t.Fatal("the reconnect of a process that is gone finds an event stream")
		}
	})
}

// A traveller is a tab that hops between nodes while its process is told things,
// and what it has heard.
type traveller struct {
	tb       *tab
	p        *scope.ClientProcess
	home     int
	channels []*scope.Handle
	put      map[string]int
	got      map[string]int
	closed   int
	gone     bool
}

// TestHopUnderLoad proves rules 1, 2, 7 and 11 between nodes: whatever node a tab
// comes to, and whatever answers and questions are lost or late, every value is
// heard once, in order, and no process is taken for gone or another's. Every other time
// a node shuts down on the way: what its processes were told is heard, too, then that
// their channels are closed, and then that they are gone.
func TestHopUnderLoad(t *testing.T) {
	for _, seed := range seeds(t, 300) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			c := newNodes(t, 3)
			drains := -1
			if seed%2 == 1 {
				drains = r.IntN(3)
			}
			var log []string
			if err := hop(c, r, drains, &log); err != nil {
				t.Fatalf("COMET_SEED=%d: %v; steps %v", seed, err, log)
			}
		})
	}
}

// unreliable loses some answers and delays some questions.
func unreliable(r *rand.Rand) func([]byte) (lose, late chan error) {
	return func([]byte) (lose, late chan error) {
		switch r.IntN(40) {
		case 0:
			return make(chan error), nil
		case 1:
			late = make(chan error)
			time.AfterFunc(time.Duration(r.IntN(6000))*time.Millisecond, func() { close(late) })
			return nil, late
		}
		return nil, nil
	}
}

func hop(c *nodes, r *rand.Rand, drains int, log *[]string) error {
	for i, v := range c.views {
		v.faults = locked(unreliable(rand.New(rand.NewPCG(r.Uint64(), uint64(i)))))
	}
	var all []*traveller
	for i := range 4 {
		home := i % 3
		p := c.kits[home].process("s")
		tr := &traveller{p: p, home: home, put: map[string]int{}, got: map[string]int{}}
		for _, name := range []string{"a", "b"} {
			tr.channels = append(tr.channels, c.kits[home].private(p, scope.Spec{Name: name}))
		}
		tr.tb = newTab(c.t, c.kits[home].site, "s", p, tr.channels[0], tr.channels[1])
		c.on(tr.tb, r.IntN(3))
		all = append(all, tr)
	}
	down := -1
	for i := range 80 {
		if i == 40 && drains >= 0 {
			down = drains
			*log = append(*log, fmt.Sprint("drain", down))
			c.drain(down)
			synctest.Wait()
		}
		tr := all[r.IntN(len(all))]
		op, node := r.IntN(10), r.IntN(3)
		if node == down {
			node = (node + 1) % 3
		}
		*log = append(*log, fmt.Sprint(op, node))
		switch {
		case tr.gone:
		case op < 4 && tr.home == down:
		case op < 4:
			name := []string{"a", "b"}[r.IntN(2)]
			for range 1 + r.IntN(5) {
				tr.put[name]++
				c.kits[tr.home].put(tr.channels[name[0]-'a'], fmt.Sprint(tr.put[name]))
			}
		case op == 4:
			tr.tb.bytes() // written, and lost with the connection
			c.on(tr.tb, node)
		case op == 5:
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		case op == 6:
			c.on(tr.tb, node)
		default:
			if err := tr.hear(c, down); err != nil {
				return err
			}
		}
	}
	return settle(c, down, all)
}

// locked has the faults of a node decided one after the other.
func locked(f func([]byte) (lose, late chan error)) func([]byte) (lose, late chan error) {
	turn := make(chan struct{}, 1)
	return func(b []byte) (lose, late chan error) {
		turn <- struct{}{}
		defer func() { <-turn }()
		return f(b)
	}
}

func (tr *traveller) hear(c *nodes, down int) error {
	for _, e := range c.hear(tr.tb) {
		switch e.name {
		case "a", "b":
			if tr.got[e.name]++; fmt.Sprint(tr.got[e.name]) != e.data {
				return fmt.Errorf("channel %s: heard %s, want %d", e.name, e.data, tr.got[e.name])
			}
		case "comet:hello", "comet:hb", "comet:away":
		case "comet:closed":
			tr.closed++
		case "comet:gone":
			tr.gone = true
		default:
			return fmt.Errorf("heard %v", e)
		}
	}
	switch drained := tr.home == down; {
	case tr.gone && drained && tr.closed == 2:
		return nil
	case tr.gone || tr.closed > 0 && !drained:
		return fmt.Errorf("%d channels are closed, gone: %v", tr.closed, tr.gone)
	case tr.tb.dead:
		return errors.New("the tab was told that it is over")
	case tr.tb.ended: // told to come back
		node := int(time.Now().UnixNano()) % 3
		if node == down {
			node = (node + 1) % 3
		}
		c.on(tr.tb, node)
	}
	return nil
}

func settle(c *nodes, down int, all []*traveller) error {
	for _, v := range c.views {
		v.set(func(v *view) { v.faults = nil })
	}
	for range 40 { // late questions come by then, and relays have asked again
		time.Sleep(time.Second)
		for _, tr := range all {
			if err := tr.hear(c, down); err != nil {
				return err
			}
		}
	}
	for _, tr := range all {
		if fmt.Sprint(tr.got) != fmt.Sprint(tr.put) {
			return fmt.Errorf("put %v, heard %v", tr.put, tr.got)
		}
		if tr.home == down && !tr.gone {
			return errors.New("the node is down, and its process is not gone")
		}
		tr.tb.cut()
	}
	return nil
}

// TestLateRelay proves that a relay which is late takes no tab from the one that
// came after it: neither its attach, nor its questions, nor its farewell.
func TestLateRelay(t *testing.T) {
	for what, ask := range map[string]byte{"knock": scope.AskKnock, "attach": scope.AskAttach, "question": scope.AskNext, "farewell": scope.AskLeave} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newNodes(t, 3)
				p := c.kits[0].process("s")
				a := c.kits[0].private(p, scope.Spec{Name: "a"})
				tb := newTab(t, c.kits[0].site, "s", p, a)
				c.hear(c.on(tb, 2)) // the generation that both relays have
				late := make(chan error)
				c.views[1].set(func(v *view) {
					v.faults = func(request []byte) (chan error, chan error) {
						if request[0] == ask {
							return nil, late
						}
						return nil, nil
					}
				})
				c.on(tb, 1)
				c.hear(tb)
				tb.ended = false
				c.on(tb, 2)
				c.hear(tb)
				c.kits[0].put(a, "1")
				c.want(tb, "a", "1")
				close(late)
				for range 10 {
					time.Sleep(hold)
					if events := c.hear(tb); len(of(events, "comet:superseded")) > 0 || tb.ended {
						t.Fatal("the late relay took the tab:", events)
					}
				}
				c.kits[0].put(a, "2")
				c.want(tb, "a", "2")
				if !p.Active() {
					t.Fatal("the late relay let go of the process")
				}
			})
		})
	}
}

// TestLateAttachOfNobody: an attach that comes when its tab has left already lets
// nobody seem to be there.
func TestLateAttachOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "a"}))
		late := make(chan error)
		c.views[1].set(func(v *view) {
			v.faults = func(request []byte) (chan error, chan error) {
				if request[0] == scope.AskAttach {
					return nil, late
				}
				return nil, nil
			}
		})
		c.on(tb, 1) // which waits for the owner in vain
		tb.cut()
		synctest.Wait()
		close(late)
		synctest.Wait()
		if p.Active() {
			t.Fatal("an attach that came after its farewell carries the process")
		}
	})
}

// TestLostAnswers: what answers had that were lost comes again, though as much as the
// channel keeps was put meanwhile: a repetition takes nothing new, which would push it
// out.
func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a", Size: 2})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 1))
		lose := 3
		c.views[1].set(func(v *view) {
			v.faults = locked(func(request []byte) (chan error, chan error) {
				if request[0] != scope.AskNext || lose == 0 {
					return nil, nil
				}
				lose--
				return make(chan error), nil
			})
		})
		time.Sleep(hold * 3 / 2) // the question that waits is answered
		c.kits[0].put(a, "1")
		synctest.Wait() // alone in the answer that is lost
		c.kits[0].put(a, "2", "3")
		var got []string
		for range 30 {
			time.Sleep(time.Second)
			events := c.hear(tb)
			got = append(got, of(events, "a")...)
			if len(of(events, "comet:full")) > 0 {
				t.Fatal(events)
			}
		}
		if fmt.Sprint(got) != "[1 2 3]" || lose > 0 {
			t.Fatal(got, lose)
		}
	})
}

// TestLostGreeting: an answer that had nothing but a new channel, and was lost, is
// given again.
func TestLostGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "a"}))
		c.hear(c.on(tb, 1))
		c.kits[0].private(p, scope.Spec{Name: "late"})
		lost := false
		c.views[1].set(func(v *view) {
			v.faults = func(request []byte) (lose, late chan error) {
				if request[0] == scope.AskNext && !lost {
					lost = true
					return make(chan error), nil
				}
				return nil, nil
			}
		})
		time.Sleep(hold * 3 / 2) // the question that waits is answered; the next answer will be lost
		if _, err := tb.command("register", "late"); err != nil {
			t.Fatal(err)
		}
		if events := c.hear(tb); !lost || len(events) > 0 {
			t.Fatal("the answer was not lost:", events)
		}
		time.Sleep(2 * hold)
		if hello := of(c.hear(tb), "comet:hello"); len(hello) != 1 || !strings.Contains(hello[0], "late") {
			t.Fatalf("heard %q", hello)
		}
	})
}

// TestRegisterWhileTheRelayIsLost: what was registered while the owner heard nothing of the relay, and so had the tab for away, is told
// when it hears of it again, before any of its values.
func TestRegisterWhileTheRelayIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "a"}))
		c.hear(c.on(tb, 1))
		late := c.kits[0].private(p, scope.Spec{Name: "late", Event: "letter"})
		c.kits[0].put(late, "x")
		heal := c.silent(1)
		time.Sleep(3 * hold)
		if p.Active() {
			t.Fatal("the owner hears of the relay")
		}
		if _, err := tb.command("register", "late"); err != nil {
			t.Fatal(err)
		}
		heal()
		var told []string
		for range 20 {
			time.Sleep(hold / 4)
			for _, e := range c.hear(tb) {
				if e.name != "comet:hb" {
					told = append(told, e.name+" "+e.data)
				}
			}
		}
		if len(told) != 2 || !strings.Contains(told[0], `"channel":"late","event":"letter"`) || told[1] != "letter x" {
			t.Fatalf("heard %q", told)
		}
	})
}

// TestRegisterBetweenItsSteps: a channel that is made after register has found none, and before its name is noted, is heard.
func TestRegisterBetweenItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "a"}))
		c.hear(c.on(tb, 1))
		var made *scope.Handle
		c.views[1].set(func(v *view) {
			v.faults = func(request []byte) (lose, late chan error) {
				if request[0] == scope.AskStep && bytes.Contains(request, []byte(`"want"`)) && made == nil {
					made = c.kits[0].private(p, scope.Spec{Name: "late"})
				}
				return nil, nil
			}
		})
		if reply, err := tb.command("register", "late"); err != nil || made == nil || reply.State != "heard" {
			t.Fatal(reply, err, made)
		}
		c.kits[0].put(made, "x")
		c.want(tb, "late", "x")
	})
}

// TestRegisterBeforeAHandover: what was registered while its relay was lost, and whose owner then left, is told as soon as the relay
// has found the next one, also a channel of the name of one that ended.
func TestRegisterBeforeAHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		a, b := c.kits[0].private(p, scope.Spec{Name: "a"}), c.kits[0].private(p, scope.Spec{Name: "b", Event: "x"})
		tb := newTab(t, c.kits[0].site, "s", p, a, b)
		c.hear(c.on(tb, 1))
		heal := c.silent(1)
		b.Close() // answers the question that waits; the next one is lost
		time.Sleep(10 * time.Millisecond)
		if got := of(c.hear(tb), "comet:closed"); len(got) != 1 {
			t.Fatal("heard", got)
		}
		for _, spec := range []scope.Spec{{Name: "b", Event: "y"}, {Name: "late"}} {
			h := c.kits[0].private(p, spec)
			if _, err := tb.command("register", spec.Name); err != nil {
				t.Fatal(err)
			}
			c.kits[0].put(h, "value")
		}
		c.drain(0)
		begin := time.Now()
		heal()
		told := map[string]string{}
		for told["late"] == "" || told["y"] == "" {
			synctest.Wait()
			select {
			case <-tb.wakes: // as a server: it collects when it is woken, and not otherwise
				for _, e := range c.hear(tb) {
					if strings.HasPrefix(e.name, "comet:") {
						told["hello"] += e.data
					} else if told[e.name] = e.data; e.name == "y" && !strings.Contains(told["hello"], `{"channel":"b","event":"y"}`) {
						t.Error("b's value comes before it is named:", told)
					}
				}
			case <-time.After(50 * time.Millisecond):
			}
			if time.Since(begin) > lease {
				t.Fatal("not all is heard:", told)
			}
		}
	})
}

// TestRelayNamesInOrder: the first hello of a relay names what comes first, also where the owner has said all of it by then.
func TestRelayNamesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		k := c.kits[0]
		p := k.process("s")
		old := k.private(p, scope.Spec{Name: "q", Event: "x"})
		tb := c.on(newTab(t, k.site, "s", p, old), 0)
		c.hear(tb)
		tb.cut()
		k.again(tb, p, old)
		events := c.hear(c.on(tb, 1))
		if got := names(events); got != "comet:hello x comet:closed comet:hello y" || strings.Contains(events[0].data, `"event":"y"`) {
			t.Error("heard", events)
		}
	})
}

// TestRelayNamesOnce: a channel that is registered again over a relay is named, and kept, once.
func TestRelayNamesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "q"})) // has it heard
		tb := c.on(newTab(t, c.kits[1].site, "s", c.kits[1].process("s")), 1)
		c.hear(tb)
		command := func(pairs ...string) []heard {
			if _, err := tb.command(pairs...); err != nil {
				t.Fatal(err)
			}
			return c.hear(tb)
		}
		command("attach", p.Token())
		for range 3 {
			command("register", "q", "comet", p.Token())
		}
		if events := command("attach", p.Token()+".9"); len(events) != 1 || strings.Count(events[0].data, `"channel":"q"`) != 1 {
			t.Error("heard", events)
		}
	})
}

// TestRelayOfManyLives: however often a name was given again, all of it comes over a relay.
func TestRelayOfManyLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lives = 140
		c := newNodes(t, 2)
		k := c.kits[0]
		p := k.process("s")
		q := k.private(p, scope.Spec{Name: "q"})
		tb := c.on(newTab(t, k.site, "s", p, q), 0)
		c.hear(tb)
		for i := range lives {
			k.put(q, fmt.Sprint(i))
			q.Close()
			if i == 90 { // sent and lost; the rest is not sent
				tb.bytes()
				tb.cut()
			}
			q = k.private(p, scope.Spec{Name: "q"})
			if _, err := tb.command("register", "q"); err != nil {
				t.Fatal(i, err)
			}
		}
		if got := of(c.hear(c.on(tb, 1)), "q"); len(got) != lives {
			t.Errorf("heard %d values, want %d", len(got), lives)
		}
	})
}

// ofMany makes a process of the first of two nodes with 120 channels, and its tab, which does not hear them yet.
func ofMany(t *testing.T) (c *nodes, p *scope.ClientProcess, all []*scope.Handle, tb *tab) {
	c = newNodes(t, 2, scope.SiteConfig{MaxChannels: 300})
	p = c.kits[0].process("s")
	var refs []scope.Ref
	for i := range 120 {
		h := c.kits[0].private(p, scope.Spec{Name: fmt.Sprint("c", i), Size: 1})
		all, refs = append(all, h), append(refs, h)
	}
	return c, p, all, newTab(t, c.kits[0].site, "s", p, refs...)
}

// TestRelayThatMissedForgottenEnds: an answer that is lost with more ends than are remembered leaves no hole that is not told,
// and nobody counts as there who was told that the process is gone.
func TestRelayThatMissedForgottenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p, all, tb := ofMany(t)
		c.hear(c.on(tb, 1))
		c.silent(1)
		all[0].Close() // answers the question that waits; the next one is lost
		c.hear(tb)
		for _, h := range all[1:] {
			h.Close()
		}
		lost := false
		c.views[1].set(func(v *view) {
			v.faults = locked(func(request []byte) (lose, late chan error) { // the answer that has all of it
				if request[0] == scope.AskNext && !lost {
					lost = true
					return make(chan error), nil
				}
				return nil, nil
			})
		})
		var events []heard
		for begin := time.Now(); len(of(events, "comet:gone")) == 0 && time.Since(begin) < 10*lease; time.Sleep(50 * time.Millisecond) {
			events = append(events, c.hear(tb)...)
		}
		if !lost || len(of(events, "comet:gone")) != 1 {
			t.Errorf("lost: %v; heard %d ends and no gone", lost, len(of(events, "comet:closed")))
		}
		if p.Active() {
			t.Error("who was told that the process is gone counts as there")
		}
	})
}

// TestSupersededRelayThatMissedEnds: a relay whose place was taken is told that, whatever it missed.
func TestSupersededRelayThatMissedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, all, tb := ofMany(t)
		c.hear(c.on(tb, 1))
		heal := c.silent(1)
		c.kits[0].put(all[0], "x") // answers the question that waits; the next one is lost
		c.hear(tb)
		other := c.on(tb.duplicate(), 0)
		c.hear(other)
		for _, h := range all {
			h.Close()
		}
		c.hear(other)
		heal()
		var events []heard
		for range 40 {
			events = append(events, c.hear(tb)...)
			time.Sleep(hold)
		}
		if len(of(events, "comet:superseded")) != 1 || len(of(events, "comet:gone")) != 0 {
			t.Error("heard", names(events))
		}
	})
}

// TestManyLostAtOnce proves rule 8: a tab that lost something of more channels than are remembered hears that the process is
// gone, at home and over a relay.
func TestManyLostAtOnce(t *testing.T) {
	for node := range 2 {
		synctest.Test(t, func(t *testing.T) {
			c, _, all, tb := ofMany(t)
			c.hear(c.on(tb, 0))
			for range 3 {
				for _, h := range all {
					c.kits[0].put(h, "x")
				}
				tb.bytes() // written, and lost with the connection
			}
			events := c.hear(c.on(tb, node))
			for range 4 {
				time.Sleep(hold)
				events = append(events, c.hear(tb)...)
			}
			if len(of(events, "comet:gone")) != 1 {
				t.Errorf("node %d: %d of %d channels are told to be full, and not that the process is gone", node, len(of(events, "comet:full")), len(all))
			}
		})
	}
}

// TestNobodyIsToldByARelayThatIsOver: of a process whose tab came home nothing is kept for the relay that it had.
func TestNobodyIsToldByARelayThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "a"}))
		c.hear(c.on(tb, 1))
		c.hear(c.on(tb, 0))
		tb.cut()
		c.kits[0].private(p, scope.Spec{Name: "late"})
		if _, err := tb.command("register", "late"); err != nil {
			t.Fatal(err)
		}
		if n := p.KeptForRelay(); n > 0 {
			t.Errorf("%d channels are kept to be named to a relay that is over", n)
		}
	})
}

// TestNewerWinsBetweenNodes proves rule 11 there: of two tabs with one page the newer
// one has the process, wherever both are, and they do not fight.
func TestNewerWinsBetweenNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		for _, pair := range [][2]int{{1, 2}, {1, 0}, {0, 1}, {1, 1}} {
			first := newTab(t, c.kits[0].site, "s", p, a)
			second := first.duplicate()
			c.hear(c.on(first, pair[0]))
			c.hear(c.on(second, pair[1]))
			if got := of(c.hear(first), "comet:superseded"); len(got) != 1 || !first.ended {
				t.Fatalf("%v: the older tab heard %q", pair, got)
			}
			if c.on(first, pair[0]); !first.dead {
				t.Fatalf("%v: the older tab came back", pair)
			}
			c.kits[0].put(a, "v")
			c.want(second, "a", "v")
			second.cut()
			synctest.Wait()
		}
	})
}

// TestOwnerDies: a tab hears within the lease that its owner is dead, at once when it
// comes after that, and other channels go on.
func TestOwnerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		chat := c.kits[1].channel(scope.Spec{Name: "chat"})
		c.kits[0].channel(scope.Spec{Name: "chat"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		away := tb.duplicate()
		q := c.kits[0].process("s")
		both := newTab(t, c.kits[0].site, "s", q, c.kits[0].channel(scope.Spec{Name: "other"}))
		c.hear(c.on(tb, 1))
		c.hear(c.on(both, 1))
		if _, err := both.command("register", "chat"); err != nil {
			t.Fatal(err)
		}
		c.hear(both)
		time.Sleep(lease)
		c.hear(both)
		c.views[0].kill()
		if d := c.goneAfter(tb, 2*lease); d > lease+time.Second {
			t.Errorf("gone after %v, want at most the lease and a second", d)
		}
		if c.on(tb, 2); !tb.dead {
			t.Error("a reconnect after gone is not over")
		}
		if d := c.goneAfter(c.on(away, 2), lease); d > 0 {
			t.Errorf("who comes later hears gone after %v", d)
		}
		if d := c.goneAfter(both, lease); d > time.Second {
			t.Errorf("another tab of the node hears gone %v later", d)
		}
		c.kits[1].put(chat, "goes on")
		c.want(both, "chat", "goes on")
	})
}

// TestOwnerIsSlow proves rule 12: of an owner that lives and does not answer nothing
// is said. What waited comes when it answers.
func TestOwnerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 1))
		stall := make(chan struct{})
		c.views[0].set(func(v *view) { v.stall = stall })
		c.kits[0].put(a, "1")
		for range 60 {
			time.Sleep(time.Second)
			for _, e := range c.hear(tb) {
				if e.name != "comet:hb" && e.name != "a" {
					t.Fatal("heard", e)
				}
			}
		}
		// A reconnect has nothing else to hear: it is told to come back. With a site
		// channel it goes on, and hears of its process when that can be had.
		c.on(tb, 1)
		if c.hear(tb); !tb.ended || tb.dead {
			t.Fatal("without its process the event stream says nothing, and does not end")
		}
		chat := c.kits[1].channel(scope.Spec{Name: "chat"})
		c.kits[0].channel(scope.Spec{Name: "chat"})
		q := c.kits[0].process("s")
		b := c.kits[0].private(q, scope.Spec{Name: "b"})
		both := newTab(t, c.kits[0].site, "s", q, b, c.kits[0].channel(scope.Spec{Name: "news"}))
		c.kits[1].channel(scope.Spec{Name: "news"})
		_ = chat
		begin := time.Now()
		c.on(both, 1)
		if d := time.Since(begin); d > hold {
			t.Errorf("the request waited %v", d)
		}
		if hello := of(c.hear(both), "comet:hello"); len(hello) != 1 || strings.Contains(hello[0], "processes") || both.ended {
			t.Fatalf("greeted with %q", hello)
		}
		if _, err := both.command("register", "b"); !isAway(err) {
			t.Fatal("a command to a slow owner:", err)
		}
		close(stall)
		c.views[0].set(func(v *view) { v.stall = nil })
		time.Sleep(2 * time.Second)
		c.kits[0].put(b, "x")
		events := c.want(both, "b", "x")
		if hello := of(events, "comet:hello"); len(hello) != 1 || !strings.Contains(hello[0], `"channel":"b"`) {
			t.Fatalf("the process was greeted with %q", hello)
		}
		c.want(c.on(tb, 1), "a")
		c.kits[0].put(a, "2")
		c.want(tb, "a", "2")
	})
}

func isAway(err error) bool {
	var refused *scope.CommandError
	return errors.As(err, &refused) && refused.Code == "away" && refused.RetryAfter > 0
}

// TestFence: a node that cannot renew its record ends its processes before another
// finds it dead, makes none meanwhile, and goes on when it can.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.hear(c.on(tb, 1))
		begin := time.Now()
		c.views[0].set(func(v *view) { v.cut = true })
		var fenced time.Duration
		go func() {
			<-p.Done()
			fenced = time.Since(begin)
		}()
		told := c.goneAfter(tb, 2*lease)
		if fenced == 0 || fenced > told || fenced > lease*9/10 {
			t.Errorf("the owner's process ended after %v, its tab was told after %v", fenced, told)
		}
		if told > lease+hold {
			t.Errorf("gone after %v", told)
		}
		if _, err := c.kits[0].site.NewProcess("s"); !errors.Is(err, engine.ErrUnavailable) {
			t.Error("a fenced node makes a process:", err)
		}
		c.views[0].set(func(v *view) { v.cut = false })
		time.Sleep(lease)
		q := c.kits[0].process("s")
		b := c.kits[0].private(q, scope.Spec{Name: "b"})
		tb = newTab(t, c.kits[0].site, "s", q, b)
		c.hear(c.on(tb, 1))
		c.kits[0].put(b, "1")
		c.want(tb, "b", "1")
	})
}

// TestRelayActivity proves rule 10 between nodes: who is carried by a relay is active,
// also while its tab takes nothing; its end starts the clock; and a relay that
// vanishes is missed, from its last sign of life on.
func TestRelayActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		c.kits[0].put(a, "1")
		tb := newTab(t, c.kits[0].site, "s", p, a)
		c.on(tb, 1)
		synctest.Wait()
		var inactive time.Time
		p.AfterInactive(time.Minute, func(err error) {
			if err != nil {
				t.Error(err)
			}
			inactive = time.Now()
		})
		time.Sleep(10 * time.Minute) // nothing is taken
		if synctest.Wait(); !p.Active() || !inactive.IsZero() {
			t.Fatal("a tab that reads slowly is taken for inactive")
		}
		c.want(tb, "a", "1")
		tb.cut()
		left := time.Now()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if d := inactive.Sub(left); d != time.Minute {
			t.Fatalf("inactive %v after the event stream's end", d)
		}
		c.hear(c.on(tb, 1))
		time.Sleep(time.Minute)
		if err := p.WaitActive(context.Background()); err != nil {
			t.Fatal(err)
		}
		died := time.Now()
		c.views[1].kill()
		if err := p.WaitTimeout(context.Background(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(died); d < time.Minute-hold || d > time.Minute {
			t.Fatalf("a relay that was killed was missed: inactive for a minute after %v", d)
		}
	})
}

// TestRelayBounds proves rules 7 and 13: what a slow tab does not take stays with the
// owner, and counts there.
func TestRelayBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a", Size: 10})
		other := c.kits[0].private(p, scope.Spec{Name: "other"})
		tb := newTab(t, c.kits[0].site, "s", p, a, other)
		c.hear(c.on(tb, 1))
		value := strings.Repeat("v", 70<<10) // one answer has one
		c.kits[0].put(a, value)
		synctest.Wait()
		for range 10 {
			c.kits[0].put(a, value)
		}
		time.Sleep(time.Minute)
		if err := a.Feed().Put(context.Background(), []byte("one too many")); !errors.Is(err, scope.ErrFull) {
			t.Fatal("the relay has taken what its tab did not:", err)
		}
		c.kits[0].put(other, "goes on")
		events := c.hear(tb)
		if n := len(of(events, "a")); n != 1 {
			t.Errorf("heard %d values, want the one that was sent", n)
		}
		if len(of(events, "comet:full")) != 1 || fmt.Sprint(of(events, "other")) != "[goes on]" {
			t.Error("heard", events)
		}
	})
}

// TestRelayContinuous proves rule 9 between nodes: a continuous source reads on when
// the bytes were written, and not before.
func TestRelayContinuous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		reads := 0
		h := c.kits[0].private(p, scope.Spec{Name: "n", Kind: scope.Pull, Continuous: true, Pull: func(ctx context.Context) ([]byte, error) {
			reads++
			return fmt.Append(nil, reads), nil
		}})
		tb := newTab(t, c.kits[0].site, "s", p, h)
		c.on(tb, 1)
		synctest.Wait()
		time.Sleep(time.Minute)
		if synctest.Wait(); reads != 1 {
			t.Fatalf("%d values were read ahead", reads)
		}
		want := 0
		for range 20 {
			synctest.Wait()
			tb.batch.Reset()
			if _, err := tb.stream.Collect(&tb.batch, 4096); err != nil {
				t.Fatal(err)
			}
			for _, v := range of(tb.take(tb.batch.Bytes()), "n") {
				if want++; v != fmt.Sprint(want) {
					t.Fatalf("heard %s, want %d", v, want)
				}
			}
			if synctest.Wait(); reads > want+1 {
				t.Fatalf("%d were read, %d heard", reads, want)
			}
		}
		if want < 5 {
			t.Fatalf("only %d values came", want)
		}
	})
}

// TestRelayBrief: a look from another node ends when everything was said.
func TestRelayBrief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		slow := c.kits[0].private(p, scope.Spec{Name: "slow", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
			time.Sleep(time.Second)
			return []byte("read"), nil
		}})
		c.kits[0].put(a, "1", "2")
		tb := newTab(t, c.kits[0].site, "s", p, a, slow)
		tb.query += "&wait=no"
		c.on(tb, 1)
		events := c.hear(tb)
		if tb.ended {
			t.Fatal("it ended before the value was read:", events)
		}
		time.Sleep(time.Second)
		events = append(events, c.hear(tb)...)
		if fmt.Sprint(of(events, "a"), of(events, "slow")) != "[1 2] [read]" || !tb.ended {
			t.Fatal(tb.ended, events)
		}
	})
}

// TestGoneBetweenNodes proves rule 8 there: another session's token, one that was never
// given and one of a node that never was are the same answer, byte for byte but for the
// token, on every node.
func TestGoneBetweenNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("victim")
		a := c.kits[0].private(p, scope.Spec{Name: "a"})
		c.kits[0].put(a, "secret")
		stolen := newTab(t, c.kits[0].site, "thief", p, a)
		answers := map[string]string{}
		for what, token := range map[string]string{
			"another session's": p.Token(),
			"never given":       p.Token()[:len(p.Token())-4] + "AAAA",
			"of no node":        "zzzzzzzzzz" + p.Token()[10:],
			"of no cluster":     p.Token()[10:],
		} {
			for node := range 2 {
				tb := stolen.duplicate()
				tb.query = strings.ReplaceAll(tb.query, p.Token(), token)
				begin := time.Now()
				events := c.hear(c.on(tb, node))
				if time.Since(begin) > 0 {
					t.Errorf("%s, node %d: it took %v", what, node, time.Since(begin))
				}
				answers[strings.ReplaceAll(untagged(events), token, "TOKEN")+fmt.Sprint(tb.ended)] += fmt.Sprint(what, node, "; ")
				_, err := tb.command("register", "a")
				answers[fmt.Sprint(err)] += "command; "
				if _, err := c.kits[node].site.Lookup(context.Background(), "thief", token); !errors.Is(err, scope.ErrNoProcess) {
					t.Errorf("%s, node %d: Lookup says %v", what, node, err)
				}
				if c.on(tb, node); !tb.dead {
					t.Errorf("%s, node %d: the reconnect is not over", what, node)
				}
			}
		}
		if len(answers) != 2 {
			t.Errorf("the answers differ: %q", answers)
		}
		if p.Active() || p.Err() != nil {
			t.Error("the thief was heard")
		}
	})
}

// TestLookup: what ClientProcess says of a process elsewhere.
func TestLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		if q, err := c.kits[0].site.Lookup(context.Background(), "s", p.Token()); q != p {
			t.Error(err)
		}
		if _, err := c.kits[1].site.Lookup(context.Background(), "s", p.Token()); !errors.Is(err, scope.ErrElsewhere) {
			t.Error(err)
		}
		c.views[0].kill()
		time.Sleep(lease)
		if _, err := c.kits[1].site.Lookup(context.Background(), "s", p.Token()); !errors.Is(err, scope.ErrNoProcess) {
			t.Error(err)
		}
	})
}

// TestSessionEndsEverywhere: a logout on one node ends the session's processes on all,
// and so does a session that is found gone where the processes are carried by relays
// alone.
func TestSessionEndsEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		var tabs []*tab
		for i := range 3 {
			p := c.kits[i].process("s")
			tabs = append(tabs, newTab(t, c.kits[i].site, "s", p, c.kits[i].private(p, scope.Spec{Name: "a"})))
			c.hear(c.on(tabs[i], (i+1)%3))
		}
		other := c.kits[2].process("another")
		c.kits[1].site.EndSession("s")
		for i, tb := range tabs {
			if got := of(c.hear(tb), "comet:gone"); len(got) != 1 {
				t.Errorf("tab %d heard %q", i, got)
			}
		}
		if other.Err() != nil {
			t.Error("another session ended")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		alive := true
		if err := c.kits[0].site.Bind(scope.Hooks{Alive: func(context.Context, string) bool { return alive }}); err != nil {
			t.Fatal(err)
		}
		p := c.kits[0].process("s")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "a"}))
		c.hear(c.on(tb, 1))
		time.Sleep(time.Minute)
		if c.hear(tb); tb.ended {
			t.Fatal("it ended by itself")
		}
		alive = false
		if d := c.goneAfter(tb, time.Minute); d > 15*time.Second {
			t.Errorf("a session that is gone was heard for %v", d)
		}
	})
}
