package channel

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counting is an encoding that counts what it encodes.
type counting struct {
	Encoding
	n *atomic.Int64
}

func (c counting) Encode(v any) ([]byte, error) { c.n.Add(1); return c.Encoding.Encode(v) }

// Eliom's clone (study 2.9, 3.11): the values are doubled, not shared out, and
// each encoding marshals them once.
func TestCloneDoubles(t *testing.T) {
	c := &counter{n: 100}
	var n atomic.Int64
	enc := counting{JSON, &n}
	s := From(c.next)
	a := pulled(t, s.Clone(), enc)
	b := pulled(t, s.Clone(), enc)
	last := pulled(t, s, enc)
	for _, f := range []*fakeFeed{a, b, last} {
		got, err := f.drainAll(t)
		mustEqual(t, "head", got, numbers(1, 100))
		mustBe(t, "end", err, io.EOF)
	}
	if c.reads != 101 || n.Load() != 100 {
		t.Errorf("%d reads, %d encodings", c.reads, n.Load())
	}
}

// A clone begins where its stream was cloned.
func TestCloneBeginsHere(t *testing.T) {
	c := &counter{n: 6}
	s := From(c.next)
	a := pulled(t, s.Clone(), JSON)
	for range 2 {
		if _, err := a.pull(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	late := s.Clone() // s has 1 and 2 waiting
	got, _ := pulled(t, late, JSON).drainAll(t)
	mustEqual(t, "late clone", got, numbers(1, 6))
	got, _ = pulled(t, s, JSON).drainAll(t)
	mustEqual(t, "its stream", got, numbers(1, 6))
	got, _ = a.drainAll(t)
	mustEqual(t, "first clone", got, numbers(3, 6))

	s = From(c.next)
	pulled(t, s.Clone(), JSON).drainAll(t)
	got, err := pulled(t, s.Clone(), JSON).drainAll(t) // cloned after the source ended
	mustEqual(t, "clone of an ended stream", got, nil)
	if mustBe(t, "its end", err, io.EOF); c.reads != 8 {
		t.Errorf("%d reads: an ended source was read again", c.reads)
	}
}

// Values that wait for a head without a channel wait as JSON, and reach it in
// its channel's encoding.
func TestCloneInOtherEncodings(t *testing.T) {
	c := make(chan level, 2)
	c <- "warn"
	c <- "error"
	close(c)
	s := FromChan(c)
	text, html := s.Clone(), s
	a := pumped(t, s.Clone(), JSON)
	<-a.done
	mustEqual(t, "JSON", a.values(), []string{`"warn"`, `"error"`})
	got, _ := pulled(t, text, Text).drainAll(t)
	mustEqual(t, "Text", got, []string{"warn", "error"})
	_, err := pulled(t, html, HTML).drainAll(t) // HTML does not carry a level
	if err == nil || err == io.EOF {
		t.Errorf("HTML: %v", err)
	}
}

// Rule 13: a head that falls further behind than may wait for it ends with
// ErrFull, exactly there; its siblings go on.
func TestCloneFallsBehind(t *testing.T) {
	c := &counter{n: 11}
	s := From(c.next)
	used := pulled(t, s.Clone(StreamConfig{Waiting: 10}), JSON)
	unused := s.Clone(StreamConfig{Waiting: 9})
	bytes := s.Clone(StreamConfig{Waiting: 1000, WaitingBytes: 5})
	a := pulled(t, s, JSON)
	for _, step := range []struct {
		pulls                 int
		unused, bytes, inUsed error
	}{{5, nil, nil, nil}, {4, nil, ErrFull, nil}, {1, ErrFull, ErrFull, nil}, {1, ErrFull, ErrFull, ErrFull}} {
		for range step.pulls {
			if _, err := a.pull(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if unused.head.end != step.unused || bytes.head.end != step.bytes || used.ended() != step.inUsed {
			t.Fatalf("after %d reads: %v, %v, %v", c.reads, unused.head.end, bytes.head.end, used.ended())
		}
	}
	if used.head.queue.len() != 0 || unused.head.queue.len() != 0 {
		t.Error("what waited for a full head is kept")
	}
	mustBe(t, "use of a head that fell behind", unused.head.reserve(), ErrFull)
	_, err := used.pull(t.Context())
	mustBe(t, "pull", err, ErrFull)
	_, err = a.pull(t.Context())
	mustBe(t, "the sibling's end", err, io.EOF)
}

// A source that fails with ErrFull itself has not fallen behind: what waits is
// read before its end.
func TestCloneOfAFullSource(t *testing.T) {
	n := 0
	s := From(func(context.Context) (int, error) {
		if n++; n > 2 {
			return 0, ErrFull
		}
		return n, nil
	})
	late := s.Clone()
	a, b := pulled(t, s.Clone(), JSON), pulled(t, s, JSON)
	a.drainAll(t)
	for _, f := range []*fakeFeed{b, pulled(t, late, JSON)} {
		got, err := f.drainAll(t)
		mustEqual(t, "values", got, numbers(1, 2))
		mustBe(t, "end", err, ErrFull)
	}
}

// The reader of the moment gives up: the others read on, and nothing is lost,
// whether the source obeys the context (it keeps its value) or returns a value
// in spite of it.
func TestCloneReaderGivesUp(t *testing.T) {
	for name, obeys := range map[string]bool{"obeys": true, "returns a value in spite": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				s := From(func(ctx context.Context) (int, error) {
					select {
					case <-ctx.Done():
						if obeys {
							return 0, errors.New("query interrupted")
						}
					case <-time.After(time.Minute):
					}
					n++
					return n, nil
				})
				a, b := pulled(t, s.Clone(), JSON), pulled(t, s, JSON)
				impatient, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var wg sync.WaitGroup
				var fromB string
				wg.Go(func() { a.pull(impatient) })
				synctest.Wait()
				wg.Go(func() { fromB, _ = b.pull(t.Context()) })
				wg.Wait()
				if fromB != "1" {
					t.Errorf("b heard %q", fromB)
				}
				fromA, err := a.pull(t.Context())
				if fromA != "1" || err != nil {
					t.Errorf("a heard %q, %v", fromA, err)
				}
			})
		})
	}
}

