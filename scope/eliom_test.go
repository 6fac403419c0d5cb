package scope_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// TestFairWithinAProcess proves eliom.md 4b (starvation) and 2.1.4 where Eliom
// has it: a busy channel of a process does not delay another of the same one.
func TestFairWithinAProcess(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	flood, trickle := k.private(p, scope.Spec{Name: "flood"}), k.private(p, scope.Spec{Name: "trickle"})
	tb := newTab(t, k.site, "s", p, flood, trickle)
	k.put(flood, numbers(1, 1000)...)
	k.put(trickle, "x", "y")
	var at []int
	for i, e := range tb.connect().hear() {
		if e.name == "trickle" {
			at = append(at, i)
		}
	}
	if len(at) != 2 || at[1] > 5 {
		t.Fatalf("the two values of the trickle are events %v", at)
	}
}

// TestOrderOverBatches proves eliom.md 4a (29b48fcff) and 2.1.4: each channel's
// order holds over batches of any size.
func TestOrderOverBatches(t *testing.T) {
	for _, n := range []int{1, 99, 100, 101, 250} {
		for _, budget := range []int{1, 100, 1000, 1 << 20} {
			k := newKit(t)
			p := k.process("s")
			site, private := k.channel(scope.Spec{Name: "site"}), k.private(p, scope.Spec{Name: "private"})
			tb := newTab(t, k.site, "s", p, site, private)
			k.put(site, numbers(1, n)...)
			k.put(private, numbers(1, n)...)
			tb.connect()
			var events []heard
			for more, batches := true, 0; more; batches++ {
				var err error
				tb.batch.Reset()
				if more, err = tb.stream.Collect(&tb.batch, budget); err != nil || batches > 3*n+10 {
					t.Fatal("Collect goes on and on:", err)
				}
				events = append(events, tb.take(tb.batch.Bytes())...)
			}
			for _, name := range []string{"site", "private"} {
				if got := of(events, name); fmt.Sprint(got) != fmt.Sprint(numbers(1, n)) {
					t.Fatalf("%d values, budget %d: %s was heard as %v", n, budget, name, got)
				}
			}
			tb.cut()
		}
	}
}

// woken reports whether the event stream asked to be collected.
func (tb *tab) woken() bool {
	select {
	case <-tb.wakes:
		return true
	default:
		return false
	}
}

// TestWakesOnAny proves eliom.md 2.2.4: one event stream waits for all its
// channels, and news of any of them wakes it.
func TestWakesOnAny(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	channels := []*scope.Handle{
		k.channel(scope.Spec{Name: "a"}), k.channel(scope.Spec{Name: "b", Kind: scope.Newest}),
		k.private(p, scope.Spec{Name: "c"}), k.private(p, scope.Spec{Name: "d"}),
	}
	tb := newTab(t, k.site, "s", p, channels[0], channels[1], channels[2], channels[3]).connect()
	for _, h := range channels {
		tb.hear()
		if tb.woken(); tb.woken() {
			t.Fatal("woken for nothing")
		}
		k.put(h, "news")
		if !tb.woken() {
			t.Fatalf("%s did not wake its event stream", h.Name())
		}
		tb.want(h.Name(), "news")
	}
}

// TestUnregisteredIsSilent proves eliom.md 4b (signal_update on an unregistered
// channel): what nobody hears wakes and writes nothing, and is kept.
func TestUnregisteredIsSilent(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	tb := newTab(t, k.site, "s", p).connect()
	unheard, elsewhere := k.private(p, scope.Spec{Name: "unheard"}), k.channel(scope.Spec{Name: "elsewhere"})
	tb.hear()
	tb.woken()
	k.put(unheard, numbers(1, 500)...)
	k.put(elsewhere, numbers(1, 500)...)
	if tb.woken() {
		t.Fatal("woken by channels that it does not hear")
	}
	if wrote := tb.bytes(); len(wrote) > 0 {
		t.Fatalf("wrote %q", wrote)
	}
	if _, err := tb.command("register", "unheard"); err != nil {
		t.Fatal(err)
	}
	if !tb.woken() {
		t.Fatal("not woken by a channel with values that it hears now (launch_channel)")
	}
	tb.want("unheard", numbers(1, 500)...)
}

// TestTwoPositions proves eliom.md 4a (6fc1de8d1) and 2.2.10: readers of one
// channel that begin at different positions each have their own range, once.
func TestTwoPositions(t *testing.T) {
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat"})
	k.put(chat, numbers(1, 10)...)
	early := newTab(t, k.site, "s", nil, chat.History(10)).connect()
	late := newTab(t, k.site, "s", nil, chat.History(3)).connect()
	now := newTab(t, k.site, "s", nil, chat).connect()
	k.put(chat, "11")
	early.want("chat", numbers(1, 11)...)
	late.want("chat", numbers(8, 11)...)
	now.want("chat", "11")
	for _, tb := range []*tab{early, late, now} {
		tb.cut()
	}
	k.put(chat, "12")
	for _, tb := range []*tab{early, late, now} {
		tb.connect().want("chat", "12")
	}
}

