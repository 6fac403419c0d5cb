package scope_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// TestSiteChannel: eliom.md 2.2.2: exactly the values after the page was made.
func TestSiteChannel(t *testing.T) {
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat"})
	k.put(chat, "before")
	tb := newTab(t, k.site, "s", nil, chat)
	k.put(chat, "1", "2")
	tb.connect().want("chat", "1", "2")
	k.put(chat, "3")
	tb.want("chat", "3")
	tb.cut()
	k.put(chat, "4")
	tb.connect().want("chat", "4")
}

// TestHistory: exactly n, where Eliom's HEAD gives one more (eliom.md 4b).
func TestHistory(t *testing.T) {
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat", Size: 5})
	k.put(chat, numbers(1, 7)...)
	for n, want := range map[int][]string{0: nil, 1: {"7"}, 5: numbers(3, 7), 6: numbers(3, 7)} {
		tb := newTab(t, k.site, "s", nil, chat.History(n)).connect()
		tb.want("chat", want...)
		tb.cut()
	}
	values, at, err := chat.Recent(context.Background(), 2)
	if err != nil || string(values[0]) != "6" || string(values[1]) != "7" {
		t.Fatal(values, err)
	}
	k.put(chat, "8")
	newTab(t, k.site, "s", nil, chat.After(at)).connect().want("chat", "8")
}

// TestSiteFullResumes proves rule 5: exactly size can be had, one more is told,
// and hearing goes on with the oldest kept.
func TestSiteFullResumes(t *testing.T) {
	for _, size := range []int{1, 2, 1000} {
		k := newKit(t)
		chat := k.channel(scope.Spec{Name: "chat", Size: size})
		at, over := newTab(t, k.site, "s", nil, chat), newTab(t, k.site, "s", nil, chat)
		k.put(chat, numbers(1, size)...)
		at.connect().want("chat", numbers(1, size)...)
		k.put(chat, "one more")
		over.connect()
		events := over.wantNotice("full", notice{Channel: "chat", Reason: "trimmed", Resume: "*"})
		if got := of(events, "chat"); len(got) != size || got[size-1] != "one more" {
			t.Fatalf("size %d: after full came %q", size, got)
		}
	}
}

// TestNewest proves rule 6.
func TestNewest(t *testing.T) {
	k := newKit(t)
	price := k.channel(scope.Spec{Name: "price", Kind: scope.Newest})
	empty := newTab(t, k.site, "s", nil, price).connect()
	empty.want("price")
	k.put(price, "1", "2", "3")
	empty.want("price", "3")
	late := newTab(t, k.site, "s", nil, price).connect()
	late.want("price", "3")
	late.cut()
	k.put(price, "3", "4", "5")
	if events := late.connect().want("price", "5"); len(of(events, "comet:full")) > 0 {
		t.Fatal("a newest channel was full", events)
	}
	late.cut().connect().want("price")
}

// TestPrivateChannel proves rule 7: kept from creation on, replayed by number.
func TestPrivateChannel(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	a, b := k.private(p, scope.Spec{Name: "a"}), k.private(p, scope.Spec{Name: "b"})
	k.put(a, "a1")
	tb := newTab(t, k.site, "s", p, a, b)
	k.put(b, "b1")
	tb.connect()
	events := tb.want("a", "a1")
	if got := of(events, "b"); fmt.Sprint(got) != "[b1]" {
		t.Fatal(got)
	}
	before := tb.lastID
	k.put(a, "a2", "a3")
	k.put(b, "b2")
	lost := tb.hear()
	tb.lastID = before // the connection broke before any of it came
	again := tb.cut().connect().hear()
	if wire(again[1:]) != wire(lost) {
		t.Fatalf("replayed\n%swant\n%s", wire(again[1:]), wire(lost))
	}
}

// TestPrivateFull proves rule 7: the whole queue is dropped, one final full, the
// source is stopped, other channels go on.
func TestPrivateFull(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	var cause error
	a := k.private(p, scope.Spec{Name: "a", Size: 2, Stop: func(err error) { cause = err }})
	b := k.private(p, scope.Spec{Name: "b"})
	k.put(a, "1", "2")
	k.put(b, "1")
	if err := a.Feed().Put(context.Background(), []byte("3")); !errors.Is(err, scope.ErrFull) {
		t.Fatal(err)
	}
	if !errors.Is(cause, scope.ErrFull) || !errors.Is(a.Err(), scope.ErrFull) {
		t.Fatal(cause, a.Err())
	}
	if err := a.Feed().Put(context.Background(), []byte("4")); !errors.Is(err, scope.ErrFull) {
		t.Fatal(err)
	}
	tb := newTab(t, k.site, "s", p, a, b).connect()
	events := tb.wantNotice("full", notice{Channel: "a", Reason: "overflow", Final: true})
	if len(of(events, "a")) != 0 || fmt.Sprint(of(events, "b")) != "[1]" {
		t.Fatal(events)
	}
	k.put(b, "2")
	tb.want("b", "2")
	k.private(p, scope.Spec{Name: "a"}) // the name is free
}

