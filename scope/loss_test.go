package scope_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ocsigo/comet/scope"
)

// TestFullForADuplicateReachesTheFirst proves rules 1 and 7: a duplicated tab, to
// which a channel's past is lost, ends it; the first tab, which had missed nothing,
// hears so too.
func TestFullForADuplicateReachesTheFirst(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	q := k.private(p, scope.Spec{Name: "q", Size: 2})
	first := newTab(t, k.site, "s", p, q).connect()
	for i := range 5 {
		k.put(q, fmt.Sprint(i))
		first.want("q", fmt.Sprint(i))
	}
	first.cut()
	k.put(q, "dropped")
	full := notice{Channel: "q", Reason: "trimmed", Final: true}
	duplicate := first.duplicate().connect()
	duplicate.wantNotice("full", full)
	duplicate.cut()
	first.connect().wantNotice("full", full)
}

// TestAcknowledgedByOther proves rules 1 and 11: what one generation acknowledged,
// and the process therefore dropped, an older one that returns is told to have
// missed.
func TestAcknowledgedByOther(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	q := k.private(p, scope.Spec{Name: "q"})
	first := newTab(t, k.site, "s", p, q).connect()
	k.put(q, "1")
	first.want("q", "1")
	first.cut()
	k.put(q, "2")
	q.Close()
	duplicate := first.duplicate().connect()
	duplicate.want("q", "1", "2")
	duplicate.cut().connect().hear() // acknowledges the end
	duplicate.cut()
	events := first.connect().wantNotice("full", notice{Channel: "q", Reason: "trimmed", Final: true})
	if len(of(events, "q"))+len(of(events, "comet:closed")) > 0 {
		t.Fatal("what is not kept was heard:", events)
	}
}

// TestOpenAgain proves rules 2 and 7: a later Open of a tab begins at what the tab
// is known to have received, not at what was sent to it.
func TestOpenAgain(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	q := k.private(p, scope.Spec{Name: "q"})
	tb := newTab(t, k.site, "s", p, q).connect()
	k.put(q, "1")
	tb.want("q", "1")
	tb.cut().connect().hear() // acknowledges 1
	k.put(q, "2", "3")
	tb.bytes() // written, and lost with the connection
	tb.cut()
	newTab(t, k.site, "s", p, q).connect().want("q", "2", "3")
}

// TestEndPushesNothingOut proves rules 1 and 7 at the smallest size: the last value
// comes again, the end that was sent after it notwithstanding.
func TestEndPushesNothingOut(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	q := k.private(p, scope.Spec{Name: "q", Size: 1})
	tb := newTab(t, k.site, "s", p, q).connect()
	k.put(q, "last words")
	q.Close()
	tb.bytes() // written, and lost with the connection
	tb.cut().connect()
	events := tb.wantNotice("closed", notice{Channel: "q", Reason: "closed", Final: true})
	if got := of(events, "q"); fmt.Sprint(got) != "[last words]" {
		t.Fatal(events)
	}
}

// TestEndBeforeSuccessor proves rules 1 and 15: a private channel's end is told before
// the next channel of its name is named, and that before its values.
func TestEndBeforeSuccessor(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	old := k.private(p, scope.Spec{Name: "q"})
	tb := newTab(t, k.site, "s", p, old).connect()
	tb.hear()
	tb.cut()
	old.Close()
	young := k.private(p, scope.Spec{Name: "q"})
	newTab(t, k.site, "s", p, young) // has it heard
	k.put(young, "1")
	events := tb.connect().hear()
	if got := names(events); got != "comet:hello comet:closed comet:hello q" {
		t.Fatal("heard", got)
	}
}

// again has old say "1" and end, and another channel of its name, q, and the event name y
// say "2", which the tab registered.
func (k kit) again(tb *tab, p *scope.ClientProcess, old *scope.Handle) (young *scope.Handle) {
	k.t.Helper()
	k.put(old, "1")
	old.Close()
	young = k.private(p, scope.Spec{Name: "q", Event: "y"})
	if _, err := tb.command("register", "q"); err != nil {
		k.t.Fatal(err)
	}
	k.put(young, "2")
	return young
}

