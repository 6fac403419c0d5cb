package channel

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/ocsigo/comet/scope"
)

// An inQueue holds what was received and not read, within bounds. The values of
// one command come in together or not at all.
type inQueue[T any] struct {
	news chan struct{} // a value, or the end, may be there; room for one

	mu                 sync.Mutex
	items              []arrival[T]
	bytes              int
	maxItems, maxBytes int
	end                error
}

// An arrival is a value, how long its JSON was, and by what a repeated one is
// known.
type arrival[T any] struct {
	Received[T]
	bytes int
	id    string
}

func newInQueue[T any](values, bytes int) *inQueue[T] {
	q := &inQueue[T]{news: make(chan struct{}, 1), maxItems: defaultWaiting, maxBytes: defaultWaitingBytes}
	if values > 0 {
		q.maxItems = values
	}
	if bytes > 0 {
		q.maxBytes = bytes
	}
	return q
}

// fullAgain is how soon a page may try again that met a full queue.
const fullAgain = time.Second

// take is what a command's values come to.
func (q *inQueue[T]) take(_ context.Context, values []arrival[T]) (int, error) {
	bytes := 0
	for _, v := range values {
		bytes += v.bytes
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil {
		return 0, &scope.CommandError{Code: "gone", Message: "the inbox has just closed"}
	}
	if len(q.items)+len(values) > q.maxItems || len(q.items) > 0 && q.bytes+bytes > q.maxBytes {
		return 0, &scope.CommandError{
			Code: "full", RetryAfter: fullAgain,
			Message: "more values wait to be read than the inbox holds: try again",
		}
	}
	q.items = append(q.items, values...)
	q.bytes += bytes
	q.signal()
	return len(values), nil
}

func (q *inQueue[T]) next(ctx context.Context) (Received[T], error) {
	for {
		if err := ctx.Err(); err != nil {
			return Received[T]{}, err
		}
		if r, ok, end := q.pop(); ok {
			return r, nil
		} else if end != nil {
			return Received[T]{}, end
		}
		select {
		case <-q.news:
		case <-ctx.Done():
		}
	}
}

func (q *inQueue[T]) pop() (r Received[T], ok bool, end error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		if q.end != nil {
			q.signal() // for the next reader
		}
		return r, false, q.end
	}
	first := q.items[0]
	q.items[0] = arrival[T]{}
	if q.items = q.items[1:]; len(q.items) == 0 {
		q.items = nil
	} else {
		q.signal()
	}
	q.bytes -= first.bytes
	return first.Received, true, nil
}

// finish lets nothing more come in.
func (q *inQueue[T]) finish(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end = cause
	if errors.Is(cause, ErrClosed) {
		q.end = io.EOF
	}
	q.signal()
}

// signal wakes one reader, who wakes the next. q.mu is held.
func (q *inQueue[T]) signal() {
	select {
	case q.news <- struct{}{}:
	default:
	}
}