// TestPrivateTrimmed proves rule 7: what was sent and is kept no more makes its
// channel full, and no other.
func TestPrivateTrimmed(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	a, b := k.private(p, scope.Spec{Name: "a", Size: 2}), k.private(p, scope.Spec{Name: "b"})
	tb := newTab(t, k.site, "s", p, a, b).connect()
	tb.hear()
	before := tb.lastID
	for i := 1; i <= 3; i++ {
		k.put(a, fmt.Sprint(i))
		k.put(b, fmt.Sprint(i))
		tb.hear()
	}
	tb.lastID = before
	tb.cut().connect()
	events := tb.wantNotice("full", notice{Channel: "a", Reason: "trimmed", Final: true})
	if len(of(events, "a")) != 0 || fmt.Sprint(of(events, "b")) != "[1 2 3]" || !errors.Is(a.Err(), scope.ErrFull) {
		t.Fatal(events, a.Err())
	}
}

// TestEnds: what is kept is heard before the end, the end is heard once, and
// with nothing left the event stream is over.
func TestEnds(t *testing.T) {
	failure := errors.New("out of ink")
	for _, c := range []struct {
		cause  error
		event  string
		reason string
	}{
		{io.EOF, "end", "end"}, {failure, "end", "error"}, {scope.ErrClosed, "closed", "closed"},
	} {
		k := newKit(t)
		p := k.process("s")
		site, private := k.channel(scope.Spec{Name: "site"}), k.private(p, scope.Spec{Name: "private"})
		for _, h := range []*scope.Handle{site, private} {
			k.put(h, "last")
		}
		siteTab, privateTab := newTab(t, k.site, "s", nil, site.History(1)), newTab(t, k.site, "s", p, private)
		for _, h := range []*scope.Handle{site, private} {
			h.Feed().End(c.cause)
			<-h.Done()
			if !errors.Is(h.Err(), c.cause) {
				t.Fatal(h.Err())
			}
			if err := h.Feed().Put(context.Background(), nil); !errors.Is(err, scope.ErrClosed) {
				t.Fatalf("Put after %v: %v", c.cause, err)
			}
		}
		if c.cause == scope.ErrClosed { // the name is nobody's any more
			siteTab.connect().wantNotice("closed", notice{Channel: "site", Reason: "unavailable", Final: true})
		} else {
			events := siteTab.connect().wantNotice(c.event, notice{Channel: "site", Reason: c.reason, Final: true})
			if fmt.Sprint(of(events, "site")) != "[last]" {
				t.Fatal(events)
			}
		}
		if !siteTab.ended || !siteTab.connect().dead {
			t.Fatal("a stream with nothing left goes on")
		}
		events := privateTab.connect().wantNotice(c.event, notice{Channel: "private", Reason: c.reason, Final: true})
		if fmt.Sprint(of(events, "private")) != "[last]" || privateTab.ended {
			t.Fatal(events, privateTab.ended)
		}
	}
}

// TestGone proves rule 8: unknown, foreign, ended and another server's are one
// answer, and then 204.
func TestGone(t *testing.T) {
	var wires []string
	for _, how := range []string{"foreign", "ended", "unknown"} {
		k := newKit(t)
		p := k.process("s")
		a := k.private(p, scope.Spec{Name: "a"})
		tb := newTab(t, k.site, "s", p, a)
		k.put(a, "secret")
		switch how {
		case "foreign":
			tb.reader.Session = "thief"
		case "ended":
			p.Close()
		case "unknown":
			tb.query = strings.Replace(tb.query, p.Token(), "AAAAAAAAAAAAAAAAAAAAAA", 1)
		}
		events := tb.connect().hear()
		wires = append(wires, strings.Replace(untagged(events), p.Token(), "AAAAAAAAAAAAAAAAAAAAAA", 1))
		if !tb.ended || len(of(events, "comet:gone")) != 1 {
			t.Fatal(how, events)
		}
		if !tb.connect().dead {
			t.Fatal(how, "it may come back")
		}
	}
	if wires[0] != wires[1] || wires[1] != wires[2] {
		t.Fatalf("the answers differ:\n%s", strings.Join(wires, "\n"))
	}
}

