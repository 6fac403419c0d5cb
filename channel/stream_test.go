package channel

import (
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// One stream feeds one channel: a second use is an error before anything is
// read.
func TestStreamIsUsedOnce(t *testing.T) {
	var c counter
	s := From(c.next)
	if err := s.head.reserve(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "use while the first is being made", s.head.reserve(), ErrReused)
	s.head.release()
	f := pulled(t, s, JSON)
	mustBe(t, "second use", s.head.reserve(), ErrReused)
	mustBe(t, "clone of a used stream", s.Clone().err, ErrReused)
	if c.reads != 0 {
		t.Fatalf("the source was read %d times", c.reads)
	}
	_, err := f.pull(t.Context())
	mustBe(t, "pull", err, io.EOF)
}

func TestNilSources(t *testing.T) {
	for _, s := range []*Stream[int]{From[int](nil), FromChan[int](nil), FromSeq[int](nil), From[int](nil).Clone(), {}, nil} {
		if err := checkStream(s); err == nil || !strings.Contains(err.Error(), "nil") && !strings.Contains(err.Error(), "empty") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// A fault in a StreamConfig is told by whoever uses the stream.
func TestStreamConfigFaults(t *testing.T) {
	for _, config := range [][]StreamConfig{{{Waiting: -1}}, {{WaitingBytes: -1}}, {{}, {}}} {
		_, s := Push[int](config...)
		mustBe(t, "Push", checkStream(s), ErrBadConfig)
		ok := From((&counter{}).next)
		mustBe(t, "Clone", checkStream(ok.Clone(config...)), ErrBadConfig)
		if ok.head.fan.cloned {
			t.Fatal("a faulty Clone made a clone")
		}
	}
}

// Eliom row "ended create_unlimited": an ended source is not read again,
// however often it is asked for.
func TestEndedSourceIsNotReadAgain(t *testing.T) {
	failure := errors.New("database is on fire")
	for _, end := range []error{io.EOF, failure} {
		reads := 0
		f := pulled(t, From(func(context.Context) (int, error) { reads++; return 7, end }), JSON)
		for range 1000 {
			v, err := f.pull(t.Context())
			if mustBe(t, "pull", err, end); v != "" {
				t.Fatalf("the value beside an error was kept: %q", v)
			}
		}
		if reads != 1 {
			t.Errorf("%v: read %d times", end, reads)
		}
	}
}

// Eliom row "source exception", rule 13: a panic is the channel's error, not
// the process's.
func TestSourcePanics(t *testing.T) {
	for name, s := range map[string]*Stream[int]{
		"From":    From(func(context.Context) (int, error) { panic(io.EOF) }),
		"FromSeq": FromSeq(func(context.Context) iter.Seq2[int, error] { panic(io.EOF) }),
		"in seq": FromSeq(func(context.Context) iter.Seq2[int, error] {
			return func(func(int, error) bool) { panic(io.EOF) }
		}),
	} {
		f := pumped(t, s, JSON)
		<-f.done
		var p *PanicError
		if err := f.ended(); !errors.As(err, &p) || p.Value != io.EOF || errors.Is(err, io.EOF) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

// A source that leaves its goroutine, as t.FailNow does, ends its channel too.
func TestSourceGoexit(t *testing.T) {
	reads := 0
	f := pumped(t, From(func(context.Context) (int, error) {
		if reads++; reads == 2 {
			runtime.Goexit()
		}
		return reads, nil
	}), JSON)
	<-f.done
	mustBe(t, "From", f.ended(), errExited)
	g := pumped(t, FromSeq(func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) { yield(1, nil); runtime.Goexit() }
	}), JSON)
	<-g.done
	mustBe(t, "FromSeq", g.ended(), errExited)
	mustEqual(t, "before", g.values(), numbers(1, 1))
}

func TestFromChan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int)
		f := pumped(t, FromChan(c), JSON)
		c <- 1
		c <- 2
		synctest.Wait()
		mustEqual(t, "sent", f.values(), numbers(1, 2))
		close(c)
		synctest.Wait()
		mustBe(t, "closed Go channel", f.ended(), io.EOF)
	})
}

// The channel's end ends its pump, and the source's context with the cause.
func TestPumpEndsWithChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		f := pumped(t, From(func(ctx context.Context) (int, error) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return 0, ctx.Err()
		}), JSON)
		synctest.Wait()
		f.End(ErrProcessGone)
		synctest.Wait()
		mustBe(t, "the source's cause", cause, ErrProcessGone)
	})
}

// A pump ends its channel with what the channel said of a value.
func TestPumpEndsWithPutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{n: 10}
		s := From(c.next)
		f := newFakeFeed(s.head)
		f.fail = func(data string) error {
			if data == "3" {
				return ErrTooLarge
			}
			return nil
		}
		s.head.claim("fake", JSON, nil, nil)
		go pump(t.Context(), s.head, f)
		synctest.Wait()
		mustBe(t, "end", f.ended(), ErrTooLarge)
		mustEqual(t, "put", f.values(), numbers(1, 2))
		if c.reads != 3 {
			t.Errorf("read %d times", c.reads)
		}
	})
}

// A channel that has ended wants nothing of what waits for it, nor of its
// source.
func TestNothingAfterTheEnd(t *testing.T) {
	c := &counter{n: 10}
	s := From(c.next)
	a, b := pulled(t, s.Clone(), JSON), pulled(t, s, JSON)
	if _, err := b.pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.End(ErrProcessGone) // 1 waits for it
	v, err := a.pull(t.Context())
	if mustBe(t, "pull", err, ErrProcessGone); v != "" || c.reads != 1 {
		t.Errorf("got %q, %d reads", v, c.reads)
	}
}
