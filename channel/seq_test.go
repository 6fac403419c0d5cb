package channel

import (
	"context"
	"errors"
	"io"
	"iter"
	"testing"
	"testing/synctest"
	"time"
)

// Rule 9, Eliom row "prefetch in unlimited": nothing of an iterator runs before
// it is asked for, or ahead.
func TestSeqAdvancesOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := 0
		f := pulled(t, FromSeq(func(context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for at = 1; yield(at, nil); at++ {
				}
			}
		}), JSON)
		synctest.Wait()
		if at != 0 {
			t.Fatal("the iterator began before the first demand")
		}
		for _, want := range numbers(1, 5) {
			got, err := f.pull(t.Context())
			synctest.Wait()
			if err != nil || got != want || numbers(at, at)[0] != want {
				t.Fatalf("got %q, %v with the iterator at %d, want %s", got, err, at, want)
			}
		}
		f.End(ErrClosed)
	})
}

func TestSeqEnds(t *testing.T) {
	failure := errors.New("no more paper")
	for _, end := range []error{nil, failure, io.EOF} {
		f := pulled(t, FromSeq(func(context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				if yield(1, nil) && end != nil && yield(0, end) {
					t.Error("yield of an error returned true")
				}
			}
		}), JSON)
		got, err := f.drainAll(t)
		mustEqual(t, "values", got, numbers(1, 1))
		if end == nil {
			end = io.EOF
		}
		mustBe(t, "end", err, end)
	}
}

// A demand whose reader gave up is answered to the next reader: nothing is
// lost, and the iterator runs on meanwhile.
func TestSeqReaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pulled(t, FromSeq(func(ctx context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for i := 1; ; i++ {
					time.Sleep(time.Minute)
					if !yield(i, nil) {
						return
					}
				}
			}
		}), JSON)
		for _, want := range numbers(1, 3) {
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, err := f.pull(ctx)
				cancel()
				mustBe(t, "impatient pull", err, context.DeadlineExceeded)
			}
			start := time.Now()
			got, err := f.pull(t.Context())
			if err != nil || got != want || time.Since(start) != 57*time.Second {
				t.Fatalf("got %q, %v after %v", got, err, time.Since(start))
			}
		}
		f.End(ErrClosed)
		synctest.Wait() // the iterator returns at its next yield, so the bubble can end
	})
}

// The channel's end ends the iterator: its context, and the yield it stands in.
func TestSeqStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		f := pulled(t, FromSeq(func(ctx context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for yield(1, nil) {
				}
				cause = context.Cause(ctx)
			}
		}), JSON)
		if _, err := f.pull(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.End(ErrProcessGone)
		synctest.Wait()
		mustBe(t, "the iterator's cause", cause, ErrProcessGone)
	})
}

// Also when a demand came at the same moment, the yield in which an iterator
// stands returns false at the end.
func TestSeqStopsOverADemand(t *testing.T) {
	for range 100 {
		s := newSeqSource(func(context.Context) iter.Seq2[int, error] { return nil })
		s.demand <- struct{}{}
		s.stop(ErrClosed)
		if s.yield(1) {
			t.Fatal("yield returned true after the end")
		}
	}
}
