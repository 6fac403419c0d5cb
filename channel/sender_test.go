package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// fasthttp closes every io.Closer it finds in a request's Locals: nothing here
// may be one.
func TestNothingIsAnIOCloser(t *testing.T) {
	for _, v := range []any{&Sender[int]{}, &Channel[int]{}, &Unlimited[int]{}, &Stream[int]{}, &Inbox[int]{}, &Duplex[int, int]{}, &Signal[int]{}} {
		if _, closer := v.(io.Closer); closer {
			t.Errorf("%T is an io.Closer", v)
		}
	}
}

func TestSendUnclaimed(t *testing.T) {
	posts, s := Push[string]()
	mustBe(t, "before a channel", posts.Send(t.Context(), "lost"), ErrUnclaimed)
	b := s.Clone()
	mustBe(t, "before a channel, cloned", posts.Send(t.Context(), "lost"), ErrUnclaimed)
	if err := s.head.reserve(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "while a channel is made", posts.Send(t.Context(), "lost"), ErrUnclaimed)
	s.head.release()
	f := pushed(t, s, Text)
	if err := posts.Send(t.Context(), "heard"); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the channel", f.values(), []string{"heard"})
	mustEqual(t, "the clone, claimed later", pushed(t, b, Text).values(), []string{"heard"})
}