// TestHistoryThenLive proves eliom.md 4a (6ee7114b1, #258): what was kept and what
// comes after join without a gap or a repeat, at every n and over a reconnect.
func TestHistoryThenLive(t *testing.T) {
	const size = 5
	for kept := range 8 {
		for n := range size + 3 {
			k := newKit(t)
			chat := k.channel(scope.Spec{Name: "chat", Size: size})
			k.put(chat, numbers(1, kept)...)
			tb := newTab(t, k.site, "s", nil, chat.History(n)).connect()
			tb.want("chat", numbers(kept+1-min(n, kept, size), kept)...)
			k.put(chat, fmt.Sprint(kept+1))
			tb.want("chat", fmt.Sprint(kept+1))
			tb.cut()
			k.put(chat, fmt.Sprint(kept+2))
			tb.connect().want("chat", fmt.Sprint(kept+2))
			tb.cut()
		}
	}
}

// TestFullReachesEveryReader proves eliom.md 4a (e0e9c29f7, 6028163e6) and rule
// 5: each reader that missed something is told so, whatever it came with.
func TestFullReachesEveryReader(t *testing.T) {
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat", Size: 3})
	fresh := newTab(t, k.site, "s", nil, chat)
	k.put(chat, "1")
	cursor, after, stalled := newTab(t, k.site, "s", nil, chat.History(1)), newTab(t, k.site, "s", nil, chat.History(1)), newTab(t, k.site, "s", nil, chat)
	for _, tb := range []*tab{cursor, after} {
		tb.connect().want("chat", "1")
		tb.cut()
	}
	after.query, after.lastID = after.query+"&after="+after.lastID, ""
	stalled.connect().hear()
	k.put(chat, numbers(2, 9)...)
	for name, tb := range map[string]*tab{"no cursor": fresh, "cursor": cursor, "after=": after} {
		events := tb.connect().wantNotice("full", notice{Channel: "chat", Reason: "trimmed", Resume: "*"})
		if got := of(events, "chat"); fmt.Sprint(got) != fmt.Sprint(numbers(7, 9)) {
			t.Fatalf("%s: after full came %v", name, got)
		}
	}
	stalled.wantNotice("full", notice{Channel: "chat", Reason: "trimmed", Resume: "*"})
}

// TestOneReaderLeaves proves eliom.md 4a (93a7e969c, eab0eef1f): a reader that
// leaves, by whatever means, leaves the channel to the others.
func TestOneReaderLeaves(t *testing.T) {
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat"})
	p, q := k.process("s"), k.process("s")
	closes, ends, cut := newTab(t, k.site, "s", p, chat).connect(), newTab(t, k.site, "s", q, chat).connect(), newTab(t, k.site, "s", nil, chat).connect()
	stays := newTab(t, k.site, "s", nil, chat).connect()
	if _, err := closes.command("close", "chat"); err != nil {
		t.Fatal(err)
	}
	q.Close()
	cut.cut()
	k.put(chat, "1")
	stays.want("chat", "1")
	ends.want("chat", "1") // its process is gone, its site channel is not
	closes.want("chat")
	if chat.Err() != nil {
		t.Fatal(chat.Err())
	}
}

// TestUnsubscribeAll proves eliom.md 4b (closing the last site channel): a page
// that hears nothing stays connected, and can hear again.
func TestUnsubscribeAll(t *testing.T) {
	k := newKit(t)
	a, b := k.channel(scope.Spec{Name: "a"}), k.channel(scope.Spec{Name: "b"})
	tb := newTab(t, k.site, "s", k.process("s"), a, b).connect()
	for _, name := range []string{"a", "b"} {
		if _, err := tb.command("close", name); err != nil {
			t.Fatal(err)
		}
	}
	if tb.hear(); tb.ended {
		t.Fatal("the event stream ended with its last channel")
	}
	tb.cut().connect()
	if tb.hear(); tb.dead || tb.ended {
		t.Fatal("a page that hears nothing for now must not come back")
	}
	for _, name := range []string{"a", "b"} {
		if r, err := tb.command("register", name); err != nil || r.State != "heard" {
			t.Fatal(r, err)
		}
	}
	k.put(a, "1")
	k.put(b, "2")
	events := tb.hear()
	if got := fmt.Sprint(of(events, "a"), of(events, "b")); got != "[1] [2]" {
		t.Fatal(got)
	}
}

// TestRestartWithTheSameName proves eliom.md 2.2.9 and 4b, rule 1: the reader of
// a channel that a restart made anew is told of it and hears it at once, where
// Eliom is silent until the old index is reached.
func TestRestartWithTheSameName(t *testing.T) {
	before := newKit(t)
	old := before.channel(scope.Spec{Name: "chat"})
	tb := newTab(t, before.site, "s", nil, old)
	before.put(old, numbers(1, 500)...)
	tb.connect().want("chat", numbers(1, 500)...)
	tb.cut()

	after := newKit(t)
	young := after.channel(scope.Spec{Name: "chat"})
	after.put(young, "1")
	tb.site = after.site
	events := tb.connect().wantNotice("full", notice{Channel: "chat", Reason: "reset", Resume: "*"})
	if got := of(events, "chat"); fmt.Sprint(got) != "[1]" {
		t.Fatal("after the reset came", got)
	}
	after.put(young, "2")
	tb.want("chat", "2")
	tb.cut()
}

