package scope_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
)

// TestPublishWhileOpening proves rule 2: between the page and its event stream,
// and between replay and live, over 100,000 interleavings, nothing is lost,
// doubled or reordered. Half of the pages begin by Recent and After.
func TestPublishWhileOpening(t *testing.T) {
	rounds := 100_000
	if testing.Short() {
		rounds = 2_000
	}
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat"})
	begin, done := make(chan int), make(chan struct{})
	go func() {
		feed := chat.Feed()
		for n := range begin {
			for i := range 3 {
				if err := feed.Put(context.Background(), strconv.AppendInt(nil, int64(n+i), 10)); err != nil {
					t.Error(err)
				}
			}
			done <- struct{}{}
		}
	}()
	defer close(begin)
	for round := range rounds {
		first := 3 * round
		begin <- first
		var ref scope.Ref = chat
		next := -1
		if round%2 == 0 {
			values, at, err := chat.Recent(context.Background(), 2)
			if err != nil {
				t.Fatal(err)
			}
			ref, next = chat.After(at), first
			if len(values) > 0 {
				next, _ = strconv.Atoi(string(values[len(values)-1]))
				next++
			}
		}
		tb := newTab(t, k.site, "s", nil, ref).connect()
		heard := of(tb.hear(), "chat")
		<-done
		heard = append(heard, of(tb.hear(), "chat")...)
		tb.cut()
		if next < 0 { // from now, whenever that was
			next = first + 3 - len(heard)
		}
		if fmt.Sprint(heard) != fmt.Sprint(numbers(next, first+2)) {
			t.Fatalf("round %d: heard %v, want %d to %d", round, heard, next, first+2)
		}
	}
}

