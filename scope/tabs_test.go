package scope_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

func wantTabs(t *testing.T, tabs scope.Tabs, all, active int) {
	t.Helper()
	if got, want := tabs.Count(), (scope.TabCount{Tabs: all, Active: active, Nodes: 1}); got != want {
		t.Fatalf("tabs %+v, want %+v", got, want)
	}
	if n := len(slices.Collect(tabs.All())); n != all {
		t.Fatalf("%d tabs are iterated over, want %d", n, all)
	}
}

// TestTabs: a session's tabs and a user's, as they come, go, change hands and end.
func TestTabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		p, q := k.process("s"), k.process("s")
		p.BelongsTo("alice")
		wantTabs(t, k.site.Session("s"), 2, 0)
		wantTabs(t, k.site.User("alice"), 1, 0)
		wantTabs(t, k.site.User(""), 0, 0)
		if s, u := slices.Collect(k.site.Sessions()), slices.Collect(k.site.Users()); !slices.Equal(s, []string{"s"}) || !slices.Equal(u, []string{"alice"}) {
			t.Fatal(s, u)
		}
		wantTabs(t, k.site.Session(""), 0, 0)

		one, two := newTab(t, k.site, "s", p).as("alice"), newTab(t, k.site, "s", q).as("alice")
		wantTabs(t, k.site.Session("s"), 2, 2)
		wantTabs(t, k.site.User("alice"), 2, 2)
		p.BelongsTo("mallory") // too late: its event stream has told
		wantTabs(t, k.site.User("mallory"), 0, 0)

		one.cut().as("bob") // the tab is nobody's alone
		wantTabs(t, k.site.User("alice"), 1, 1)
		wantTabs(t, k.site.User("bob"), 1, 1)
		two.cut()
		wantTabs(t, k.site.User("alice"), 1, 0)
		k.site.EndSession("s")
		for _, tabs := range []scope.Tabs{k.site.Session("s"), k.site.User("alice"), k.site.User("bob")} {
			wantTabs(t, tabs, 0, 0)
		}
	})
}

// TestUsersEndWithTheirProcesses: nothing is remembered of who came (rule 13).
func TestUsersEndWithTheirProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, scope.SiteConfig{MaxProcesses: 2})
		for range 10 { // evicted by the next but one
			p := k.process("s")
			newTab(t, k.site, "s", p).as("alice").cut()
		}
		wantTabs(t, k.site.User("alice"), 2, 0)
		time.Sleep(2 * time.Hour)
		wantTabs(t, k.site.User("alice"), 0, 0)
		if n := k.site.RememberedUsers(); n != 0 {
			t.Fatal(n, "users are remembered")
		}
	})
}

var personal = scope.Spec{Name: "notice", Personal: true, Type: "string"}

// reach says v to tabs, and compares what became of it.
func reach(t *testing.T, tabs scope.Tabs, v string, want scope.Reach, kind error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got, err := tabs.Reach(ctx, "notice", "string", []byte(v)); got != want || !errors.Is(err, kind) {
		t.Fatalf("%s: %+v, %v, want %+v, %v", v, got, err, want, kind)
	}
}

// TestReach: every tab of the user hears it, one that has not come yet too, and
// nobody else.
func TestReach(t *testing.T) {
	k := newKit(t)
	tab := func(session, user string, spec scope.Spec) *tab {
		p := k.process(session)
		p.BelongsTo(user)
		tb := newTab(t, k.site, session, p, k.private(p, spec))
		tb.reader.User = user
		return tb
	}
	one, two, bob := tab("s", "alice", personal), tab("z", "alice", personal), tab("s", "bob", personal)
	nobody := tab("n", "", personal)
	same := personal
	same.Personal = false
	plain := tab("s", "alice", same) // a channel of that name that is the app's own
	other := personal
	other.Type = "int"
	typed := tab("s", "alice", other)

	one.connect()
	reach(t, k.site.User("alice"), "hello", scope.Reach{Tabs: 2, Nodes: 1}, nil)
	reach(t, k.site.Session("s"), "session", scope.Reach{Tabs: 2, Nodes: 1}, nil)
	reach(t, k.site.User("carol"), "none", scope.Reach{Nodes: 1}, nil)
	reach(t, k.site.User(""), "nobody", scope.Reach{Nodes: 1}, nil)
	one.want("notice", "hello", "session")
	two.connect().want("notice", "hello")
	bob.connect().want("notice", "session")
	nobody.connect().want("notice")
	plain.connect().want("notice")
	typed.connect().want("notice")
}