// TestNewestRepeats proves eliom.md 2.3: equal values are sent again, so that what
// is told is that something was said, not that something changed.
func TestNewestRepeats(t *testing.T) {
	k := newKit(t)
	price := k.channel(scope.Spec{Name: "price", Kind: scope.Newest})
	tb := newTab(t, k.site, "s", nil, price).connect()
	for range 3 {
		k.put(price, "7")
		tb.want("price", "7")
	}
	tb.cut()
	k.put(price, "7", "7")
	tb.connect().want("price", "7")
}

// TestExternalOfNothing proves eliom.md 2.5: an external channel that is empty is
// waited for, and one that its instance does not have is closed.
func TestExternalOfNothing(t *testing.T) {
	k := newKit(t)
	empty := k.channel(scope.Spec{Name: "empty"})
	for _, newest := range []bool{false, true} {
		link, err := k.site.Link(context.Background(), nil, 0,
			scope.External("https://b.example/comet", "empty", 1, newest), scope.External("https://b.example/comet", "nothing", 1, newest))
		if err != nil {
			t.Fatal(err)
		}
		tb := &tab{t: t, site: k.site, query: link.Query, wakes: make(chan struct{}, 1)}
		events := tb.connect().wantNotice("closed", notice{Channel: "nothing", Reason: "unavailable", Final: true})
		if len(of(events, "empty")) > 0 || tb.ended {
			t.Fatal(events, tb.ended)
		}
		k.put(empty, "1")
		tb.want("empty", "1")
		tb.cut()
		empty.Close()
		empty = k.channel(scope.Spec{Name: "empty"})
	}
}

// TestWrongKind proves eliom.md 1b (wrong kind on a service), where Eliom answers
// 500 and the page dies: a command that the channel is not made for is refused,
// and a private channel cannot be had by its name.
func TestWrongKind(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	queue := k.private(p, scope.Spec{Name: "queue"})
	tb := newTab(t, k.site, "s", p, queue).connect()
	_, err := tb.command("pull", "queue")
	wantRefused(t, err, "bad")
	k.put(queue, "secret")
	tb.want("queue", "secret")
	spy := &tab{t: t, site: k.site, query: "v=1&c=queue@-10", wakes: make(chan struct{}, 1)}
	spy.connect().wantNotice("closed", notice{Channel: "queue", Reason: "unavailable", Final: true})
	if _, err := scope.Find(k.site, "queue", nil); !errors.Is(err, scope.ErrNotFound) {
		t.Fatal(err)
	}
}

// TestUnnamedCannotBeGuessed proves rule 14 and eliom.md 1a (random name): 128
// random bits, for names as for tokens.
func TestUnnamedCannotBeGuessed(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxProcesses: 1000})
	const bits = 22 // characters of base64
	seen := map[string]bool{}
	for range 1000 {
		name := strings.TrimPrefix(k.channel(scope.Spec{}).Name(), "_")
		token := k.process("s").Token()
		if len(name) < bits || len(token) < bits || seen[name] || seen[token] {
			t.Fatalf("%q, %q: too short, or not the first", name, token)
		}
		seen[name], seen[token] = true, true
	}
	for i := range bits - 1 { // the last character holds two bits only
		letters := map[byte]bool{}
		for s := range seen {
			letters[s[i]] = true
		}
		if len(letters) < 50 {
			t.Fatalf("character %d is one of %d only", i, len(letters))
		}
	}
}

// TestPrivateBoundary proves rule 7 and eliom.md 4b (length > size): size unsent
// values are kept, one more is too many.
func TestPrivateBoundary(t *testing.T) {
	for _, size := range []int{1, 2, 100, scope.DefaultSize} {
		for _, n := range []int{size - 1, size, size + 1} {
			k := newKit(t)
			p := k.process("s")
			spec := scope.Spec{Name: "a", Size: size}
			if size == scope.DefaultSize {
				spec.Size = 0
			}
			h := k.private(p, spec)
			tb := newTab(t, k.site, "s", p, h)
			for i := range n {
				err := h.Feed().Put(context.Background(), fmt.Append(nil, i+1))
				if full := i >= size; errors.Is(err, scope.ErrFull) != full || !full && err != nil {
					t.Fatalf("size %d, value %d: %v", size, i+1, err)
				}
			}
			if n <= size {
				tb.connect().want("a", numbers(1, n)...)
				continue
			}
			tb.connect().wantNotice("full", notice{Channel: "a", Reason: "overflow", Final: true})
		}
	}
}
