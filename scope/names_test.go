package scope_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// TestRefusedIsAsUnknown proves rule 14 for register: nothing in the answer, nor on
// the event stream, tells a name that Allow refuses from one that there is not.
func TestRefusedIsAsUnknown(t *testing.T) {
	k := newKit(t)
	k.bind(scope.Hooks{Allow: func(context.Context, scope.Reader, string) error { return errors.New("no") }})
	secret := k.channel(scope.Spec{Name: "secret"})
	tb := newTab(t, k.site, "s", k.process("s")).connect()
	tb.hear()
	for _, name := range []string{"secret", "unknown"} {
		if r := tb.do("register", name); r != (scope.Reply{State: "wanted"}) {
			t.Fatal(name, r)
		}
		k.put(secret, "x")
		if events := tb.hear(); len(events) > 0 {
			t.Fatal(name, events)
		}
	}
}

// TestPrivateAndSiteOfOneName proves rule 3: a private channel that was made
// between Open and connect is not heard beside a site channel of its name.
func TestPrivateAndSiteOfOneName(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	chat := k.channel(scope.Spec{Name: "x"})
	tb := newTab(t, k.site, "s", p, chat)
	mine := k.private(p, scope.Spec{Name: "x"})
	tb.connect()
	_, err := tb.command("register", "x")
	wantRefused(t, err, "conflict")
	k.put(chat, "site")
	k.put(mine, "private")
	tb.want("x", "site")
}

// TestNamesClashAtOnce proves rule 3: of a private channel that is made while its
// tab connects, and a site channel of its name, the tab never hears both.
func TestNamesClashAtOnce(t *testing.T) {
	k := newKit(t)
	for round := range 1000 {
		p := k.process(fmt.Sprint(round))
		chat, err := scope.Register(k.site, scope.Spec{Name: fmt.Sprint("x", round)})
		if err != nil {
			t.Fatal(err)
		}
		tb := newTab(t, k.site, p.Session(), p, chat)
		var work sync.WaitGroup
		var mine *scope.Handle
		work.Go(func() {
			for range round % 50 {
				runtime.Gosched()
			}
			mine, _ = scope.Register(p, scope.Spec{Name: chat.Name()})
		})
		tb.connect()
		work.Wait()
		tb.hear()
		if mine != nil {
			_, _ = tb.command("register", chat.Name()) // refused, or the site channel has gone
			k.put(mine, "private")
			k.put(chat, "site")
			if got := of(tb.hear(), chat.Name()); len(got) > 1 {
				t.Fatalf("round %d: under one name came %q", round, got)
			}
		}
		tb.cut()
		p.Close()
		chat.Close()
	}
}

// TestCloseMeansWhatIsHeard proves rule 3: of a site channel and a private one that
// nobody hears yet, close takes the one that is heard.
func TestCloseMeansWhatIsHeard(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	site := k.channel(scope.Spec{Name: "x"})
	tb := newTab(t, k.site, "s", p, site)
	private := k.private(p, scope.Spec{Name: "x"})
	tb.connect().hear()
	if _, err := tb.command("close", "x"); err != nil {
		t.Fatal(err)
	}
	tb.wantNotice("closed", notice{Channel: "x", Reason: "closed", Final: true})
	if private.Err() != nil {
		t.Fatal("the private channel was closed:", private.Err())
	}
	if _, err := tb.command("close", "x"); err != nil || private.Err() == nil {
		t.Fatal("and now it should be:", err, private.Err())
	}
}

// TestRefusedKeepsItsPlace: who comes back while Allow refuses a channel, and is cut before comet:closed, goes on where
// it was when Allow permits it again (rules 1 and 2).
func TestRefusedKeepsItsPlace(t *testing.T) {
	k := newKit(t)
	refused := false
	k.bind(scope.Hooks{Allow: func(context.Context, scope.Reader, string) error {
		if refused {
			return errors.New("no")
		}
		return nil
	}})
	h := k.channel(scope.Spec{Name: "news"})
	tb := newTab(t, k.site, "s", nil, h).connect()
	k.put(h, "1", "2")
	tb.want("news", "1", "2")
	refused = true
	wire := tb.cut().connect().bytes()
	before, _, found := bytes.Cut(wire, []byte("event: comet:closed"))
	if !found {
		t.Fatalf("heard %s", wire)
	}
	tb.take(before) // the last event is not whole
	refused = false
	tb.cut().connect()
	k.put(h, "3")
	tb.want("news", "3")
}

// TestUnknownIsSaidAfterACut: who asks for a channel that there is not, and is cut before comet:closed, hears it all
// the same when it comes back (rule 1).
func TestUnknownIsSaidAfterACut(t *testing.T) {
	k := newKit(t)
	h := k.channel(scope.Spec{Name: "news"})
	tb := newTab(t, k.site, "s", nil, h)
	h.Close()
	before, _, found := bytes.Cut(tb.connect().bytes(), []byte("event: comet:closed"))
	if !found {
		t.Fatal("comet:closed was not said")
	}
	tb.take(before) // the last event is not whole
	events := tb.cut().connect().hear()
	if len(of(events, "comet:closed")) != 1 {
		t.Fatalf("after the cut heard %v", events)
	}
	if tb.cut().connect(); !tb.dead {
		t.Fatal("what was said is said again")
	}
}