// Nothing is read ahead: heads that all wait are all served by one read.
func TestCloneReadsOnceForAll(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c := make(chan int)
			reads := 0
			s := From(func(ctx context.Context) (int, error) {
				reads++
				select {
				case v := <-c:
					return v, nil
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			})
			var wg sync.WaitGroup
			for range 4 {
				f := pulled(t, s.Clone(), JSON)
				wg.Go(func() {
					if v, err := f.pull(t.Context()); v != "7" {
						t.Errorf("heard %q, %v", v, err)
					}
				})
			}
			synctest.Wait()
			c <- 7
			wg.Wait()
			if reads != 1 {
				t.Errorf("%d reads for one value", reads)
			}
			s.head.abandon()
		})
	}
}

// A head that was served while it waited for its turn does not read.
func TestCloneServedWhileWaiting(t *testing.T) {
	c := &counter{n: 10}
	s := From(c.next)
	a, b := pulled(t, s.Clone(), JSON), pulled(t, s, JSON)
	if _, err := b.pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.head.fan.turn <- struct{}{} // a's turn comes too late: 1 waits for it
	s.head.fan.read(t.Context(), a.head)
	if c.reads != 1 || len(s.head.fan.turn) != 0 {
		t.Errorf("%d reads for one value; turn held: %v", c.reads, len(s.head.fan.turn) != 0)
	}
}

// A panic and io.EOF are the source's end, also where its reader gave up at the
// same moment: it is not read again.
func TestCloneEndsOnCancel(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("interrupted") }, "EOF": func() {}} {
		ctx, cancel := context.WithCancel(t.Context())
		reads := 0
		s := From(func(context.Context) (int, error) { reads++; cancel(); end(); return 0, io.EOF })
		a, b := pulled(t, s.Clone(), JSON), pulled(t, s, JSON)
		_, err := a.pull(ctx)
		mustBe(t, "the reader that gave up", err, context.Canceled)
		if _, err := b.pull(t.Context()); err != io.EOF && !isPanic(err) || reads != 1 {
			t.Errorf("%s: the other: %v after %d reads", name, err, reads)
		}
	}
}

// Eliom row "cancelling one reader killed the shared stream": one head's end is
// nobody else's.
func TestCloneHeadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int)
		s := FromChan(c)
		a, b := pumped(t, s.Clone(), JSON), pumped(t, s, JSON)
		c <- 1
		synctest.Wait()
		a.End(ErrClosed)
		c <- 2
		synctest.Wait()
		mustEqual(t, "the closed one", a.values(), numbers(1, 1))
		mustEqual(t, "the other", b.values(), numbers(1, 2))
		if len(s.head.fan.heads) != 1 {
			t.Errorf("%d heads are left", len(s.head.fan.heads))
		}
		close(c)
	})
}

// Rule 13: what one encoding cannot carry ends the channels with that encoding,
// each after what waited, and no others.
func TestCloneMarshalError(t *testing.T) {
	c := make(chan any, 3)
	c <- "one"
	c <- 2 // Text carries no int
	c <- "three"
	close(c)
	s := FromChan(c)
	text, json := pulled(t, s.Clone(), Text), pulled(t, s, JSON)
	got, err := json.drainAll(t)
	mustEqual(t, "JSON", got, []string{`"one"`, "2", `"three"`})
	mustBe(t, "JSON's end", err, io.EOF)
	got, err = text.drainAll(t)
	mustEqual(t, "Text", got, []string{"one"})
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Text's end: %v", err)
	}
}

// A clone that is dropped without a channel lets go of the source, and of what
// waits for it.
func TestDroppedCloneLetsGo(t *testing.T) {
	done := make(chan struct{})
	f := func() *fakeFeed {
		s := FromSeq(func(context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				defer close(done)
				for i := 1; yield(i, nil); i++ {
				}
			}
		})
		return pulled(t, s.Clone(), JSON)
	}()
	if _, err := f.pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.End(ErrClosed)
	for range 500 {
		runtime.GC()
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("the iterator still runs for a stream that nobody has")
}

// Heads read at random speeds and come and go: each hears an unbroken run of
// the source, once and in order.
func TestCloneConcurrently(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const n = 5000
	c := &counter{n: n}
	s := From(c.next)
	var wg sync.WaitGroup
	for i := range 8 {
		f := pulled(t, s.Clone(StreamConfig{Waiting: n}), JSON)
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			var got []string
			for len(got) < n {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(200))*time.Microsecond)
				v, err := f.pull(ctx)
				cancel()
				if err == nil {
					got = append(got, v)
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("head %d after %d: %v", i, len(got), err)
					return
				}
				if i == 0 && len(got) == n/2 {
					f.End(ErrClosed)
					return
				}
			}
			if !slices.Equal(got, numbers(1, n)) {
				t.Errorf("head %d is out of order: %s", i, brief(got))
			}
		})
	}
	s.head.abandon()
	wg.Wait()
	if c.reads != n {
		t.Errorf("%d reads for %d values", c.reads, n)
	}
}
