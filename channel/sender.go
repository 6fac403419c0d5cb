package channel

import (
	"context"
	"io"
)

// A Sender puts values into the channel that claimed its stream, or into the
// channels of its clones. It costs no goroutine. Safe for concurrent use; the
// values of one goroutine keep their order.
type Sender[T any] struct {
	fan *fan
}

// Push returns a sender for anyone, and the stream of what is sent, for one
// channel. config bounds what may wait in front of an unlimited channel; a
// fault in it is told by the constructor that takes the stream.
func Push[T any](config ...StreamConfig) (*Sender[T], *Stream[T]) {
	c, err := one("Push", config)
	if err == nil {
		err = c.check()
	}
	q := newQueue(defaultWaiting, defaultWaitingBytes)
	c.limit(&q)
	h := newFan(nil, q, recode[T])
	s := streamOf[T](h)
	s.err = err
	return &Sender[T]{h.fan}, s
}

// Send gives v to the channel. It marshals in the caller's goroutine, before it
// returns: nothing of v, nor of the memory behind it, is kept, so a value may
// be built of a request's strings, which Fiber reuses.
//
// Nil means that the channel keeps the value, or, in front of an unlimited
// channel or a clone's head, that it waits there. Send waits only for a shared
// engine, for at most as long as ctx lasts; values of one channel are stored in
// the order in which Send was called. In a Fiber handler ctx is c.UserContext():
// c.Context() is fasthttp's request, and who waits on it races with the app's
// Shutdown (fasthttp #1907, mended by its #2402). Errors:
//   - ErrUnclaimed: no channel uses the stream; nothing is kept. That changes
//     with the first Create.
//   - ErrClosed: the channel has ended, or the stream was closed; no later Send
//     can succeed. Why it ended can be told by errors.Is as well:
//     ErrProcessGone, ErrFull, or the failure.
//   - ErrFull without ErrClosed: too much waits in front of an unlimited
//     channel; v was not taken, later values may be.
//   - ErrTooLarge: v was not taken; the channel goes on.
//   - engine.ErrUnavailable and others of a shared engine, after it was asked
//     again for SiteConfig.PublishWithin, or at once when too much waits for it:
//     v was not taken; the channel goes on.
//   - engine.ErrUnknown: as before, but the engine may have v, or get it yet: to
//     send it again may say it twice.
//   - ctx's error: v was not taken, unless the error is engine.ErrUnknown too.
//   - what the encoding says about a value that it cannot carry; the channel
//     goes on. A panic in it is a *PanicError and ends the channel.
//
// With clones, nil means that some head has the value. Heads that have ended
// are passed over while others live. The errors of those that live are joined,
// and do not keep the value from the others.
func (s *Sender[T]) Send(ctx context.Context, v T) error { return s.sendOnce(ctx, "", v) }

// sendOnce is Send of a value with an ID, which a shared engine stores once.
func (s *Sender[T]) sendOnce(ctx context.Context, id string, v T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	encs, err := s.fan.wanted()
	if err != nil {
		return err
	}
	var buf [1]payload
	payloads := encode(buf[:0], encs, v)
	for _, p := range payloads {
		if p.err != nil {
			return s.fan.failed(p)
		}
	}
	return s.fan.send(ctx, id, payloads)
}

// Close ends the stream: its channels end as by io.EOF, after what waits for
// them. Later Sends are ErrClosed. It does not wait, and may be called again.
//
// It has no error result on purpose: fasthttp closes every io.Closer that is
// left in a request's Locals.
func (s *Sender[T]) Close() { s.fan.finish(io.EOF) }