// TestStalledReader proves rule 5: one reader that takes nothing delays nobody
// and costs nothing, and hears full when it comes back to life.
func TestStalledReader(t *testing.T) {
	const readers, values, size = 1000, 300, 50
	k := newKit(t, scope.SiteConfig{MaxSessionStreams: readers})
	chat := k.channel(scope.Spec{Name: "chat", Size: size, MaxBytes: size << 10})
	stalled := newTab(t, k.site, "s", nil, chat).connect()
	stalled.hear()
	var tabs []*tab
	for range readers - 1 {
		tabs = append(tabs, newTab(t, k.site, "s", nil, chat).connect())
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	feed, payload := chat.Feed(), make([]byte, 1000)
	for i := range payload {
		payload[i] = 'x'
	}
	before := heap()
	for i := range values {
		if err := feed.Put(context.Background(), append([]byte(nil), payload...)); err != nil {
			t.Fatal(err)
		}
		for _, tb := range tabs {
			tb.batch.Reset()
			if _, err := tb.stream.Collect(&tb.batch, 1<<20); err != nil || tb.batch.Events() < 1 {
				t.Fatalf("value %d did not come: %v", i, err)
			}
		}
	}
	for _, tb := range tabs {
		tb.batch.Reset()
	}
	// The ring's payloads, their frames, and each tab's batch, which here stands
	// for a socket.
	if grown, limit := int64(heap()-before), int64(3*size<<10+readers*4<<10); grown > limit {
		t.Errorf("the heap grew by %d bytes, want at most %d", grown, limit)
	}
	events := stalled.wantNotice("full", notice{Channel: "chat", Reason: "trimmed", Resume: "*"})
	if n := len(of(events, "chat")); n != size {
		t.Fatalf("after full came %d values, want %d", n, size)
	}
}

// collects runs the garbage collector until f is content.
func collects(t *testing.T, f func() bool) {
	t.Helper()
	for range 1000 {
		runtime.GC()
		if f() {
			return
		}
		time.Sleep(time.Millisecond) // cleanups run on a goroutine of the runtime
	}
	t.Fatal("it was not collected")
}

// TestCollection proves rule 14 and eliom.md 4a (ff789d8bb): what nobody holds is
// collected: its source is stopped, its name is free, a reader that returns hears
// closed.
func TestCollection(t *testing.T) {
	k := newKit(t)
	stopped := make(chan error, 1)
	var query string
	func() {
		h := k.unheld(scope.Spec{Stop: func(err error) { stopped <- err }})
		k.put(h, "1")
		tb := newTab(t, k.site, "s", nil, h.History(1)).connect()
		tb.want(h.Name(), "1")
		query = tb.query
		feed := h.Feed() // an unnamed channel's source does not hold it
		h = nil
		runtime.GC()
		if err := feed.Put(context.Background(), []byte("2")); err != nil { // its reader does
			t.Fatal(err)
		}
		tb.want(tb.streamChannel(), "2")
		tb.cut()
		*tb = tab{}
	}()
	collects(t, func() bool { return len(stopped) > 0 })
	if err := <-stopped; !errors.Is(err, scope.ErrClosed) {
		t.Fatal(err)
	}
	late := &tab{t: t, site: k.site, query: query, wakes: make(chan struct{}, 1)}
	if events := late.connect().hear(); len(of(events, "comet:closed")) != 1 {
		t.Fatal(events)
	}
}

func (tb *tab) streamChannel() string {
	for i := len("v=1&c="); i < len(tb.query); i++ {
		if tb.query[i] == '@' {
			return tb.query[len("v=1&c="):i]
		}
	}
	return ""
}

// TestNamedIsHeldByItsFeed proves rule 14: a running source or a Sender keeps a
// named channel, without a handle.
func TestNamedIsHeldByItsFeed(t *testing.T) {
	k := newKit(t)
	var feed *scope.Feed
	func() { feed = k.unheld(scope.Spec{Name: "chat"}).Feed() }()
	for range 10 {
		runtime.GC()
	}
	h, err := scope.Find(k.site, "chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := scope.Find(k.site, "chat", "string"); !errors.Is(err, scope.ErrOtherType) {
		t.Fatal(err)
	}
	k.put(h, "1")
	h = nil
	runtime.KeepAlive(feed)
	feed = nil
	collects(t, func() bool {
		_, err := scope.Find(k.site, "chat", nil)
		return errors.Is(err, scope.ErrNotFound)
	})
	reborn := k.channel(scope.Spec{Name: "chat"}) // and reborn as another: rule 14
	k.put(reborn, "2")
}

// TestReborn proves rule 14: a name reborn is full, reason reset, wherever in the
// old life the reader was.
func TestReborn(t *testing.T) {
	k := newKit(t)
	old := k.channel(scope.Spec{Name: "chat"})
	tail, genesis := newTab(t, k.site, "s", nil, old.History(0)), newTab(t, k.site, "s", nil, old)
	k.put(old, "1", "2")
	tail.connect().want("chat", "1", "2")
	tail.cut()
	old.Close()
	young := k.channel(scope.Spec{Name: "chat"})
	for _, tb := range []*tab{tail, genesis} {
		tb.connect().wantNotice("full", notice{Channel: "chat", Reason: "reset", Resume: "*"})
		tb.cut()
	}
	k.put(young, "3")
	tail.connect().want("chat", "3")
}

// TestConcurrentLife: everything at once, for the race detector; afterwards
// nothing runs.
func TestConcurrentLife(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxProcesses: 5})
	chat := k.channel(scope.Spec{Name: "chat", Size: 10})
	var work sync.WaitGroup
	for worker := range 8 {
		work.Go(func() {
			session := fmt.Sprint(worker % 3)
			for i := range 100 {
				p, err := k.site.NewProcess(session)
				if err != nil {
					continue // all five are attached
				}
				h, err := scope.Register(p, scope.Spec{Name: "a", Size: 3})
				if err != nil {
					continue // it was evicted
				}
				u, _ := scope.Register(p, scope.Spec{Name: "u", Kind: scope.Pull, Pull: func(ctx context.Context) ([]byte, error) {
					return []byte("v"), ctx.Err()
				}})
				refs := []scope.Ref{h, chat}
				if u != nil {
					refs = append(refs, u)
				}
				link, err := k.site.Link(context.Background(), p, 0, refs...)
				if err != nil {
					continue
				}
				p.AfterInactive(time.Millisecond, func(error) {})
				s, err := k.site.OpenStream(context.Background(), scope.Request{Query: link.Query, Reader: scope.Reader{Session: session}})
				if err != nil {
					t.Error(err)
					return
				}
				tb := &tab{t: t, site: k.site, stream: s}
				s.Start(func() {})
				_ = h.Feed().Put(context.Background(), []byte("x"))
				_ = chat.Feed().Put(context.Background(), []byte("x"))
				tb.bytes()
				switch i % 4 {
				case 0:
					p.Close()
				case 1:
					h.Feed().End(io.EOF)
				case 2:
					k.site.EndSession(session)
				}
				tb.bytes()
				s.Gone(nil)
			}
		})
	}
	work.Wait()
}

