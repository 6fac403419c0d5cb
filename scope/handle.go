package scope

import (
	"context"
	"fmt"

	"github.com/ocsigo/comet/engine"
)

// core is what a site channel and a private one have in common for whoever
// holds them.
type core interface {
	name() string
	put(ctx context.Context, data []byte) error
	end(cause error) // idempotent
	life() *life
	count() Readers
}

// A Handle is the app's hold on a channel. While it is reachable, a site channel
// is not collected. It is a Ref: hearing begins now, or for a newest channel
// with its value.
type Handle struct{ core core }

// Name returns the channel's name.
func (h *Handle) Name() string { return h.core.name() }

// Close ends the channel: its source is stopped, the name is free, readers hear
// what is kept and then closed. It does not block and may be called again.
func (h *Handle) Close() { h.core.end(ErrClosed) }

// Done is closed when the channel has ended.
func (h *Handle) Done() <-chan struct{} { return h.core.life().ending() }

// Err is nil before Done is closed. Then it tells why: ErrClosed, ErrFull,
// ErrProcessGone, io.EOF where the source ended, or the source's error.
func (h *Handle) Err() error { return h.core.life().err() }

// Feed returns the source's hold on the channel.
func (h *Handle) Feed() *Feed {
	if c, ok := h.core.(*siteChannel); ok {
		return c.feed()
	}
	return &Feed{strong: h.core, life: h.core.life(), name: h.core.name()}
}

// Recent returns the newest n values that are kept, oldest first, and the
// position after them, in one step: hearing After that position misses nothing
// and repeats nothing. Only site channels have it. The values are shared: do not
// change them.
func (h *Handle) Recent(ctx context.Context, n int) ([][]byte, engine.Position, error) {
	c, ok := h.core.(*siteChannel)
	if !ok {
		return nil, engine.Position{}, fmt.Errorf("%w: channel %s is private to a tab and keeps no history", ErrBadRef, h.Name())
	}
	if err := ctx.Err(); err != nil {
		return nil, engine.Position{}, err
	}
	values, at := c.follower.recent(n)
	return values, at, nil
}

// Last is Recent by the engine's own word: what any node appended before the call
// is in it, also where this node's follower has not heard of it. It waits for the
// engine, as ctx allows.
func (h *Handle) Last(ctx context.Context, n int) ([][]byte, engine.Position, error) {
	c, ok := h.core.(*siteChannel)
	if !ok {
		return nil, engine.Position{}, fmt.Errorf("%w: channel %s is private to a tab and has no log", ErrBadRef, h.Name())
	}
	batch, err := c.site.config.Engine.Last(ctx, c.follower.name, n)
	if err != nil {
		return nil, engine.Position{}, fmt.Errorf("channel %s: %w", c.spec.Name, err)
	}
	values := make([][]byte, len(batch.Entries))
	for i, e := range batch.Entries {
		values[i] = e.Data
	}
	return values, batch.Top, nil
}

// A Feed is a source's hold on its channel. It keeps a named site channel from
// being collected, an unnamed one not.
type Feed struct {
	strong core
	weak   func() core // nil result: collected
	life   *life
	name   string
}

func (f *Feed) core() core {
	if f.strong != nil {
		return f.strong
	}
	return f.weak()
}

// Put appends one value, which is the channel's from then on. Nil means that it
// is kept (by the engine, as durably as its Caps say). Otherwise ErrFull,
// ErrClosed (the process's end is ErrProcessGone too), ErrTooLarge, the
// context's error or the engine's. Only a shared engine makes it block: while that
// cannot answer it is asked again, for SiteConfig.PublishWithin. An error that is
// engine.ErrUnknown, with the context's where that is why, says that the value may
// be stored, also later; any other, that it is not and will not be.
func (f *Feed) Put(ctx context.Context, data []byte) error {
	if c := f.core(); c != nil {
		return c.put(ctx, data)
	}
	return f.life.refusal(f.name)
}

// PutOnce is Put of a value with an ID, which Sent.ID makes: on a shared engine
// another with the same one within two minutes is the same value, and stored once.
// An empty ID is none.
func (f *Feed) PutOnce(ctx context.Context, id string, data []byte) error {
	switch c := f.core().(type) {
	case nil:
		return f.life.refusal(f.name)
	case *siteChannel:
		return c.putOnce(ctx, id, data)
	default:
		return c.put(ctx, data)
	}
}

// End ends the channel: io.EOF says that the source ended, anything else why it
// failed. Readers hear what is kept, then comet:end.
func (f *Feed) End(cause error) {
	if c := f.core(); c != nil {
		c.end(cause)
	}
}
