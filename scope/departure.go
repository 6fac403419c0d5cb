package scope

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ocsigo/comet/sse"
)

const (
	drainRate    = 1000             // readers a second come back, where DrainOver does not say otherwise
	defaultDrain = 2 * time.Minute  // and so long it lasts at most
	maxDrain     = 10 * time.Minute // DrainOver
	partEvery    = 100 * time.Millisecond
)

// A departure is how the readers of a Site that shuts down are sent away: each has a
// time of its own to be back at, evenly spread over a window. Where others carry them
// on they leave as slowly as there is time for, in parts, and each part is back in its
// part of the window. The Site's lock guards it.
type departure struct {
	begun    time.Time // zero: not yet
	window   time.Duration
	slow     bool          // part after part
	from, to time.Duration // the part of the window for those who are sent away now
}

// wait is how long one of them is told to stay away, retry at least.
func (d *departure) wait(retry time.Duration) time.Duration {
	passed := time.Since(d.begun)
	from := max(d.from, passed)
	to := max(d.to, from+min(d.to-d.from, 2*retry)) // also of one who comes late
	return retry + from - passed + rand.N(max(to-from, 1))
}

// part returns the bounds of the i-th of n equal parts of d.
func part(d time.Duration, i, n int) (from, to time.Duration) {
	return d * time.Duration(i) / time.Duration(n), d * time.Duration(i+1) / time.Duration(n)
}

// drainOver is over how long so many readers come back.
func (s *Site) drainOver(readers int, retry time.Duration) time.Duration {
	if s.config.DrainOver > 0 {
		return s.config.DrainOver
	}
	return max(2*retry, min(time.Duration(readers)*time.Second/drainRate, defaultDrain))
}

// leavingRoom is what of a time may be spent on sending readers away: the rest is for
// the last of them, and for what has to end after them.
func leavingRoom(d time.Duration) time.Duration { return d - min(d/4, 5*time.Second) }

// depart lets nobody in any more, and returns who has to leave.
func (s *Site) depart(slowly bool) []*EventStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := slices.Collect(maps.Keys(s.streams))
	window := s.drainOver(len(streams), s.hooks.Retry)
	s.down = true
	s.departure = departure{
		begun: time.Now(), window: window, to: window,
		slow: slowly && (s.config.DrainOver > 0 || window > 2*s.hooks.Retry), // a few may as well leave at once
	}
	if s.carried.all == 0 {
		close(s.drained)
	}
	return streams
}

// inTurn has those leave first who hear a client process of this node: it was handed
// over, and nothing more of it is to come here.
func inTurn(streams []*EventStream) {
	first := 0
	for i, es := range streams {
		if es.hearsHere() {
			streams[first], streams[i] = es, streams[first]
			first++
		}
	}
}

// hearsHere reports whether the event stream carries a client process of this node.
func (s *EventStream) hearsHere() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		if _, relayed := p.source.(*relay); !p.removed && !relayed {
			return true
		}
	}
	return false
}

// sendAway tells the event streams of a Site that shuts down when to come back, and to
// end: one after the other for no longer than pace, or all at once.
func (s *Site) sendAway(pace time.Duration) {
	streams := s.depart(pace > 0)
	d, parts := s.departure, 1
	if d.slow {
		pace = min(pace, d.window)
		if s.node != nil {
			inTurn(streams)
		}
		parts = int((pace + partEvery - 1) / partEvery)
	} else {
		pace = 0
	}
	if len(streams) > 0 {
		s.getHooks().Logger.Info("comet: the site shuts down: its event streams are sent away",
			"streams", len(streams), "drain_over", d.window, "pace", pace)
	}
	for i := range parts {
		begin, end := len(streams)*i/parts, len(streams)*(i+1)/parts
		from, to := part(d.window, i, parts)
		_, late := part(pace, i, parts)
		if s.hurries() {
			end, to = len(streams), d.window
		}
		s.leave(streams[begin:end], from, to)
		if end == len(streams) {
			return
		}
		select {
		case <-time.After(time.Until(d.begun.Add(late))):
		case <-s.hurry:
		case <-s.drained: // all others left by themselves
			return
		}
	}
}

// leave tells some event streams to come back within a part of the window.
func (s *Site) leave(streams []*EventStream, from, to time.Duration) {
	s.mu.Lock()
	s.departure.from, s.departure.to = from, to
	s.mu.Unlock()
	for _, es := range streams {
		es.shutdown()
	}
}

func (s *Site) hurries() bool {
	select {
	case <-s.hurry:
		return true
	default:
		return false
	}
}

// sayAway tells when to come back: the browser by retry, and a page that watches over
// its connection by an event, for it cannot know the other (rule 12).
func sayAway(b *sse.Batch, wait time.Duration) {
	wait = wait.Truncate(time.Millisecond)
	b.Retry(wait)
	b.Event(nil, "comet:away", encode(awayNotice{wait.Milliseconds()}))
}

// Away is the whole of an event stream that only says when to come back.
func Away(wait time.Duration) []byte {
	var b sse.Batch
	sayAway(&b, wait)
	return b.Bytes()
}
