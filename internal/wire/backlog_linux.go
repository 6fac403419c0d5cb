package wire

import (
	"time"

	"github.com/ocsigo/comet/internal/wheel"
)

// backlog is what keeps a stream from collecting: bytes that the kernel did not
// take or, without any, that the peer has not closed yet. It is the holder's.
type backlog struct {
	rest  []byte // at most a batch
	last  bool   // after rest the stream ends
	piece int    // of rest, what must go within the time
	since time.Time
	until time.Time
	timer *wheel.Timer
}

// timers are those of all backlogs: coarse, and none while nothing is stuck.
var timers = wheel.New(100 * time.Millisecond)

func (s *taken) newBacklog(rest []byte, last bool) *backlog {
	return &backlog{rest: rest, last: last, since: time.Now(), timer: timers.NewTimer(func() { s.post(late) })}
}

// allow gives the peer the time of a write. A rest that is far beyond the
// budget goes in pieces, each with the whole time, so that an event's size
// alone is no reason to lose a peer that is slow.
func (b *backlog) allow(o *Options) {
	b.piece = min(len(b.rest), 2*o.Budget)
	b.within(o.WriteTimeout)
}

// within sets the time that the peer has from now on.
func (b *backlog) within(d time.Duration) {
	b.until = time.Now().Add(d)
	b.timer.Reset(d)
}

// expired tells whether the time is up: news of it may be of a time before.
func (b *backlog) expired() bool {
	return b != nil && !time.Now().Before(b.until)
}
