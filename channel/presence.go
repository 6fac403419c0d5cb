package channel

import (
	"context"
	"iter"

	"github.com/ocsigo/comet/scope"
)

// Readers counts who hears a channel: see [scope.Readers].
type Readers = scope.Readers

// PresenceConfig says whose coming and going Presence tells: see
// [scope.PresenceConfig].
type PresenceConfig = scope.PresenceConfig

// A Change tells that somebody has come, or has left: see [scope.Change].
type Change = scope.Change

// Readers counts who hears the channel from this node, exactly and now: see
// [scope.Handle.Readers].
func (c *Channel[T]) Readers() Readers { return c.handle.Readers() }

// AllReaders is Readers of the whole app, as far as its nodes answer: see
// [scope.Handle.AllReaders].
func (c *Channel[T]) AllReaders(ctx context.Context) (Readers, error) {
	return c.handle.AllReaders(ctx)
}

// Presence is who hears the channel, as changes: FromSeq makes a stream of it, for
// a presence channel. See [scope.Handle.Presence].
func (c *Channel[T]) Presence(config ...PresenceConfig) func(context.Context) iter.Seq2[Change, error] {
	return presence(c.handle, config)
}

func presence(h *scope.Handle, config []PresenceConfig) func(context.Context) iter.Seq2[Change, error] {
	c, err := one("Presence", config)
	if err != nil {
		return func(context.Context) iter.Seq2[Change, error] {
			return func(yield func(Change, error) bool) { yield(Change{}, named(h.Name(), err)) }
		}
	}
	return h.Presence(c)
}

// Readers is as [Channel.Readers].
func (d *Duplex[In, Out]) Readers() Readers { return d.channel.Readers() }

// AllReaders is as [Channel.AllReaders].
func (d *Duplex[In, Out]) AllReaders(ctx context.Context) (Readers, error) {
	return d.channel.AllReaders(ctx)
}

// Presence is as [Channel.Presence].
func (d *Duplex[In, Out]) Presence(config ...PresenceConfig) func(context.Context) iter.Seq2[Change, error] {
	return d.channel.Presence(config...)
}

// Readers is as [Channel.Readers].
func (s *Signal[T]) Readers() Readers { return s.handle.Readers() }

// AllReaders is as [Channel.AllReaders].
func (s *Signal[T]) AllReaders(ctx context.Context) (Readers, error) {
	return s.handle.AllReaders(ctx)
}

// Presence is as [Channel.Presence].
func (s *Signal[T]) Presence(config ...PresenceConfig) func(context.Context) iter.Seq2[Change, error] {
	return presence(s.handle, config)
}