// Whether the dropped stream was collected already or not, its Sender says the
// same.
func TestSendAfterStreamIsDropped(t *testing.T) {
	posts, _ := Push[string]()
	left := func() int {
		posts.fan.mu.Lock()
		defer posts.fan.mu.Unlock()
		return len(posts.fan.heads)
	}
	for range 500 {
		mustBe(t, "Send", posts.Send(t.Context(), "lost"), ErrUnclaimed)
		if left() == 0 {
			err := posts.Send(t.Context(), "lost")
			mustBe(t, "Send", err, ErrUnclaimed)
			mustNotBe(t, "Send", err, ErrClosed)
			return
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the head of a dropped stream is kept")
}

func TestSenderClose(t *testing.T) {
	posts, s := Push[int]()
	late := s.Clone()
	f := pushed(t, s, JSON)
	for i := 1; i <= 3; i++ {
		if err := posts.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	posts.Close()
	posts.Close()
	mustBe(t, "end", f.ended(), io.EOF)
	err := posts.Send(t.Context(), 4)
	mustBe(t, "Send after Close", err, ErrClosed)
	mustNotBe(t, "Send after Close", err, io.EOF, ErrUnclaimed)
	g := pushed(t, late, JSON)
	mustEqual(t, "a head claimed after Close", g.values(), numbers(1, 3))
	mustBe(t, "its end", g.ended(), io.EOF)

	never, s := Push[int]()
	never.Close()
	mustBe(t, "Send on what was closed unclaimed", never.Send(t.Context(), 1), ErrClosed)
	mustBe(t, "end", pushed(t, s, JSON).ended(), io.EOF)
}

// Send's errors tell whether a later one can succeed.
func TestSendErrors(t *testing.T) {
	posts, s := Push[string]()
	f := pushed(t, s, Text)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	outage := errors.New("engine is away")
	f.fail = func(data string) error {
		if data == "outage" {
			return outage
		}
		return nil
	}
	err := posts.Send(canceled, "too late")
	mustBe(t, "ended context", err, context.Canceled)
	err = posts.Send(t.Context(), "\xff")
	mustBe(t, "not UTF-8", err, errNotUTF8)
	if !strings.Contains(err.Error(), "channel fake: ") {
		t.Errorf("%v does not name the channel", err)
	}
	err = posts.Send(t.Context(), "outage")
	mustBe(t, "engine", err, outage)
	mustNotBe(t, "engine", err, ErrClosed)
	if err := posts.Send(t.Context(), "well"); err != nil {
		t.Fatal("the channel does not live on: ", err)
	}
	mustEqual(t, "channel", f.values(), []string{"well"})

	for _, cause := range []error{ErrProcessGone, ErrFull, outage} {
		posts, s := Push[string]()
		pushed(t, s, Text).End(cause)
		mustBe(t, "after the end", posts.Send(t.Context(), "x"), ErrClosed, cause)
	}
}

// An overflowing private channel: the Send that goes over it knows that no
// later one can succeed.
func TestSendOverflow(t *testing.T) {
	posts, s := Push[int]()
	f := pushed(t, s, JSON)
	f.fail = func(string) error {
		f.End(ErrFull) // as scope does
		return ErrFull
	}
	mustBe(t, "Send", posts.Send(t.Context(), 1), ErrFull, ErrClosed)
}

// Rule 13: a panic while marshalling ends the channels with that encoding, in
// the open; the sender's goroutine and the other channels go on.
func TestSendPanic(t *testing.T) {
	posts, s := Push[any]()
	text := pushed(t, s.Clone(), Text)
	f := pushed(t, s, JSON)
	var p *PanicError
	if err := posts.Send(t.Context(), bomb{}); !errors.As(err, &p) || p.Value != "boom" {
		t.Fatalf("Send: %v", err)
	}
	if err := f.ended(); !errors.As(err, &p) {
		t.Fatalf("the channel's end: %v", err)
	}
	if err := posts.Send(t.Context(), "x"); err != nil || text.ended() != nil {
		t.Fatalf("the other channel: %v, %v", err, text.ended())
	}
	text.End(ErrClosed)
	mustBe(t, "the next Send", posts.Send(t.Context(), "x"), ErrClosed)
}

// In front of an unlimited channel exactly so many values wait; then Send is
// ErrFull, and goes on.
func TestSendToUnlimited(t *testing.T) {
	posts, s := Push[int](StreamConfig{Waiting: 3})
	f := pulled(t, s, JSON)
	for i := 1; i <= 3; i++ {
		if err := posts.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	err := posts.Send(t.Context(), 99)
	mustBe(t, "over the bound", err, ErrFull)
	mustNotBe(t, "over the bound", err, ErrClosed)
	if got, err := f.pull(t.Context()); got != "1" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if err := posts.Send(t.Context(), 4); err != nil {
		t.Fatal("no room after a value was read: ", err)
	}
	posts.Close()
	if f.ended() != nil {
		t.Fatal("the channel ended before its values were asked for")
	}
	got, err := f.drainAll(t)
	mustEqual(t, "the rest", got, numbers(2, 4))
	mustBe(t, "end", err, io.EOF)
}

func TestDefaultWaiting(t *testing.T) {
	posts, s := Push[int]()
	pulled(t, s, JSON)
	n := 0
	for posts.Send(t.Context(), n) == nil {
		n++
	}
	if n != 1000 {
		t.Fatalf("%d values wait", n)
	}
}

// With clones: a head that ended or fell behind is passed over while others
// live.
func TestSendToClones(t *testing.T) {
	posts, s := Push[int](StreamConfig{Waiting: 2})
	b, d := s.Clone(), s.Clone()
	slow, a, gone := pulled(t, b, JSON), pushed(t, s, JSON), pushed(t, d, JSON)
	gone.End(ErrProcessGone)
	for i := 1; i <= 3; i++ {
		if err := posts.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	mustBe(t, "the head behind", slow.ended(), ErrFull)
	mustEqual(t, "the head that lives", a.values(), numbers(1, 3))
	outage := errors.New("away")
	a.fail = func(string) error { return outage }
	mustBe(t, "failure of the one that lives", posts.Send(t.Context(), 4), outage)
	a.End(ErrClosed)
	mustBe(t, "all have ended", posts.Send(t.Context(), 5), ErrClosed)
}

// Send marshals before it returns (Eliom rows 6b83c9f81, 5a580302e; Fiber
// reuses the buffers behind its strings).
func TestSendKeepsNothingBorrowed(t *testing.T) {
	type message struct{ Text string }
	posts, s := Push[message]()
	queued := pulled(t, s.Clone(), JSON)
	f := pushed(t, s, JSON)
	buf := []byte("hello")
	if err := posts.Send(t.Context(), message{unsafe.String(&buf[0], len(buf))}); err != nil {
		t.Fatal(err)
	}
	copy(buf, "XXXXX")
	mustEqual(t, "channel", f.values(), []string{`{"Text":"hello"}`})
	got, _ := queued.pull(t.Context())
	mustEqual(t, "waiting", []string{got}, []string{`{"Text":"hello"}`})
}

// A head is claimed while values are sent: it hears what waited, then what
// comes, in order and without a gap.
func TestClaimWhileSending(t *testing.T) {
	for range 200 {
		posts, s := Push[int](StreamConfig{Waiting: 100_000})
		late := s.Clone()
		a := pushed(t, s, JSON)
		var sent atomic.Int64
		var wg sync.WaitGroup
		var stop atomic.Bool
		wg.Go(func() {
			for i := 1; !stop.Load(); i++ {
				if err := posts.Send(t.Context(), i); err != nil {
					t.Error(err)
					return
				}
				sent.Store(int64(i))
			}
		})
		for sent.Load() < 3 {
			runtime.Gosched()
		}
		b := pushed(t, late, otherJSON{})
		for at := sent.Load(); sent.Load() < at+3; {
			runtime.Gosched()
		}
		stop.Store(true)
		wg.Wait()
		mustEqual(t, "from the start", a.values(), numbers(1, int(sent.Load())))
		mustEqual(t, "claimed meanwhile", b.values(), numbers(1, int(sent.Load())))
	}
}

// otherJSON is JSON under another name: what waits must be recoded for it.
type otherJSON struct{ jsonEncoding }

func (otherJSON) Name() string { return "other" }

// Each goroutine's values keep their order, from any number of goroutines.
func TestSendConcurrently(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	posts, s := Push[string](StreamConfig{Waiting: 10_000})
	feeds := []*fakeFeed{pushed(t, s.Clone(), Text), pushed(t, s.Clone(), Text), pulled(t, s, Text)}
	var wg sync.WaitGroup
	for g := range 4 {
		rnd := rand.New(rand.NewPCG(seed, uint64(g)))
		wg.Go(func() {
			for i := range 1000 {
				if err := posts.Send(t.Context(), fmt.Sprintf("%d %d", g, i)); err != nil {
					t.Error(err)
				}
				if rnd.IntN(4) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	posts.Close()
	queued, _ := feeds[2].drainAll(t)
	for i, values := range [][]string{feeds[0].values(), feeds[1].values(), queued} {
		next := make([]int, 4)
		for _, v := range values {
			var g, n int
			fmt.Sscan(v, &g, &n)
			if n != next[g] {
				t.Fatalf("head %d: goroutine %d's value %d came when %d was due", i, g, n, next[g])
			}
			next[g]++
		}
		if len(values) != 4000 {
			t.Errorf("head %d: %d values", i, len(values))
		}
	}
}

// The path of every message: one marshalling, and little besides.
func BenchmarkSend(b *testing.B) {
	for _, heads := range []int{1, 2} {
		b.Run(fmt.Sprintf("heads=%d", heads), func(b *testing.B) {
			posts, s := Push[string]()
			for h := range heads {
				stream := s
				if h < heads-1 {
					stream = s.Clone()
				}
				stream.head.reserve()
				stream.head.claim("bench", Text, nil, nil)
				stream.head.drain(b.Context(), discard{})
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := posts.Send(b.Context(), "a message of the usual size, more or less"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPump(b *testing.B) {
	n := 0
	s := From(func(context.Context) (string, error) {
		if n == b.N {
			return "", io.EOF
		}
		n++
		return "a message of the usual size, more or less", nil
	})
	s.head.reserve()
	s.head.claim("bench", Text, nil, nil)
	b.ReportAllocs()
	b.ResetTimer()
	carry(b.Context(), s.head, discard{})
}

type discard struct{}

func (discard) Put(context.Context, []byte) error { return nil }
func (d discard) PutOnce(ctx context.Context, _ string, data []byte) error {
	return d.Put(ctx, data)
}
func (discard) End(error) {}
