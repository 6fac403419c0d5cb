package channel

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// FollowConfig says which channel is followed, and from where.
type FollowConfig struct {
	// Prefix is the SiteConfig.Prefix of the instance that has the channel, and Name
	// the channel's. The engine is the one of the Site that follows.
	Prefix, Name string

	// Where it begins, as in ExternalConfig; no more than one of these.
	History int             // so many of the last values come first. Default: 1
	FromNow bool            // none do: the way to say a History of 0
	Newest  bool            // the channel is a newest one there: its value comes first
	After   engine.Position // what follows this position, which an earlier run had

	// Wait has Follow wait for a channel that does not exist yet, asking for it about
	// twice a second. All that it keeps then comes, whatever History says.
	Wait bool

	// Size and MaxBytes bound what waits here to be read; History is at most Size.
	// What comes above that is a hole for a program that does not read. Defaults: 1000
	// and 8 MiB.
	Size, MaxBytes int

	// Encoding is the channel's. Default: JSON.
	Encoding Encoding
}

// A HoleError is what a following says where values of the channel are not to be had
// any more: why, and where it goes on; see [scope.HoleError].
type HoleError = scope.HoleError

// Followed is a value that another instance's channel carries, and where it stands
// there: After it goes on.
type Followed[T any] struct {
	Value    T
	Position engine.Position
}

// A Following reads a channel of another instance. It is open until Close, the end of
// the channel's log, or of the Site; nothing collects it. It has no goroutine while it
// waits. Safe for concurrent use.
type Following[T any] struct {
	following *scope.Following
	name      string
	enc       Encoding
}

// Follow reads a site channel of another instance that shares the Site's engine, or
// one of this instance, in Go: what External is for a page. It only reads: it neither
// makes the log nor changes it, nor deletes it.
//
// Errors: ErrBadConfig (fields that contradict each other, a T that the encoding
// cannot carry), ErrBadName, ErrNotFound (no log of the name, and not Wait),
// ErrShutdown, ctx's, or the engine's. ctx bounds this call alone, which waits for a
// shared engine and, with Wait, for the channel.
func Follow[T any](ctx context.Context, site *scope.Site, config FollowConfig) (*Following[T], error) {
	enc, err := encodingFor[T](config.Encoding)
	if err == nil {
		err = errors.Join(checkOwner(site), config.check())
	}
	if err != nil {
		return nil, named(config.Name, err)
	}
	f, err := site.Follow(ctx, scope.FollowSpec{
		Prefix: config.Prefix, Name: config.Name, Newest: config.Newest, History: config.history(), After: config.After,
		Wait: config.Wait, Size: config.Size, MaxBytes: config.MaxBytes,
	})
	if err != nil {
		return nil, named(config.Name, err)
	}
	return &Following[T]{f, config.Name, enc}, nil
}

func (c *FollowConfig) check() error {
	n := 0
	for _, set := range []bool{c.History != 0, c.FromNow, c.Newest, !c.After.IsZero()} {
		if set {
			n++
		}
	}
	if n > 1 {
		return fmt.Errorf("%w: History %d, FromNow %v, Newest %v, After %q: set one of them", ErrBadConfig, c.History, c.FromNow, c.Newest, c.After)
	}
	return nil
}

func (c *FollowConfig) history() int {
	if c.History == 0 && !c.FromNow {
		return 1
	}
	return c.History
}

// Next waits for the channel's next value. Each goes to one caller. Errors after which
// the next call goes on: a *HoleError, in the place of what is missing; what the
// encoding says of a value that it cannot read, with that one's position; and ctx's,
// which loses nothing. Errors that are final: ErrClosed after Close, and after the
// last value of a log that was deleted or has expired there (that is
// engine.ErrNoChannel, too); ErrShutdown. It fits From: Followed values can be the
// source of a channel.
func (f *Following[T]) Next(ctx context.Context) (Followed[T], error) {
	v, _, err := f.next(ctx)
	return v, err
}

// next also reports whether err leaves nothing to come.
func (f *Following[T]) next(ctx context.Context) (v Followed[T], final bool, err error) {
	data, at, err := f.following.Next(ctx)
	if err != nil {
		var hole *HoleError
		return v, !errors.As(err, &hole), named(f.name, err)
	}
	v.Position = at
	return v, false, named(f.name, decode(f.enc, data, &v.Value))
}

// All yields what Next returns, its errors too, and ends after one that is final.
// A loop that goes on after an error goes on after the hole, or the value that could
// not be read. Leaving the loop does not Close.
func (f *Following[T]) All(ctx context.Context) iter.Seq2[Followed[T], error] {
	return func(yield func(Followed[T], error) bool) {
		for {
			if v, final, err := f.next(ctx); !yield(v, err) || final {
				return
			}
		}
	}
}

// Stream returns a stream of the values, for a channel of this site. At an error that
// Next goes on after, skip is asked: nil goes on, and leaves out what is missing;
// another error ends the stream with it. Without skip the first such error ends it.
// The end of the log closes the stream's channel. The end of that does not Close the
// following.
func (f *Following[T]) Stream(skip func(error) error) *Stream[T] {
	return From(func(ctx context.Context) (T, error) {
		for {
			v, final, err := f.next(ctx)
			if err == nil || final {
				return v.Value, err
			}
			if skip != nil {
				err = skip(err)
			}
			if err != nil {
				return v.Value, err
			}
		}
	})
}

// Close ends the following: Next returns ErrClosed. It may be called again, and has no
// error result for the reason of [Sender.Close].
func (f *Following[T]) Close() { f.following.Close() }

// Done is closed when the following has ended, whatever the cause; what its log kept
// may still be read.
func (f *Following[T]) Done() <-chan struct{} { return f.following.Done() }

// Err is nil before Done is closed, then the final error of Next.
func (f *Following[T]) Err() error { return named(f.name, f.following.Err()) }
