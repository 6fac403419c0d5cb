package scope_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// collect takes what is pending, as a connection does with a buffer of its own.
func collect(s *scope.EventStream, b *sse.Batch, e ...*sse.Encoder) int {
	events := 0
	for {
		b.Reset()
		if len(e) > 0 {
			b.ResetFor(e[0])
		}
		more, err := s.Collect(b, 64<<10)
		events += b.Events()
		if err != nil || b.Len() == 0 && !more {
			return events
		}
	}
}

func openFor(t testing.TB, site *scope.Site, p *scope.ClientProcess, refs ...scope.Ref) *scope.EventStream {
	link, err := site.Link(context.Background(), p, 0, refs...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := site.OpenStream(context.Background(), scope.Request{Query: link.Query, Reader: scope.Reader{Session: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Gone(nil) })
	s.Start(func() {})
	return s
}

// TestDeliveryAllocatesNothing: an event that was encoded for one event stream
// costs the next no allocation, and neither does looking when there is none.
func TestDeliveryAllocatesNothing(t *testing.T) {
	const events, streams = 100, 20
	k := newKit(t)
	p := k.process("s")
	chat, mine := k.channel(scope.Spec{Name: "chat"}), k.private(p, scope.Spec{Name: "mine"})
	var b sse.Batch
	first, private := openFor(t, k.site, nil, chat), openFor(t, k.site, p, mine)
	var others []*scope.EventStream
	for range streams + 1 { // AllocsPerRun runs once more, to warm up
		others = append(others, openFor(t, k.site, nil, chat))
	}
	for _, s := range append(others, first, private) {
		collect(s, &b)
	}
	for i := range events {
		k.put(chat, fmt.Sprint(i))
		k.put(mine, fmt.Sprint(i))
	}
	collect(first, &b) // makes the frames
	next := 0
	if n := testing.AllocsPerRun(streams, func() {
		if collect(others[next], &b) != events {
			t.Error("an event is missing")
		}
		next++
	}); n != 0 {
		t.Errorf("%d events of a site channel cost %v allocations", events, n)
	}
	if n := testing.AllocsPerRun(100, func() { collect(first, &b) }); n != 0 {
		t.Errorf("nothing pending costs %v allocations", n)
	}
	collect(private, &b)
	if n := testing.AllocsPerRun(100, func() { collect(private, &b) }); n != 0 {
		t.Errorf("nothing pending of a process costs %v allocations", n)
	}
}

// TestCompressedDeliveryAllocatesNothing: nor does it where the event stream is
// compressed, once the event was compressed for one.
func TestCompressedDeliveryAllocatesNothing(t *testing.T) {
	const events, streams = 100, 20
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat"})
	var b sse.Batch
	gzip := sse.Gzip()
	var all []*scope.EventStream
	var encoders []*sse.Encoder
	for range streams + 2 { // the first makes the blocks; AllocsPerRun runs once more
		s := openFor(t, k.site, nil, chat)
		all, encoders = append(all, s), append(encoders, gzip.NewEncoder())
		collect(s, &b, encoders[len(encoders)-1])
	}
	for i := range events {
		k.put(chat, fmt.Sprint(i, strings.Repeat(" large", 200)))
	}
	next := 0
	deliver := func() {
		if collect(all[next], &b, encoders[next]) != events {
			t.Error("an event is missing")
		}
		next++
	}
	deliver()
	if n := testing.AllocsPerRun(streams, deliver); n != 0 {
		t.Errorf("%d compressed events cost %v allocations", events, n)
	}
}

// TestPullAllocatesLittle: a pull costs its context, its cancel and its goroutine,
// from the command to the event.
func TestPullAllocatesLittle(t *testing.T) {
	site := scope.NewSite()
	p, err := site.NewProcess("s")
	if err != nil {
		t.Fatal(err)
	}
	value := []byte("7")
	unread, err := scope.Register(p, scope.Spec{
		Name: "unread", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) { return value, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	link, err := site.Link(context.Background(), p, 0, unread)
	if err != nil {
		t.Fatal(err)
	}
	request := scope.Request{Query: link.Query + "&pull=ask", Reader: scope.Reader{Session: "s"}}
	s, err := site.OpenStream(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Gone(nil) })
	wakes, form := make(chan struct{}, 1), map[string][]string{"pull": {"unread"}}
	s.Start(func() {
		select {
		case wakes <- struct{}{}:
		default:
		}
	})
	var b sse.Batch
	collect(s, &b)
	if n := testing.AllocsPerRun(500, func() { // few, but what is kept for a tab that lost them grows meanwhile
		if _, err := site.Command(context.Background(), request, form); err != nil {
			t.Fatal(err)
		}
		for collect(s, &b) == 0 {
			<-wakes
		}
	}); n > 3 {
		t.Errorf("a pull costs %v allocations, want at most 3", n)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, readers := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			site := scope.NewSite()
			chat, err := scope.Register(site, scope.Spec{Name: "chat"})
			if err != nil {
				b.Fatal(err)
			}
			for range readers {
				openFor(b, site, nil, chat)
			}
			feed, data := chat.Feed(), make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if err := feed.Put(context.Background(), data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCollect(b *testing.B) {
	for _, channels := range []int{1, 32} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			site := scope.NewSite()
			var refs []scope.Ref
			var feed *scope.Feed
			for i := range channels {
				h, err := scope.Register(site, scope.Spec{Name: fmt.Sprintf("c%d", i)})
				if err != nil {
					b.Fatal(err)
				}
				refs, feed = append(refs, h), h.Feed()
			}
			s := openFor(b, site, nil, refs...)
			var batch sse.Batch
			collect(s, &batch)
			data := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if err := feed.Put(context.Background(), data); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				collect(s, &batch)
			}
		})
	}
}
