package wire_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// script is a Source that says what a test tells it to, and reports every call
// that the contract does not allow.
type script struct {
	t       *testing.T
	collect func(b *sse.Batch, budget int) (bool, error) // in place of the queue
	panicIn string                                       // Start, Collect or Gone
	early   bool                                         // wake within Start

	hearGone func(cause error) // besides gone

	mu      sync.Mutex
	wake    func()
	queue   []string
	end     error
	budgets map[int]int // budget asked for → largest batch given

	started    atomic.Int32
	collecting atomic.Bool
	left       atomic.Int32
	gone       chan error
}

// newScript makes a script and, when the test is over, checks that Gone is
// called exactly once.
func newScript(t *testing.T) *script {
	s := &script{t: t, gone: make(chan error, 8), budgets: map[int]int{}}
	t.Cleanup(func() {
		eventually(t, "Gone is called", func() bool { return s.left.Load() > 0 })
		if n := s.left.Load(); n != 1 {
			t.Errorf("Gone was called %d times, want exactly 1", n)
		}
		if n := s.started.Load(); n > 1 {
			t.Errorf("Start was called %d times, want at most 1", n)
		}
	})
	return s
}

// quiet makes a Logger for tests in which a panic is logged on purpose.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// say queues events and wakes the writer, under the lock: wake must bear that.
func (s *script) say(events ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, events...)
	if s.wake != nil {
		s.wake()
	}
}

// finish ends the stream after what is queued; nil ends it cleanly.
func (s *script) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end = err; err == nil {
		s.end = io.EOF
	}
	if s.wake != nil {
		s.wake()
	}
}

func (s *script) Start(wake func()) {
	s.started.Add(1)
	s.mu.Lock()
	s.wake = wake
	s.mu.Unlock()
	if s.panicIn == "Start" {
		panic("Start panics, as told")
	}
	if s.early {
		wake()
	}
}

func (s *script) Collect(b *sse.Batch, budget int) (bool, error) {
	if !s.collecting.CompareAndSwap(false, true) {
		s.t.Error("Collect is called by two goroutines at a time")
	}
	defer s.collecting.Store(false)
	if s.started.Load() == 0 {
		s.t.Error("Collect is called before Start")
	}
	if s.left.Load() > 0 {
		s.t.Error("Collect is called after Gone")
	}
	if b.Len() != 0 {
		s.t.Errorf("Collect is given a batch with %d bytes in it", b.Len())
	}
	if s.panicIn == "Collect" {
		panic("Collect panics, as told")
	}
	if s.collect != nil {
		return s.collect(b, budget)
	}
	return s.take(b, budget)
}

func (s *script) take(b *sse.Batch, budget int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && b.Len() < budget {
		b.Event(nil, "", []byte(s.queue[0]))
		s.queue = s.queue[1:]
	}
	s.budgets[budget] = max(s.budgets[budget], b.Len())
	if len(s.queue) > 0 {
		return true, nil
	}
	return false, s.end
}

func (s *script) Gone(cause error) {
	s.left.Add(1)
	if s.collecting.Load() {
		s.t.Error("Gone is called while Collect runs")
	}
	s.gone <- cause
	if s.hearGone != nil {
		s.hearGone(cause)
	}
	if s.panicIn == "Gone" {
		panic("Gone panics, as told")
	}
}

// patience is how long a test waits for what must happen, on a busy machine
// under the race detector. Nothing is expected to take a hundredth of it.
const patience = time.Minute

// eventually waits for what happens soon, but not at a moment the test knows.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for start := time.Now(); !happened(); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// waitGone waits for Gone and checks its cause; a nil want is a clean end.
func (s *script) waitGone(want error) {
	s.t.Helper()
	select {
	case got := <-s.gone:
		if !errors.Is(got, want) {
			s.t.Errorf("Gone(%v), want %v", got, want)
		}
	case <-time.After(patience):
		s.t.Fatalf("Gone was not called within %v", patience)
	}
}

// numbered gives from events, "a 0", "a 1", …
func numbered(prefix string, n int) []string {
	events := make([]string, n)
	for i := range events {
		events[i] = prefix + " " + strconv.Itoa(i)
	}
	return events
}

// flood is a Collect that always has more to say.
func flood() func(*sse.Batch, int) (bool, error) {
	n := 0
	return func(b *sse.Batch, budget int) (bool, error) {
		for b.Len() < budget {
			b.Event(nil, "", fmt.Appendf(nil, "flood %d", n))
			n++
		}
		return true, nil
	}
}

var _ wire.Source = (*script)(nil)