// TestReachIsBounded: a tab that does not hear is full, and the others go on.
func TestReachIsBounded(t *testing.T) {
	k := newKit(t)
	small := personal
	small.Size = 1
	p, q := k.process("s"), k.process("s")
	away := newTab(t, k.site, "s", p, k.private(p, small))
	here := newTab(t, k.site, "s", q, k.private(q, personal)).connect()
	reach(t, k.site.Session("s"), "1", scope.Reach{Tabs: 2, Nodes: 1}, nil)
	reach(t, k.site.Session("s"), "2", scope.Reach{Tabs: 1, Full: 1, Nodes: 1}, nil)
	reach(t, k.site.Session("s"), "3", scope.Reach{Tabs: 1, Nodes: 1}, nil)
	here.want("notice", "1", "2", "3")
	away.connect().wantNotice("full", notice{Channel: "notice", Reason: "overflow", Final: true})
	if _, err := k.site.Session("s").Reach(t.Context(), "notice", "string", make([]byte, 2<<20)); !errors.Is(err, scope.ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := scope.Register(k.site, personal); !errors.Is(err, scope.ErrBadSpec) {
		t.Fatal("a personal channel of a site:", err)
	}
}

// TestAnotherUserIsGone: what waits for one user is not heard by the next in the
// same session, whose tab is as one that never was (rule 8).
func TestAnotherUserIsGone(t *testing.T) {
	for _, next := range []string{"bob", ""} {
		k := newKit(t)
		p := k.process("s")
		tb := newTab(t, k.site, "s", p, k.private(p, personal)).as("alice")
		tb.hear()
		tb.cut()
		reach(t, k.site.User("alice"), "secret", scope.Reach{Tabs: 1, Nodes: 1}, nil)
		events := tb.as(next).hear()
		if len(of(events, "notice")) > 0 || len(of(events, "comet:gone")) != 1 {
			t.Fatalf("as %q heard %v", next, events)
		}
		if !errors.Is(p.Err(), scope.ErrProcessGone) {
			t.Fatal("the process has not ended:", p.Err())
		}
		reach(t, k.site.User("alice"), "later", scope.Reach{Nodes: 1}, nil)
	}
}

// TestAttachedByAnotherUser: nor by an event stream of the session's that attaches
// it by command.
func TestAttachedByAnotherUser(t *testing.T) {
	k := newKit(t)
	p, q := k.process("s"), k.process("s")
	p.BelongsTo("alice")
	k.private(p, personal)
	if _, err := k.site.Link(t.Context(), p, 6); err != nil { // the page hears it
		t.Fatal(err)
	}
	reach(t, k.site.User("alice"), "secret", scope.Reach{Tabs: 1, Nodes: 1}, nil)
	tb := newTab(t, k.site, "s", q).as("alice")
	tb.hear()
	tb.reader.User = "bob"
	_, _ = tb.command("attach", p.Token())
	if events := tb.hear(); len(of(events, "notice@1")) > 0 || len(of(events, "comet:gone")) != 1 {
		t.Fatal(events)
	}
}

// TestReachOfAllNodes: tabs of other nodes hear it, those too that are heard
// through a third; a node that does not answer is named; the tabs of a dead one are
// nobody's.
func TestReachOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		var tabs []*tab
		for _, k := range c.kits[:2] {
			p := k.process("s")
			p.BelongsTo("alice")
			tb := newTab(t, k.site, "s", p, k.private(p, personal))
			tb.reader.User = "alice"
			tabs = append(tabs, tb)
		}
		tabs[0].connect()
		c.on(tabs[1], 2) // a relay
		from := c.kits[2].site
		reach(t, from.User("alice"), "all", scope.Reach{Tabs: 2, Nodes: 3}, nil)
		c.want(tabs[0], "notice", "all")
		c.want(tabs[1], "notice", "all")
		if n, err := from.Session("s").CountAll(t.Context()); err != nil || n != (scope.TabCount{Tabs: 2, Active: 2, Nodes: 3}) {
			t.Fatal(n, err)
		}
		wantTabs(t, from.User("alice"), 0, 0)

		c.views[0].set(func(v *view) { v.stall = make(chan struct{}) })
		reach(t, from.User("alice"), "slow", scope.Reach{Tabs: 1, Nodes: 2, Silent: 1}, scope.ErrSilent)
		c.views[0].set(func(v *view) { close(v.stall); v.stall = nil })
		synctest.Wait()
		c.hear(tabs[0])

		c.views[0].kill()
		reach(t, from.User("alice"), "dying", scope.Reach{Tabs: 1, Nodes: 2, Silent: 1}, scope.ErrSilent)
		time.Sleep(lease + time.Second)
		reach(t, from.User("alice"), "dead", scope.Reach{Tabs: 1, Nodes: 2}, nil)
		c.want(tabs[1], "notice", "slow", "dying", "dead")
	})
}

