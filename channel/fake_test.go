package channel

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A fakeFeed stands for a channel where a test must see each Put, or have it
// fail.
type fakeFeed struct {
	head *head
	done chan struct{} // closed by the first End

	mu    sync.Mutex
	put   []string
	cause error
	fail  func(data string) error // nil: take it
}

func newFakeFeed(h *head) *fakeFeed { return &fakeFeed{head: h, done: make(chan struct{})} }

func (f *fakeFeed) Put(ctx context.Context, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.fail != nil {
		if err := f.fail(string(data)); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return ErrClosed
	}
	f.put = append(f.put, string(data))
	return nil
}

func (f *fakeFeed) PutOnce(ctx context.Context, _ string, data []byte) error { return f.Put(ctx, data) }

// End calls back as scope does: once, without a lock.
func (f *fakeFeed) End(cause error) {
	f.mu.Lock()
	first := f.cause == nil
	if first {
		f.cause = cause
	}
	f.mu.Unlock()
	if first {
		close(f.done)
		f.head.stopper()(cause)
	}
}

func (f *fakeFeed) values() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.put)
}

func (f *fakeFeed) ended() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

// pushed claims a sent stream as create does.
func pushed[T any](t *testing.T, s *Stream[T], enc Encoding) *fakeFeed {
	t.Helper()
	f := newFakeFeed(s.head)
	if err := s.head.reserve(); err != nil {
		t.Fatal(err)
	}
	s.head.claim("fake", enc, nil, nil)
	if err := s.head.drain(t.Context(), f); err != nil {
		f.End(err)
	}
	return f
}

// pumped claims a read stream as create does.
func pumped[T any](t *testing.T, s *Stream[T], enc Encoding) *fakeFeed {
	t.Helper()
	f := newFakeFeed(s.head)
	if err := s.head.reserve(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s.head.claim("fake", enc, nil, cancel)
	go pump(ctx, s.head, f)
	return f
}

// pulled claims a stream as CreateUnlimited does.
func pulled[T any](t *testing.T, s *Stream[T], enc Encoding) *fakeFeed {
	t.Helper()
	f := newFakeFeed(s.head)
	if err := s.head.reserve(); err != nil {
		t.Fatal(err)
	}
	s.head.claim("fake", enc, f, nil)
	return f
}

// pull asks for one value.
func (f *fakeFeed) pull(ctx context.Context) (string, error) {
	data, err := f.head.pull(ctx)
	return string(data), err
}

// drainAll asks until the end.
func (f *fakeFeed) drainAll(t *testing.T) ([]string, error) {
	t.Helper()
	var got []string
	for {
		v, err := f.pull(t.Context())
		if err != nil {
			return got, err
		}
		got = append(got, v)
	}
}

// counter is a source of 1, 2, … n and io.EOF that counts how often it is read.
type counter struct {
	n     int
	reads int // read by one reader at a time, so without a lock: the race detector proves it
}

func (c *counter) next(ctx context.Context) (int, error) {
	c.reads++
	if c.reads > c.n {
		return 0, io.EOF
	}
	return c.reads, nil
}

func numbers(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, strconv.Itoa(i))
	}
	return s
}

func mustEqual(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %s\nwant %s", what, brief(got), brief(want))
	}
}

func brief(s []string) string {
	if len(s) > 20 {
		return strings.Join(s[:10], " ") + " … " + strings.Join(s[len(s)-10:], " ") + " (" + strconv.Itoa(len(s)) + ")"
	}
	return strings.Join(s, " ")
}

func mustBe(t *testing.T, what string, err error, all ...error) {
	t.Helper()
	for _, want := range all {
		if !errors.Is(err, want) {
			t.Fatalf("%s: got %v, want it to be %v", what, err, want)
		}
	}
}

func mustNotBe(t *testing.T, what string, err error, none ...error) {
	t.Helper()
	for _, not := range none {
		if errors.Is(err, not) {
			t.Fatalf("%s: got %v, which must not be %v", what, err, not)
		}
	}
}
