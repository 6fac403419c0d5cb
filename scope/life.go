package scope

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// life is a channel's one-way switch from living to ended. It outlives the
// channel itself: a Feed whose channel was collected still learns why.
type life struct {
	done  chan struct{}
	once  sync.Once
	cause error // set before done is closed
	stop  func(error)
}

func newLife(stop func(error)) *life {
	return &life{done: make(chan struct{}), stop: stop}
}

// end flips the switch and calls the Spec's Stop; only the first call does
// anything, and it reports true. Call it without any lock.
func (l *life) end(cause error) (first bool) {
	l.once.Do(func() {
		first = true
		l.cause = cause
		close(l.done)
		if l.stop != nil {
			l.stop(cause)
		}
	})
	return first
}

func (l *life) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
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
