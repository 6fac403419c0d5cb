package scope

import (
	"cmp"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

// A siteReader is one event stream's place in one site channel. It is guarded by
// the stream's lock, but for index, which is the channel's.
type siteReader struct {
	stream  *EventStream
	channel *siteChannel // nil: there is none, or not for this reader
	index   int          // in channel.readers

	name    string
	address int             // its number in the address; -1: registered by command
	from    engine.Position // where the address lets it begin, if it says so
	at      engine.Position // after the last event sent
	ordinal uint64          // of the entry that is next
	moved   bool            // the cursor has to tell at
	removed bool

	full    string // the reason of a full to be said first
	ahead   bool   // at is after the tail, until a repair has passed
	passes  uint64
	closing string // the reason of a closed to be said
}

// enter begins after the reader's position, or says why it cannot. why is asked
// for what the ring alone cannot tell; nil while nothing may block.
func (r *siteReader) enter(why func(*follower, engine.Position) place) {
	f := r.channel.follower
	ordinal, where := f.seek(r.at)
	r.ahead = false
	switch where {
	case kept:
		r.ordinal = ordinal
		return
	case ahead:
		if !r.channel.site.caps.ReliableFeed && why != nil {
			r.ahead, r.passes = true, f.passed()
			f.repair()
			return
		}
		r.full = "future"
	case missed:
		r.full = "trimmed"
		if why != nil && why(f, r.at) == reset {
			r.full = "reset"
		}
	case reset:
		r.full = "reset"
	}
	if f.newest && r.full != "reset" { // what a newer value replaced is no hole
		r.full = ""
		r.ordinal, _ = f.oldest()
	}
}

// rewind goes back to where ref begins, if that is before what was heard or of
// another epoch, and returns what to greet with: that beginning. Whoever shares
// the event stream and is further drops what comes again.
func (r *siteReader) rewind(ref cursor.Channel) greetedChannel {
	at := r.begin(ref)
	if at.Epoch != r.at.Epoch || at.Seq < r.at.Seq {
		r.at, r.moved = at, true
		full := r.full
		r.enter(nil)
		r.full = cmp.Or(full, r.full)
	}
	return greetedChannel{Channel: r.name, Position: &at}
}

// next writes at most one event, and reports whether it did.
func (r *siteReader) next(b *sse.Batch) bool {
	switch {
	case r.removed:
		return false
	case r.closing != "":
		return r.finish(b, "closed", r.closing)
	case r.full != "":
		r.sayFull(b, r.full)
		return true
	case r.ahead:
		if r.channel.follower.passed() == r.passes {
			return false
		}
		r.enter(nil)
		return r.next(b)
	}
	f := r.channel.follower
	if f.head.Load() == r.ordinal {
		return r.channel.state.ended() && r.ended(b)
	}
	e, at, skipped := f.next(r.ordinal)
	switch {
	case skipped && f.epoch() != r.at.Epoch:
		r.sayFull(b, "reset")
	case skipped && !f.newest:
		r.sayFull(b, "trimmed")
	case e == nil:
		return false
	default:
		r.at, r.ordinal, r.moved = e.at, at+1, true
		b.Frame(r.stream.cursor(), e.framed(r.channel.event()))
	}
	return true
}

// sayFull names the hole and goes on from the oldest value kept (rule 5).
func (r *siteReader) sayFull(b *sse.Batch, reason string) {
	r.full = ""
	r.ordinal, r.at = r.channel.follower.oldest()
	r.moved = true
	resume := r.at
	r.stream.say(b, "full", channelNotice{Channel: r.name, Reason: reason, Resume: &resume})
}

// ended says the end, once everything before it was said.
func (r *siteReader) ended(b *sse.Batch) bool {
	if r.channel.follower.head.Load() != r.ordinal {
		return false
	}
	event, reason := endReason(r.channel.state.err())
	if r.channel.closed.Load() {
		event, reason = "closed", "closed"
	}
	return r.finish(b, event, reason)
}

// finish takes the channel off the event stream, and says why.
func (r *siteReader) finish(b *sse.Batch, event, reason string) bool {
	r.leave()
	r.stream.say(b, event, channelNotice{Channel: r.name, Reason: reason, Final: true})
	return true
}

// leave lets go of the channel.
func (r *siteReader) leave() {
	r.removed = true
	if r.channel != nil {
		r.channel.remove(r)
		r.channel = nil
	}
}

// event is the name that the channel's values have on the wire.
func (c *siteChannel) event() string {
	if c.spec.Unnamed {
		return ""
	}
	return c.spec.Event
}

func (f *follower) epoch() string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tail.Epoch
}