// TestSupersede proves rule 11: the newer wins, and nobody fights.
func TestSupersede(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	a, chat := k.private(p, scope.Spec{Name: "a"}), k.channel(scope.Spec{Name: "chat"})
	alone := newTab(t, k.site, "s", p, a)
	both := newTab(t, k.site, "s", p, a, chat)
	k.put(a, "1")
	alone.connect().want("a", "1")

	both.connect().want("a", "1")
	alone.wantNotice("superseded", notice{Process: p.Token(), Reason: "newer"})
	if !alone.ended || !alone.connect().dead {
		t.Fatal("the older one comes back")
	}
	third := newTab(t, k.site, "s", p).connect()
	third.hear()
	both.wantNotice("superseded", notice{Process: p.Token(), Reason: "newer"})
	k.put(chat, "goes on")
	both.want("chat", "goes on")
	both.cut().connect().wantNotice("superseded", notice{Process: p.Token(), Reason: "newer"})
	third.cut()
	k.put(a, "2")
	both.cut().connect().want("a", "2") // the newer one is away
	third.connect().hear()
	both.wantNotice("superseded", notice{Process: p.Token(), Reason: "newer"})
}

// TestReconnectOverStaleConnection: the same EventSource comes back before its
// old connection was noticed to be gone.
func TestReconnectOverStaleConnection(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	a := k.private(p, scope.Spec{Name: "a"})
	tb := newTab(t, k.site, "s", p, a).connect()
	k.put(a, "1")
	tb.want("a", "1")
	stale := tb.stream
	k.put(a, "2")
	tb.connect().want("a", "2")
	stale.Gone(nil)
	k.put(a, "3")
	tb.want("a", "3")
	if _, err := p.Site().Process("s", p.Token()); err != nil {
		t.Fatal(err)
	}
}

// TestCursors proves rule 4: bad, foreign, future and stale cursors each get an
// event of their own.
func TestCursors(t *testing.T) {
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat", Size: 2})
	tb := newTab(t, k.site, "s", nil, chat)
	k.put(chat, numbers(1, 3)...)
	for cursor, reason := range map[string]string{
		"garbage!": "cursor", "7.1": "cursor", "0.zzzz": "future", "*other~0.1": "reset", "0.1": "trimmed",
	} {
		other := *tb
		other.lastID, other.wakes = tag(t, tb.query)+cursor, make(chan struct{}, 1)
		if reason == "trimmed" {
			k.put(chat, numbers(4, 9)...)
		}
		other.connect().wantNotice("full", notice{Channel: "chat", Reason: reason, Resume: "*"})
	}
}

// TestMergeIsFair proves eliom.md 4b (starvation): a flooded channel does not
// delay another.
func TestMergeIsFair(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	flood, trickle := k.channel(scope.Spec{Name: "flood"}), k.private(p, scope.Spec{Name: "trickle"})
	tb := newTab(t, k.site, "s", p, flood, trickle)
	k.put(flood, numbers(1, 1000)...)
	k.put(trickle, "x")
	for i, e := range tb.connect().hear() {
		if e.name == "trickle" {
			if i > 5 {
				t.Fatalf("the trickle came as event %d", i)
			}
			return
		}
	}
	t.Fatal("the trickle did not come")
}

// TestVersion proves rule 17: another version hears an end, then 204.
func TestVersion(t *testing.T) {
	k := newKit(t)
	for query, reason := range map[string]string{"v=99&c=chat": "version", "c=%zz": "address"} {
		tb := &tab{t: t, site: k.site, query: query, wakes: make(chan struct{}, 1)}
		tb.connect().wantNotice("end", notice{Reason: reason, Final: true})
		if !tb.ended || !tb.connect().dead {
			t.Fatal("not over")
		}
	}
}

// TestExternalBeginnings proves rule 17 from the other instance's side: history
// and newest are resolved at connect.
func TestExternalBeginnings(t *testing.T) {
	k := newKit(t)
	news := k.channel(scope.Spec{Name: "news"})
	k.put(news, numbers(1, 5)...)
	for _, c := range []struct {
		history int
		newest  bool
		want    []string
	}{{0, false, nil}, {1, false, []string{"5"}}, {3, false, numbers(3, 5)}, {0, true, []string{"5"}}} {
		link, err := k.site.Link(context.Background(), nil, 0, scope.External("https://b.example/comet", "news", c.history, c.newest))
		if err != nil || link.Base != "https://b.example/comet" {
			t.Fatal(link, err)
		}
		tb := &tab{t: t, site: k.site, query: link.Query, wakes: make(chan struct{}, 1)}
		tb.connect().want("news", c.want...)
		tb.cut()
		k.put(news, "6")
		tb.connect().want("news", "6")
		tb.cut()
		k.put(news, numbers(1, 5)...)
	}
}
