package scope

import (
	"cmp"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

// A siteReader is one event stream's place in one site channel. It is guarded by
// the stream's lock, but for index, which is the channel's. There are as many as
// there are tabs, and a delivery reads it: small, and what it needs first.
type siteReader struct {
	stream  *EventStream
	channel *siteChannel // nil: there is none, or not for this reader
	ordinal uint64       // of the entry that is next
	full    reason       // of a full to be said first
	closing reason       // of a closed to be said
	moved   bool         // the cursor has to tell at
	removed bool
	ahead   bool // at is after the tail, until repair has passed

	address int32           // its number in the address; -1: registered by command
	sent    uint32          // values delivered and not settled
	at      engine.Position // after the last event sent
	epoch   string          // of the position that the address has, if it has one

	index     int32  // in channel.readers
	coalesced uint32 // values that a newer one took the place of, likewise
	name      string
	repair    uint64 // the number of the one that was asked for when it was found to be ahead
	mark      uint64 // up to this ordinal what was passed is settled
}

// enter begins after the reader's position, or says why it cannot. why is asked
// for what the ring alone cannot tell; nil while nothing may block.
func (r *siteReader) enter(why func(*follower, engine.Position) place) {
	defer r.countEnter()
	f := r.channel.follower
	ordinal, where := f.seek(r.at)
	r.ahead = false
	r.ordinal = f.head.Load() // until it is known where it goes on
	switch where {
	case kept:
		r.ordinal = ordinal
		return
	case ahead:
		if !r.channel.site.caps.ReliableFeed && why != nil {
			r.ahead, r.repair = true, f.repair()
			return
		}
		r.full = byFuture
	case missed:
		r.full = byTrimmed
		if why != nil && why(f, r.at) == reset {
			r.full = byReset
		}
	case reset:
		r.full = byReset
	}
	if f.newest && r.full != byReset { // what a newer value replaced is no hole
		r.full = none
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
		r.countLeave()
		r.enter(nil)
		r.full = cmp.Or(full, r.full)
	}
	g := r.channel.spec.greeted()
	g.Position = &at
	return g
}

// next writes at most one event, and reports whether it did.
func (r *siteReader) next(b *sse.Batch) bool {
	switch {
	case r.removed:
		return false
	case r.closing != none:
		return r.finish(b, "closed", r.closing.String())
	case r.full != none:
		r.sayFull(b, r.full)
		return true
	case r.ahead:
		if r.channel.follower.passed() < r.repair {
			return false
		}
		r.countLeave()
		r.enter(nil)
		return r.next(b)
	}
	f := r.channel.follower
	if f.head.Load() == r.ordinal {
		return r.channel.state.ended() && r.ended(b)
	}
	e, at, skipped := f.next(r.ordinal)
	switch {
	case skipped && f.isReborn(r.ordinal):
		r.sayFull(b, byReset)
	case skipped && !f.newest:
		r.sayFull(b, byTrimmed)
	case e == nil:
		return false
	default:
		if skipped {
			r.coalesced += uint32(at - r.ordinal)
		}
		r.sent++
		r.at, r.ordinal, r.moved = e.at, at+1, true
		var id cursorText
		b.Frame(r.stream.cursor(id[:0]), e.framed(r.channel.event()))
	}
	return true
}

// sayFull names the hole and goes on from the oldest value kept (rule 5).
func (r *siteReader) sayFull(b *sse.Batch, why reason) {
	r.full = none
	ordinal, at := r.channel.follower.oldest()
	r.countFull(why, ordinal)
	r.at, r.moved = at, true
	resume := r.at
	r.stream.say(b, "full", channelNotice{Channel: r.name, Reason: why.String(), Resume: &resume})
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
		r.countLeave()
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
