package channel

import (
	"context"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// ref makes a channel a scope.Ref by embedding one, without an exported field.
type ref = scope.Ref

// A Channel is the app's hold on a channel of values of type T. It is itself a
// Ref: Open(c, ch) is to hear what comes from then on, or, of a newest channel,
// its value at once. Safe for concurrent use.
//
// While a site's Channel is reachable it is not collected; see Create.
type Channel[T any] struct {
	ref
	handle *scope.Handle
	enc    Encoding
}

// Name returns the channel's name: that of its config, or the one made up for
// it.
func (c *Channel[T]) Name() string { return c.handle.Name() }

// History returns a Ref to the last n values, or as many as are kept, and what
// follows them. Opening fails with n below 0, and for a client process's
// channel, whose tab hears every value anyhow.
func (c *Channel[T]) History(n int) scope.Ref { return c.handle.History(n) }

// After returns a Ref to what follows position p, as Recent returned it. A
// reader for whom some of that is not kept any more hears full. Opening fails
// for a client process's channel.
func (c *Channel[T]) After(p engine.Position) scope.Ref { return c.handle.After(p) }

// Recent returns the last n values, or as many as are kept, oldest first, and
// the position after them, in one step: a page that shows them and hears After
// that position misses nothing and repeats nothing. The values are fresh
// copies. It does not block. Errors: ctx's, one for a client process's channel,
// and what the encoding says of a value that it cannot read back.
func (c *Channel[T]) Recent(ctx context.Context, n int) ([]T, engine.Position, error) {
	data, at, err := c.handle.Recent(ctx, n)
	if err != nil {
		return nil, engine.Position{}, named(c.Name(), err)
	}
	values := make([]T, len(data))
	for i, d := range data {
		if err := decode(c.enc, d, &values[i]); err != nil {
			return nil, engine.Position{}, named(c.Name(), err)
		}
	}
	return values, at, nil
}

// Close ends the channel: its source's context ends, its name is free, readers
// hear what is kept and then closed. It does not wait, and may be called again.
// It has no error result for the reason of [Sender.Close].
func (c *Channel[T]) Close() { c.handle.Close() }

// Done is closed when the channel has ended, whatever the cause.
func (c *Channel[T]) Done() <-chan struct{} { return c.handle.Done() }

// Err is nil before Done is closed. Then it says why the channel ended: io.EOF
// itself where the stream did; else, named and to be compared with errors.Is,
// ErrClosed, ErrFull, ErrProcessGone, ErrShutdown, a *PanicError, or what the
// source, the encoding or the engine said.
func (c *Channel[T]) Err() error { return named(c.Name(), c.handle.Err()) }

// An Unlimited is the app's hold on a channel that is read on demand; see
// CreateUnlimited. It has no history, as it keeps nothing. It is itself a Ref.
// Safe for concurrent use.
type Unlimited[T any] struct {
	ref
	handle *scope.Handle
}

// Name returns the channel's name: that of its config, or the one made up for
// it.
func (u *Unlimited[T]) Name() string { return u.handle.Name() }

// Close is as [Channel.Close].
func (u *Unlimited[T]) Close() { u.handle.Close() }

// Done is closed when the channel has ended, whatever the cause.
func (u *Unlimited[T]) Done() <-chan struct{} { return u.handle.Done() }

// Err is as [Channel.Err].
func (u *Unlimited[T]) Err() error { return named(u.Name(), u.handle.Err()) }
