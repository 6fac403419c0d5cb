package scope_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// ask sends a command of the tab's page to another node than its event stream's.
func (c *nodes) ask(tb *tab, node int, pairs ...string) (scope.Reply, error) {
	elsewhere := *tb
	elsewhere.site = c.kits[node].site
	return elsewhere.command(pairs...)
}

// TestCommandsFromAnywhere: the owner, the event stream and the command are on three
// nodes, in every order: each command does what it does on one.
func TestCommandsFromAnywhere(t *testing.T) {
	for owner := range 3 {
		for stream := range 3 {
			for lands := range 3 {
				t.Run(fmt.Sprint(owner, stream, lands), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { commandEverything(newNodes(t, 3), owner, stream, lands) })
				})
			}
		}
	}
}

func commandEverything(c *nodes, owner, stream, lands int) {
	t := c.t
	home := c.kits[owner]
	p := home.process("s")
	reads := 0
	a := home.private(p, scope.Spec{Name: "a"})
	unread := home.private(p, scope.Spec{Name: "unread", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
		reads++
		return fmt.Append(nil, reads), nil
	}})
	var chats []*scope.Handle
	for _, k := range c.kits {
		chats = append(chats, k.channel(scope.Spec{Name: "chat"}))
	}
	var sent []string
	inbox := scope.InboxSpec{Name: "box", Take: func(_ context.Context, s scope.Sent) (int, error) {
		if s.Process != p || s.Reader.User != "u" {
			t.Errorf("sent by %v, of %v", s.Process, s.Reader)
		}
		for i, v := range s.Values {
			if string(v) == "bad" {
				return i, &scope.CommandError{Code: "invalid", Message: "bad", Value: i + 1, Taken: i}
			}
			sent = append(sent, string(v))
		}
		return len(s.Values), nil
	}}
	if _, err := scope.Receive(p, inbox); err != nil {
		t.Fatal(err)
	}
	tb := newTab(t, home.site, "s", p, a, unread)
	tb.query += "&pull=ask"
	tb.reader.User = "u"
	command := func(want string, pairs ...string) scope.Reply {
		t.Helper()
		r, err := c.ask(tb, lands, pairs...)
		if got := r.State; err != nil || got != want {
			t.Fatalf("%v: %+v, %v; want %s", pairs, r, err, want)
		}
		return r
	}
	refused := func(code string, pairs ...string) *scope.CommandError {
		t.Helper()
		_, err := c.ask(tb, lands, pairs...)
		wantRefused(t, err, code)
		var e *scope.CommandError
		errors.As(err, &e)
		return e
	}
	refused("conflict", "attach", p.Token())
	refused("conflict", "register", "chat")
	c.hear(c.on(tb, stream))

	command("reading", "pull", "unread", "n", "1")
	c.want(tb, "unread", "1")
	command("sent", "pull", "unread", "n", "1")
	if e := refused("conflict", "pull", "unread", "n", "7"); e.Expected != 2 {
		t.Error(e)
	}
	refused("bad", "pull", "a")

	command("taken", "send", "box", "n", "1", "value", "x", "value", "y")
	command("seen", "send", "box", "n", "1", "value", "x", "value", "y")
	if e := refused("invalid", "send", "box", "n", "2", "value", "z", "value", "bad"); e.Value != 2 || e.Taken != 1 {
		t.Errorf("%+v", e)
	}
	if fmt.Sprint(sent) != "[x y z]" {
		t.Error(sent)
	}
	refused("gone", "send", "nothing", "value", "x")

	home.put(chats[owner], "before")
	if r := command("heard", "register", "chat@-1"); r.Position.IsZero() {
		t.Error(r)
	}
	home.put(chats[owner], "after")
	c.want(tb, "chat", "before", "after")
	command("closed", "close", "chat")
	if got := of(c.hear(tb), "comet:closed"); len(got) != 1 {
		t.Error(got)
	}
	command("wanted", "register", "soon")
	soon := home.private(p, scope.Spec{Name: "soon"})
	home.put(soon, "1")
	c.want(tb, "soon", "1")
	command("closed", "close", "soon")
	if synctest.Wait(); soon.Err() == nil {
		t.Error("a channel that the page closed lives")
	}
	refused("gone", "close", "soon-not")

	q := c.kits[(owner+1)%3].process("s") // another tab's, of another node
	b := c.kits[(owner+1)%3].private(q, scope.Spec{Name: "b"})
	newTab(t, c.kits[(owner+1)%3].site, "s", q, b)
	r := command("attached", "attach", q.Token())
	c.kits[(owner+1)%3].put(b, "1", "2")
	c.want(tb, fmt.Sprintf("b@%d", r.K), "1", "2")
	command("attached", "attach", q.Token()+".0")
	c.want(tb, fmt.Sprintf("b@%d", r.K), "1", "2")
	command("wanted", "register", "more", "comet", q.Token())
	c.kits[(owner+1)%3].put(c.kits[(owner+1)%3].private(q, scope.Spec{Name: "more"}), "m")
	c.want(tb, fmt.Sprintf("more@%d", r.K), "m")
	command("detached", "detach", q.Token())
	if synctest.Wait(); q.Active() {
		t.Error("a process that was detached is active")
	}
	refused("conflict", "detach", q.Token())
	refused("gone", "attach", c.kits[0].process("another").Token())
	refused("gone", "register", "x", "comet", c.kits[0].process("another").Token())
	if c.hear(tb); tb.ended || !p.Active() {
		t.Error("the tab is not there any more")
	}
}

// TestPullOnceAcrossHops proves rule 9 between nodes: numbered pulls, repeated from any
// node whatever becomes of their answers, read one value each.
func TestPullOnceAcrossHops(t *testing.T) {
	for _, seed := range seeds(t, 60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			c := newNodes(t, 3)
			p := c.kits[0].process("s")
			reads := 0
			h := c.kits[0].private(p, scope.Spec{Name: "n", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
				reads++
				return fmt.Append(nil, reads), nil
			}})
			tb := newTab(t, c.kits[0].site, "s", p, h)
			tb.query += "&pull=ask"
			c.hear(c.on(tb, 1))
			for i, v := range c.views {
				v.set(func(v *view) { v.faults = locked(unreliable(rand.New(rand.NewPCG(seed, uint64(i))))) })
			}
			var got []string
			for n := 1; n <= 20; {
				if r.IntN(3) == 0 {
					tb.bytes() // lost
					c.on(tb, r.IntN(3))
				}
				reply, err := c.ask(tb, r.IntN(3), "pull", "n", "n", fmt.Sprint(n))
				switch {
				case isAway(err):
					continue
				case err != nil:
					t.Fatalf("COMET_SEED=%d: pull %d: %v", seed, n, err)
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				got = append(got, of(c.hear(tb), "n")...)
				if tb.ended {
					c.on(tb, r.IntN(3))
				}
				if reply.State == "seen" || len(got) == n {
					n++
				}
			}
			if reads != 20 || fmt.Sprint(got) != fmt.Sprint(numbers(1, 20)) {
				t.Fatalf("COMET_SEED=%d: %d values were read, %v heard", seed, reads, got)
			}
		})
	}
}

// TestCommandToTheDead: a command about a process of a dead node is refused as gone, as
// soon as that is known, and before that as away.
func TestCommandToTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, scope.Spec{Name: "a"}))
		c.views[0].kill()
		if _, err := c.ask(tb, 1, "register", "a"); !isAway(err) {
			t.Error(err)
		}
		time.Sleep(lease)
		_, err := c.ask(tb, 1, "register", "a")
		wantGone(t, err, p.Token())
	})
}
