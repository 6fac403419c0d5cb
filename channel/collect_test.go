package channel_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// eventually collects garbage until f is content, for a bounded while.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 500 {
		runtime.GC()
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("not in time: " + what)
}

// never collects garbage and insists.
func never(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 10 {
		runtime.GC()
		if f() {
			t.Fatal(what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Rule 14, Eliom row ff789d8bb and study 2.2.6: an unnamed site channel that
// nobody holds is collected, and the source that waits for ever is told.
func TestUnnamedIsCollected(t *testing.T) {
	site := newSite(t)
	for what, stream := range map[string]func(reading chan struct{}, told chan error) *channel.Stream[int]{
		"From": func(reading chan struct{}, told chan error) *channel.Stream[int] {
			return channel.From(func(ctx context.Context) (int, error) {
				close(reading)
				<-ctx.Done()
				told <- context.Cause(ctx)
				return 0, ctx.Err()
			})
		},
		"FromSeq": func(reading chan struct{}, told chan error) *channel.Stream[int] {
			return channel.FromSeq(func(ctx context.Context) iter.Seq2[int, error] {
				return func(func(int, error) bool) {
					close(reading)
					<-ctx.Done()
					told <- context.Cause(ctx)
				}
			})
		},
	} {
		reading, told := make(chan struct{}), make(chan error, 1)
		ch := must(channel.Create(site, stream(reading, told)))
		<-reading
		runtime.KeepAlive(ch)
		eventually(t, what, func() bool { return len(told) == 1 })
		mustBe(t, what, <-told, channel.ErrClosed)
	}
	posts, stream := channel.Push[int]()
	must(channel.Create(site, stream))
	eventually(t, "Push", func() bool { return errors.Is(posts.Send(context.Background(), 1), channel.ErrClosed) })
}

// Rule 14: what is held is not collected.
func TestHeldIsNotCollected(t *testing.T) {
	site := newSite(t)
	unnamed := must(channel.Create(site, channel.FromChan(make(chan int))))
	heard := must(channel.Create(site, channel.FromChan(make(chan int))))
	done := heard.Done()
	pg := newPage(t, site, nil, heard)
	heard = nil
	must(channel.Create(site, channel.FromChan(make(chan int)), channel.Config{Name: "running"}))
	posts, stream := channel.Push[int]()
	must(channel.Create(site, stream, channel.Config{Name: "sent"}))
	stream = nil
	never(t, "a channel with a handle was collected", func() bool { return unnamed.Err() != nil })
	never(t, "a channel with a reader was collected", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	for _, name := range []string{"running", "sent"} {
		never(t, name+" was collected", func() bool { return second(channel.Find[int](site, name)) != nil })
	}
	if err := posts.Send(t.Context(), 1); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(unnamed)
	pg.leave()
	eventually(t, "the reader has left", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// Rule 14: a named channel whose Sender is dropped without Close, or whose
// stream ended, is let go, and its name free.
func TestNamedIsCollected(t *testing.T) {
	site := newSite(t)
	func() {
		posts, stream := channel.Push[int]()
		must(channel.Create(site, stream, channel.Config{Name: "sent"}))
		if err := posts.Send(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}()
	must(channel.Create(site, channel.From(func(context.Context) (int, error) { return 0, io.EOF }), channel.Config{Name: "ended"}))
	for _, name := range []string{"sent", "ended"} {
		eventually(t, name, func() bool { return errors.Is(second(channel.Find[int](site, name)), channel.ErrNotFound) })
		must(channel.Create(site, channel.FromChan(make(chan int)), channel.Config{Name: name}))
	}
}

// Eliom row 300ca1ea3, with clones: many values, flat memory.
func TestMemoryIsFlat(t *testing.T) {
	const n = 300_000
	site := newSite(t)
	i := 0
	stream := channel.From(func(context.Context) (int, error) {
		if i == n {
			return 0, io.EOF
		}
		i++
		return i, nil
	})
	unread := stream.Clone() // kept, so that its head falls behind
	a := must(channel.Create(site, stream.Clone(channel.StreamConfig{Waiting: n}), channel.Config{Size: 100}))
	b := must(channel.Create(site, stream.Clone(channel.StreamConfig{Waiting: n}), channel.Config{Size: 100}))
	before := heap()
	ended(t, a.Done())
	ended(t, b.Done())
	posts, sent := channel.Push[int]()
	c := must(channel.Create(site, sent, channel.Config{Size: 100}))
	for v := range n {
		if err := posts.Send(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	mustBe(t, "the clone nobody read", second(channel.Create(site, unread)), channel.ErrFull)
	if values, _ := must2(a.Recent(t.Context(), 1)); values[0] != n {
		t.Errorf("the last value is %v", values)
	}
	runtime.KeepAlive([]*channel.Channel[int]{b, c})
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Eliom row 335eeaad2: a tab that never connects is bounded, by its channel's
// size and by its process's time.
func TestTabThatNeverConnects(t *testing.T) {
	site := newSite(t, scope.SiteConfig{ConnectWithin: 50 * time.Millisecond})
	p := newProcess(t, site)
	posts, stream := channel.Push[int]()
	ch := must(channel.Create(p, stream))
	posts.Send(t.Context(), 1)
	ended(t, ch.Done())
	mustBe(t, "Err", ch.Err(), channel.ErrProcessGone)
}