// TestAnotherUserOnAnotherNode: nobody hears another's through a relay, nor from
// the node to which a tab was handed over.
func TestAnotherUserOnAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		mine := func() *tab {
			k := c.kits[0]
			p := k.process("s")
			p.BelongsTo("alice")
			tb := newTab(t, k.site, "s", p, k.private(p, personal)).as("alice")
			c.hear(tb)
			tb.cut()
			reach(t, k.site.User("alice"), "secret", scope.Reach{Tabs: 1, Nodes: 2}, nil)
			return tb
		}
		gone := func(tb *tab) {
			t.Helper()
			tb.reader.User = "bob"
			if events := c.hear(c.on(tb, 1)); len(of(events, "notice")) > 0 || len(of(events, "comet:gone")) != 1 {
				t.Fatal(events)
			}
		}
		gone(mine())

		handed := mine()
		if err := c.kits[0].site.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantTabs(t, c.kits[1].site.User("alice"), 0, 0) // its app is not here
		wantTabs(t, c.kits[1].site.Session("s"), 0, 0)
		gone(handed)
	})
}

// TestHandedOverToItsUser: who is still the same hears what waited.
func TestHandedOverToItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		p := c.kits[0].process("s")
		p.BelongsTo("alice")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, personal)).as("alice")
		c.hear(tb)
		tb.cut()
		reach(t, c.kits[1].site.User("alice"), "kept", scope.Reach{Tabs: 1, Nodes: 2}, nil)
		if err := c.kits[0].site.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.want(c.on(tb, 1), "notice", "kept")
	})
}

// TestAttachedAcrossNodes: a command says who asks wherever it lands, and wherever
// the event stream and the process are.
func TestAttachedAcrossNodes(t *testing.T) {
	for where, nodes := range map[string]struct{ stream, lands int }{
		"the process is elsewhere": {1, 1}, "the event stream is elsewhere": {0, 1}, "both are": {1, 0},
	} {
		for _, who := range []string{"alice", "bob"} {
			t.Run(where+" for "+who, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newNodes(t, 2)
					k := c.kits[0]
					p, q := k.process("s"), k.process("s")
					p.BelongsTo("alice")
					k.private(p, personal)
					if _, err := k.site.Link(t.Context(), p, 6); err != nil { // the page hears it
						t.Fatal(err)
					}
					reach(t, k.site.User("alice"), "secret", scope.Reach{Tabs: 1, Nodes: 2}, nil)
					tb := newTab(t, k.site, "s", q)
					c.hear(c.on(tb, nodes.stream)) // as nobody
					tb.reader.User = who
					tb.site = c.kits[nodes.lands].site
					_, err := tb.command("attach", p.Token())
					events := c.hear(tb)
					heard := len(of(events, "notice@1")) > 0
					if heard != (who == "alice") || who == "alice" && err != nil {
						t.Fatal(err, events)
					}
				})
			})
		}
	}
}

// TestHandedOverWhileRelayed: an event stream that goes on across a handover goes
// on as who it came.
func TestHandedOverWhileRelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		p := c.kits[0].process("s")
		p.BelongsTo("alice")
		tb := newTab(t, c.kits[0].site, "s", p, c.kits[0].private(p, personal))
		tb.reader.User = "alice"
		c.hear(c.on(tb, 2))
		if err := c.kits[0].site.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lease)
		events := c.hear(tb)
		if len(of(events, "comet:closed")) != 1 || len(of(events, "comet:gone")) != 1 {
			t.Fatal(events)
		}
	})
}
