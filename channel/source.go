package channel

import (
	"context"
	"io"
)

// A source is where a fan's values come from when they are read and not sent.
// It is read by one reader at a time.
type source interface {
	// next waits for the next value, until ctx ends. A value that came in spite
	// of ctx is returned; one that is still on its way is kept for the next
	// call. After an error that is not ctx's the source is not read again.
	next(ctx context.Context) (any, error)
	// stop says that nobody reads any more. It does not wait.
	stop(cause error)
}

// A funcSource is the function given to From.
type funcSource[T any] func(context.Context) (T, error)

func (f funcSource[T]) next(ctx context.Context) (any, error) { return f(ctx) }
func (f funcSource[T]) stop(error)                            {}

// A chanSource is the Go channel given to FromChan.
type chanSource[T any] <-chan T

func (c chanSource[T]) next(ctx context.Context) (any, error) {
	select {
	case v, ok := <-c:
		if !ok {
			return nil, io.EOF
		}
		return v, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c chanSource[T]) stop(error) {}
