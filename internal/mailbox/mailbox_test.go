package mailbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/ocsigo/comet/internal/mailbox"
)

func put(t *testing.T, b *mailbox.Box, n int) {
	t.Helper()
	for i := range n {
		if err := b.Put([]byte(fmt.Sprint(i))); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
	}
}

// TestFullAtExactlySize proves rule 7 where Eliom's HEAD admits one more
// (eliom.md 4b, "length > size").
func TestFullAtExactlySize(t *testing.T) {
	for _, size := range []int{1, 2, 1000} {
		b := mailbox.New(size, 1<<20)
		put(t, b, size)
		if b.Unsent() != size || b.Final() {
			t.Fatalf("size %d: %d unsent, final %v", size, b.Unsent(), b.Final())
		}
		if err := b.Put([]byte("over")); !errors.Is(err, mailbox.ErrFull) {
			t.Fatalf("size %d: one more gave %v", size, err)
		}
		if err := b.Put([]byte("later")); !errors.Is(err, mailbox.ErrFinished) {
			t.Fatalf("size %d: after full: %v", size, err)
		}
		e, ok := b.Take(1)
		if !ok || e.Kind != mailbox.Full || e.Reason != "overflow" || b.Unsent() != 0 {
			t.Fatalf("size %d: full left %+v, %d unsent", size, e, b.Unsent())
		}
	}
}

func TestFullByBytes(t *testing.T) {
	b := mailbox.New(1000, 10)
	if err := b.Put(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := b.Put([]byte{0}); !errors.Is(err, mailbox.ErrFull) {
		t.Fatalf("an eleventh byte: %v", err)
	}
}

func TestSentAreKeptUnderTheirNumbers(t *testing.T) {
	b := mailbox.New(3, 1<<20)
	for n := uint64(1); n <= 5; n++ {
		put(t, b, 1)
		if e, ok := b.Take(n * 10); !ok || e.Number != n*10 {
			t.Fatalf("took %+v", e)
		}
	}
	if b.Discarded() != 20 || b.Newest() != 50 {
		t.Fatalf("discarded %d, newest %d", b.Discarded(), b.Newest())
	}
	var got []uint64
	for k := uint64(20); ; {
		e, ok := b.After(k)
		if !ok {
			break
		}
		got = append(got, e.Number)
		k = e.Number
	}
	if fmt.Sprint(got) != "[30 40 50]" {
		t.Fatalf("after 20 come %v", got)
	}
}

func TestSentAreBoundedInBytes(t *testing.T) {
	b := mailbox.New(1000, 100)
	for n := uint64(1); n <= 3; n++ {
		if err := b.Put(make([]byte, 60)); err != nil {
			t.Fatal(err)
		}
		b.Take(n)
	}
	if b.Discarded() != 2 {
		t.Fatalf("discarded up to %d, want 2", b.Discarded())
	}
}

func TestFinishComesAfterTheUnsent(t *testing.T) {
	b := mailbox.New(2, 100)
	put(t, b, 2)
	b.Finish(mailbox.End, "end")
	b.Finish(mailbox.Closed, "closed")
	b.Take(1)
	b.Take(2)
	e, ok := b.Take(3)
	if !ok || e.Kind != mailbox.End {
		t.Fatalf("third is %+v", e)
	}
	if _, ok := b.Take(4); ok {
		t.Fatal("something follows the end")
	}
	b.Fail(mailbox.Full, "trimmed")
	if b.Unsent() != 0 {
		t.Fatal("a finished box failed again")
	}
}

// TestFIFO proves eliom.md 4a (29b48fcff): the order holds over every batch
// limit.
func TestFIFO(t *testing.T) {
	for _, batch := range []int{1, 99, 100, 101, 250} {
		b := mailbox.New(1000, 1<<20)
		next, taken, number := 0, 0, uint64(0)
		for taken < 2000 {
			for range min(batch+7, 1000-b.Unsent()) {
				if err := b.Put([]byte(fmt.Sprint(next))); err != nil {
					t.Fatal(err)
				}
				next++
			}
			for range batch {
				number++
				e, ok := b.Take(number)
				if !ok {
					break
				}
				if !bytes.Equal(e.Data, []byte(fmt.Sprint(taken))) {
					t.Fatalf("batch %d: got %s, want %d", batch, e.Data, taken)
				}
				taken++
			}
		}
	}
}

func TestLoseLeavesAFull(t *testing.T) {
	b := mailbox.New(2, 100)
	for n := uint64(1); n <= 4; n++ {
		put(t, b, 1)
		b.Take(n)
	}
	put(t, b, 1)
	b.Lose(9, "trimmed")
	if b.Unsent() != 0 || !b.Final() || b.Discarded() != 0 {
		t.Fatalf("%d unsent, discarded %d", b.Unsent(), b.Discarded())
	}
	e, ok := b.After(4)
	if !ok || e.Kind != mailbox.Full || e.Number != 9 || e.Reason != "trimmed" {
		t.Fatalf("what is left is %+v", e)
	}
	if _, ok := b.After(9); ok {
		t.Fatal("something follows the full")
	}
}

func TestTheEndPushesNothingOut(t *testing.T) {
	b := mailbox.New(1, 100)
	put(t, b, 1)
	b.Take(1)
	b.Finish(mailbox.Closed, "closed")
	b.Take(2)
	if e, ok := b.After(0); !ok || e.Kind != mailbox.Data || b.Discarded() != 0 {
		t.Fatalf("the last value is not kept: %+v, discarded %d", e, b.Discarded())
	}
}