// TestRegisteredBeforeTheEndIsHeard: the same for a channel that was registered while
// the end of the one before it was not sent yet, or was lost, and under another event
// name.
func TestRegisteredBeforeTheEndIsHeard(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	old := k.private(p, scope.Spec{Name: "q", Event: "x"})
	tb := newTab(t, k.site, "s", p, old).connect()
	tb.hear()
	k.again(tb, p, old)
	again := tb.duplicate()
	again.lastID, again.dead = tb.lastID, false
	if got := names(tb.hear()); got != "x comet:closed comet:hello y" {
		t.Error("heard", got)
	}
	tb.cut()
	if events := again.connect().hear(); names(events) != "comet:hello x comet:closed comet:hello y" ||
		!strings.Contains(events[0].data, `{"channel":"q","event":"x"}`) || !strings.Contains(events[3].data, `{"channel":"q","event":"y"}`) {
		t.Error("heard after the loss", events)
	}
}

// TestBothEndsLost proves rule 15: of two channels of one name whose ends were sent and
// lost, each is named before what comes again of it, by the next node, too.
func TestBothEndsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		k := c.kits[0]
		p := k.process("s")
		old := k.private(p, scope.Spec{Name: "q", Event: "x"})
		tb := c.on(newTab(t, k.site, "s", p, old), 0)
		c.hear(tb)
		from := tb.lastID
		k.again(tb, p, old).Close()
		tb.bytes() // written, and lost with the connection
		for node := range c.kits {
			tb.lastID = from
			events := c.hear(c.on(tb, node))
			if got := names(events); !strings.HasPrefix(got, "comet:hello x comet:closed comet:hello y comet:closed") ||
				!strings.Contains(events[3].data, `{"channel":"q","event":"y"}`) {
				t.Errorf("heard from node %d: %v", node, events)
			}
			tb.cut()
			if node == 0 {
				c.drain(0)
				synctest.Wait()
			}
		}
	})
}

// TestEndedTakesNoName proves rule 3: what comes again of channels that have ended closes
// no site channel of their name on the same event stream.
func TestEndedTakesNoName(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	old := k.private(p, scope.Spec{Name: "q", Event: "x"})
	tb := newTab(t, k.site, "s", p, old).connect()
	tb.hear()
	k.again(tb, p, old).Close()
	tb.bytes() // written, and lost with the connection
	tb.cut()
	site := k.channel(scope.Spec{Name: "q"})
	other := newTab(t, k.site, "s", p, site).connect()
	for _, value := range []string{"1", "2"} {
		k.put(site, value)
		other.want("q", value)
	}
}

// TestLongLivedEnd proves rule 8: what a process remembers are the newest ends, whichever
// channel is the oldest: a tab that lost one of them is not gone.
func TestLongLivedEnd(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	first := k.private(p, scope.Spec{Name: "first"})
	tb := newTab(t, k.site, "s", p, first).connect()
	for i := range 100 {
		name := fmt.Sprint("c", i)
		h := k.private(p, scope.Spec{Name: name})
		if _, err := tb.command("register", name); err != nil {
			t.Fatal(err)
		}
		h.Close()
		tb.hear()
	}
	tb.cut().connect().hear() // acknowledges all
	k.put(first, "last words")
	first.Close()
	tb.bytes() // written, and lost with the connection
	if got := names(tb.cut().connect().hear()); got != "comet:hello first comet:closed" {
		t.Error("heard after the loss:", got)
	}
}

// TestPutIntoWhatIsLost proves that whoever puts into a channel that is full is told so,
// also while others that are full by the same loss are stopped.
func TestPutIntoWhatIsLost(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	var later *scope.Feed
	var put error
	first := k.private(p, scope.Spec{Name: "first", Stop: func(error) { put = later.Put(context.Background(), nil) }})
	second := k.private(p, scope.Spec{Name: "later"})
	later = second.Feed()
	tb := newTab(t, k.site, "s", p, first, second).connect()
	tb.hear()
	tb.cut()
	tb.lastID = tag(t, tb.query) + "-1.zz" // of the future
	tb.connect()
	if !errors.Is(put, scope.ErrFull) {
		t.Error("Put:", put)
	}
}

// TestUnheardInBetween proves rule 15 of a channel whose predecessor nobody ever heard of
// and nobody remembers: the end of the one before that is told first all the same.
func TestUnheardInBetween(t *testing.T) {
	for _, crowded := range []bool{false, true} {
		k := newKit(t, scope.SiteConfig{MaxChannels: 4})
		p := k.process("s")
		first := k.private(p, scope.Spec{Name: "q", Event: "x"})
		tb := newTab(t, k.site, "s", p, first).connect()
		tb.hear()
		first.Close()
		k.private(p, scope.Spec{Name: "q"}).Close()
		if crowded { // what ended unheard makes room
			k.private(p, scope.Spec{Name: "other"})
			k.private(p, scope.Spec{Name: "another"})
		}
		young := k.private(p, scope.Spec{Name: "q", Event: "y"})
		if _, err := tb.command("register", "q"); err != nil {
			t.Fatal(err)
		}
		k.put(young, "1")
		if got := names(tb.hear()); got != "comet:closed comet:hello y" {
			t.Errorf("crowded: %v: heard %s", crowded, got)
		}
	}
}

