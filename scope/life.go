package scope

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// life is a channel's or a process's one-way switch from living to ended. A
// channel's outlives the channel itself: a Feed whose channel was collected still
// learns why.
type life struct {
	over  atomic.Bool
	stop  func(error)
	cause error // set before over

	mu   sync.Mutex
	done chan struct{} // nil until somebody asks for it: of most lives nobody does
}

func newLife(stop func(error)) *life { return &life{stop: stop} }

// end flips the switch and calls the Spec's Stop; only the first call does
// anything, and it reports true. Call it without any lock.
func (l *life) end(cause error) (first bool) {
	if first = l.flip(cause); first {
		l.tell()
	}
	return first
}

// flip is end under locks: who was first has to tell, without them.
func (l *life) flip(cause error) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over.Load() {
		return false
	}
	l.cause = cause
	l.over.Store(true)
	if l.done != nil {
		close(l.done)
	}
	return true
}

// tell calls the Spec's Stop.
func (l *life) tell() {
	if l.stop != nil {
		l.stop(l.cause)
	}
}

func (l *life) ended() bool { return l.over.Load() }

// ending is closed when the switch is flipped.
func (l *life) ending() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.over.Load() {
			close(l.done)
		}
	}
	return l.done
}

func (l *life) err() error {
	if !l.ended() {
		return nil
	}
	return l.cause
}

// refusal is what Put answers on a channel that has ended.
func (l *life) refusal(name string) error {
	cause := l.err()
	switch {
	case errors.Is(cause, ErrFull), errors.Is(cause, ErrClosed):
		return fmt.Errorf("channel %s: %w", name, cause)
	case cause == nil, errors.Is(cause, io.EOF):
		return fmt.Errorf("channel %s: %w", name, ErrClosed)
	}
	return fmt.Errorf("channel %s: %w: %w", name, ErrClosed, cause)
}

// endReason is how readers are told of a channel's end: by which control event
// and with which reason.
func endReason(cause error) (event, reason string) {
	switch {
	case errors.Is(cause, io.EOF):
		return "end", "end"
	case errors.Is(cause, ErrFull):
		return "full", "overflow"
	case errors.Is(cause, ErrClosed), errors.Is(cause, ErrProcessGone), errors.Is(cause, ErrShutdown):
		return "closed", "closed"
	}
	return "end", "error"
}

// logFailure tells the logger of a source that failed: the app may hold nothing
// of the channel, and its readers are told only that it ended.
func (s *Site) logFailure(name string, cause error) {
	if event, reason := endReason(cause); event == "end" && reason == "error" {
		s.getHooks().Logger.Error("comet: a channel's source failed", "channel", name, "error", cause)
	}
}