// TestShutdown: streams are told to come back and end, sources stop, nothing can
// be made any more, and it waits for who is slow.
func TestShutdown(t *testing.T) {
	site := scope.NewSite()
	k := kit{t, site}
	p := k.process("s")
	stopped := make(chan error, 2)
	stop := func(err error) { stopped <- err }
	chat, mine := k.channel(scope.Spec{Name: "chat", Stop: stop}), k.private(p, scope.Spec{Name: "mine", Stop: stop})
	tb := newTab(t, site, "s", p, chat, mine).connect()
	tb.hear()
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	if err := site.Shutdown(expired); !errors.Is(err, context.Canceled) {
		t.Fatal("Shutdown did not wait for the event stream:", err)
	}
	if wire := string(tb.bytes()); !tb.ended || len(wire) < len("retry: 1\n\n") || wire[:7] != "retry: " {
		t.Fatalf("told %q, ended %v", wire, tb.ended)
	}
	if err := site.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-stopped; !errors.Is(err, scope.ErrShutdown) {
			t.Fatal(err)
		}
	}
	if wire := string(tb.connect().bytes()); !tb.ended || wire[:7] != "retry: " {
		t.Fatalf("a late comer was told %q", wire)
	}
	if _, err := scope.Register(site, scope.Spec{}); !errors.Is(err, scope.ErrShutdown) {
		t.Fatal(err)
	}
	if err := site.Engine().Health(context.Background()); err == nil {
		t.Fatal("the Site's own engine is open")
	}
	if _, err := site.NewProcess("s"); !errors.Is(err, scope.ErrShutdown) {
		t.Fatal(err)
	}
	if err := chat.Feed().Put(context.Background(), nil); !errors.Is(err, scope.ErrClosed) {
		t.Fatal(err)
	}
}

// TestLimits proves rule 12 and 13: one event stream too many is told to come
// back, within a 200.
func TestLimits(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxStreams: 1, MaxMessage: 10, MaxSessions: 1, MaxChannels: 1})
	chat := k.channel(scope.Spec{Name: "chat"})
	first := newTab(t, k.site, "s", nil, chat).connect()
	second := newTab(t, k.site, "s", nil, chat).connect()
	if wire := string(second.bytes()); !second.ended || wire[:7] != "retry: " {
		t.Fatalf("one too many was told %q", wire)
	}
	first.cut()
	second.connect().hear()
	if second.ended {
		t.Fatal("the place is free, and it was refused")
	}
	if err := chat.Feed().Put(context.Background(), make([]byte, 11)); !errors.Is(err, scope.ErrTooLarge) {
		t.Fatal(err)
	}
	p := k.process("s")
	if _, err := k.site.NewProcess("t"); !errors.Is(err, scope.ErrTooMany) {
		t.Fatal(err)
	}
	k.private(p, scope.Spec{})
	if _, err := scope.Register(p, scope.Spec{}); !errors.Is(err, scope.ErrTooMany) {
		t.Fatal(err)
	}
}

// TestStreamsPerSessionAndAddress: the bounds that fasthttp cannot keep for
// connections that are not its own any more; refused in a way that an EventSource
// survives (rules 12 and 13).
func TestStreamsPerSessionAndAddress(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxSessionStreams: 2, MaxAddressStreams: 3})
	chat := k.channel(scope.Spec{Name: "chat"})
	link, err := k.site.Link(context.Background(), nil, 0, chat)
	if err != nil {
		t.Fatal(err)
	}
	open := func(session, address string) (*scope.EventStream, bool) {
		s, err := k.site.OpenStream(context.Background(), scope.Request{
			Query: link.Query, Reader: scope.Reader{Session: session}, Address: address,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Gone(nil) })
		tb := &tab{t: t, stream: s}
		tb.bytes()
		return s, !tb.ended
	}
	first, ok := open("s", "a")
	if _, second := open("s", "a"); !ok || !second {
		t.Fatal("two of a session were refused")
	}
	if _, ok := open("s", "b"); ok {
		t.Fatal("a third of the session was carried")
	}
	if _, ok := open("t", "a"); !ok {
		t.Fatal("another session was refused")
	}
	if _, ok := open("", "a"); ok {
		t.Fatal("a fourth of the address was carried")
	}
	first.Gone(nil)
	if _, ok := open("s", "a"); !ok {
		t.Fatal("the place of one that left was not given")
	}
}