// TestRegisteredAfterALostEnd proves rule 15: a channel that was registered when the end
// of its predecessor was sent and lost is named after it, when that comes again.
func TestRegisteredAfterALostEnd(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	old := k.private(p, scope.Spec{Name: "q", Event: "x"})
	tb := newTab(t, k.site, "s", p, old).connect()
	tb.hear()
	k.put(old, "1")
	old.Close()
	tb.bytes() // written, and lost with the connection
	young := k.private(p, scope.Spec{Name: "q", Event: "y"})
	if _, err := tb.command("register", "q"); err != nil {
		t.Fatal(err)
	}
	k.put(young, "2")
	if got := names(tb.cut().connect().hear()); got != "comet:hello x comet:closed comet:hello y" {
		t.Error("heard after the loss:", got)
	}
}

// TestLastWordsAreNamed proves rule 15: a channel whose end was sent and lost is named
// again, before what comes again of it.
func TestLastWordsAreNamed(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	a := k.private(p, scope.Spec{Name: "a", Event: "x"})
	tb := newTab(t, k.site, "s", p, a, k.private(p, scope.Spec{Name: "b"}))
	tb.connect().hear()
	k.put(a, "1")
	a.Close()
	tb.bytes() // written, and lost with the connection
	events := tb.cut().connect().hear()
	if names(events) != "comet:hello x comet:closed" || !strings.Contains(events[0].data, `{"channel":"a","event":"x"}`) {
		t.Error("heard", events)
	}
	if hello := tb.cut().connect().hear()[0]; strings.Contains(hello.data, `"channel":"a"`) {
		t.Error("what ended, and was heard to, is named:", hello)
	}
}

// names are what events are called.
func names(events []heard) string {
	var all []string
	for _, e := range events {
		all = append(all, e.name)
	}
	return strings.Join(all, " ")
}

// TestRebornIsReset proves rules 6 and 14: a name reborn is full, reason reset, for
// either kind of channel, by a cursor and by register with a position.
func TestRebornIsReset(t *testing.T) {
	for _, kind := range []scope.Kind{scope.Queue, scope.Newest} {
		k := newKit(t)
		old := k.channel(scope.Spec{Name: "c", Kind: kind})
		k.put(old, "1", "2", "3")
		_, at, err := old.Recent(context.Background(), 1)
		if err != nil {
			t.Fatal(err)
		}
		byCursor := newTab(t, k.site, "", nil, old.After(at)).connect()
		k.put(old, "4")
		byCursor.want("c", "4")
		byCursor.cut()
		old.Close()
		k.put(k.channel(scope.Spec{Name: "c", Kind: kind}), "new")
		byRegister := newTab(t, k.site, "s", k.process("s")).connect()
		byRegister.hear()
		if _, err := byRegister.command("register", "c@"+at.String()); err != nil {
			t.Fatal(err)
		}
		for _, tb := range []*tab{byCursor.connect(), byRegister} {
			events := tb.wantNotice("full", notice{Channel: "c", Reason: "reset", Resume: "*"})
			if got := of(events, "c"); fmt.Sprint(got) != "[new]" {
				t.Fatalf("kind %v: after the reset came %q", kind, got)
			}
		}
	}
}

// TestCursorOfAnotherAddress proves rules 1 and 4: the indices of a cursor mean
// nothing to another address, so nothing is skipped by them.
func TestCursorOfAnotherAddress(t *testing.T) {
	k := newKit(t)
	a, b := k.channel(scope.Spec{Name: "a"}), k.channel(scope.Spec{Name: "b"})
	tb := newTab(t, k.site, "", nil, a).connect()
	k.put(a, numbers(1, 5)...)
	k.put(b, numbers(1, 9)...)
	tb.want("a", numbers(1, 5)...)
	for _, how := range []string{"after", "header"} {
		other := newTab(t, k.site, "", nil, b.History(9))
		if how == "after" {
			other.query += "&after=" + url.QueryEscape(tb.lastID)
		} else {
			other.lastID = tb.lastID
		}
		events := other.connect().wantNotice("full", notice{Channel: "b", Reason: "cursor", Resume: "*"})
		if got := of(events, "b"); fmt.Sprint(got) != fmt.Sprint(numbers(1, 9)) {
			t.Fatalf("by %s: after the full came %q", how, got)
		}
	}
}
