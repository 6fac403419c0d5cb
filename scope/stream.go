package scope

import (
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/internal/wheel"
	"github.com/ocsigo/comet/sse"
)

// An EventStream is one connection's hearing: it merges the channels of 0 to 16
// client processes and any site channels, in turn, and knows after every event
// how far it has come. It holds places and nothing of what is to be sent (but what
// processes of other nodes have just said), has no goroutine, and is driven from
// below: Start, then Collect whenever the socket
// takes more, then Gone. Made by Site.OpenStream; Gone must be called in any
// case.
type EventStream struct {
	// What a delivery reads is in front, and there is no more of it than fits two
	// cache lines: where there are many streams, memory is what they wait for.
	mu        sync.Mutex
	sites     []*siteReader // the address's first, in its order
	processes []*processReader
	turn      uint32
	tag       cursor.Tag // of the address, in every cursor
	greeted   bool
	stopping  bool // it ends, and its reader is to come back
	over      bool
	gone      bool
	writing   bool               // what was collected last is not known to be written
	beat      atomic.Bool        // a heartbeat is due
	said      []func(*sse.Batch) // what commands have to say
	only      [1]*siteReader     // holds sites while there is one
	writes    uint32             // batches that were written, not settled

	started  atomic.Bool // wake is set
	wake     func()
	site     *Site
	timer    *wheel.Timer
	names    atomic.Pointer[[]string] // of the site channels heard; nil for none, or where nobody asks
	reader   Reader
	address  string      // the reader's, on the network
	asked    atomic.Bool // a question about it is open
	ends     uint32      // when it has its age, in ageUnits of the Site's; 0: never
	query    uint16      // the length of the address's query
	native   bool        // unlimited channels are read without a command
	brief    bool        // it ends when everything was said
	own      bool        // the address names a process
	counted  bool        // among those that the Site carries
	nameless bool        // hello has no id: the cursor presented was none
	aged     bool        // stopping, for its age alone
}

// Start lets the event stream call wake when there is something to collect.
func (s *EventStream) Start(wake func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
	s.started.Store(true)
	if s.gone {
		return
	}
	for _, r := range s.sites {
		if r.channel != nil {
			r.channel.arm(r, wake)
		}
	}
	s.ends = s.site.endOfAge()
	s.timer = s.site.wheel.After(s.period(), s.tick)
}

// period is the time to the next heartbeat, or to the end of the event stream's age.
func (s *EventStream) period() time.Duration {
	period := jitter(s.site.config.Heartbeat, 0.1)
	if s.ends > 0 && !s.stopping {
		period = min(period, s.left())
	}
	return period
}

// tick runs on the wheel's goroutine.
func (s *EventStream) tick() {
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return
	}
	if s.ends > 0 && !s.stopping && s.left() <= 0 {
		s.stopping, s.aged = true, true
	}
	s.settle()
	s.timer.Reset(s.period())
	s.mu.Unlock()
	s.beat.Store(true)
	s.Wake()
}

// Wake has the event stream collected. It never blocks, and may be called under
// any lock but the stream's own.
func (s *EventStream) Wake() {
	if s.started.Load() {
		s.wake()
	}
}

// Collect adds to b about budget bytes of what is pending, and never blocks.
// more tells that there is more pending now, or that a source waits to hear that
// this was written. The error io.EOF tells that b holds the last of it. Collect must
// not be called by two goroutines at once; that it is called tells that everything
// collected before was written.
func (s *EventStream) Collect(b *sse.Batch, budget int) (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.gone {
		return false, io.EOF
	}
	if s.stopping {
		return s.stop(b)
	}
	s.written()
	events := b.Events()
	if s.greeted {
		for _, p := range s.processes {
			p.drained()
		}
	}
	s.greet(b)
	settled := s.brief && s.settled() // asked first: what comes while this merges is said the next time
	more = s.sayAll(b, budget) || s.merge(b, budget)
	wrote := b.Events() > events
	s.writing = wrote
	switch due := s.beat.Load() && s.beat.Swap(false); {
	case !more && (!s.live() || s.brief && due || settled):
		s.over = true
		return false, io.EOF
	case due && !wrote:
		b.Event(nil, "comet:hb", nil)
		s.writing = true
	}
	return more || wrote && s.paced(), nil
}

// sayAll says what commands have left to say, and reports whether budget ended it.
func (s *EventStream) sayAll(b *sse.Batch, budget int) (more bool) {
	for len(s.said) > 0 {
		if b.Len() >= budget {
			return true
		}
		s.said[0](b)
		s.said = s.said[1:]
	}
	s.said = nil
	return false
}

// merge takes one event of each channel in turn, so that no channel starves
// another, and reports whether budget ended it.
func (s *EventStream) merge(b *sse.Batch, budget int) (more bool) {
	for idle, n := 0, len(s.sites)+len(s.processes); idle < n; idle++ {
		if b.Len() >= budget {
			return true
		}
		turn := (int(s.turn) + 1) % n
		s.turn = uint32(turn)
		var wrote bool
		if turn < len(s.sites) {
			wrote = s.sites[turn].next(b)
		} else {
			wrote = s.processes[turn-len(s.sites)].next(b)
		}
		if wrote {
			idle = -1
		}
	}
	return false
}

// paced reports whether a source reads on when its last value was written.
func (s *EventStream) paced() bool {
	for _, p := range s.processes {
		if p.paced {
			return true
		}
	}
	return false
}

// greet says the first hello.
func (s *EventStream) greet(b *sse.Batch) {
	if s.greeted {
		return
	}
	s.greeted = true
	b.Retry(jitter(s.site.getHooks().Retry, 0.25))
	g := s.site.newGreeting()
	for _, p := range s.processes {
		if p.source != nil && !p.superseded && !p.pending {
			g.Processes = append(g.Processes, p.greeting())
		}
	}
	for _, r := range s.sites {
		if r.channel != nil {
			g.Channels = append(g.Channels, r.greeting())
		}
	}
	var text cursorText
	id := s.cursor(text[:0])
	if s.nameless {
		id = nil
	}
	b.Event(id, "comet:hello", encode(g))
}

func (r *siteReader) greeting() greetedChannel {
	g := r.channel.spec.greeted()
	if !r.at.IsZero() {
		at := r.at
		g.Position = &at
	}
	return g
}

// say writes a control event with the cursor after it.
func (s *EventStream) say(b *sse.Batch, event string, data any) {
	var id cursorText
	b.Event(s.cursor(id[:0]), "comet:"+event, encode(data))
}

// sayHello tells of what is heard besides from now on.
func (s *EventStream) sayHello(b *sse.Batch, g greeting) {
	whole := s.site.newGreeting()
	whole.Processes, whole.Channels, whole.Removed = g.Processes, g.Channels, g.Removed
	s.say(b, "hello", whole)
}

// A cursorText is room for a cursor on the caller's stack: no stream keeps one. It
// is as long as one with 32 positions may be (rule 4); a longer one is allocated.
type cursorText [512]byte

// cursor appends to buf the id of the event that is being written: every position
// that moved since the address was made, or that it lacks (rule 4).
func (s *EventStream) cursor(buf []byte) []byte {
	a := cursor.Append(buf, s.tag)
	others := false
	for _, r := range s.sites {
		switch {
		case r.address < 0:
			others = true
		case r.removed:
			a = a.Removed(int(r.address))
		case r.at.Epoch != r.epoch:
			others = true
		case r.moved:
			a = a.Index(int(r.address), r.at, true)
		}
	}
	if others {
		a = s.others(a)
	}
	for _, p := range s.processes {
		if !p.removed || p.superseded && p.slot == 0 {
			a = a.Process(cursor.Process{Slot: p.slot, Token: p.token, Generation: p.generation, Number: p.number})
		} else if p.slot == 0 {
			a = a.Process(cursor.Process{Removed: true})
		}
	}
	if a.Empty() {
		a = s.unmoved(a)
	}
	return a.Buf
}

// others writes the places that are not of the address, or not of the epoch that
// it has them in.
func (s *EventStream) others(a cursor.Appender) cursor.Appender {
	for _, r := range s.sites {
		switch {
		case r.removed || r.at.IsZero():
		case r.address < 0:
			a = a.Name(r.name, r.at)
		case r.at.Epoch != r.epoch:
			a = a.Index(int(r.address), r.at, false)
		}
	}
	return a
}

// unmoved writes a cursor that says nothing new, so that a reconnect can be told
// from a first connect.
func (s *EventStream) unmoved(a cursor.Appender) cursor.Appender {
	for _, r := range s.sites {
		if r.address >= 0 && !r.removed && !r.at.IsZero() {
			return a.Index(int(r.address), r.at, true)
		}
	}
	if s.live() { // with channels that are not to be had, which is still to be said
		return a
	}
	return a.Over()
}

// live reports whether anything can still be heard here.
func (s *EventStream) live() bool {
	for _, r := range s.sites {
		if !r.removed {
			return true
		}
	}
	for _, p := range s.processes {
		if !p.removed {
			return true
		}
	}
	return false
}

// settled reports whether nothing is on its way to a stream that has said
// everything: no value being read for it, no doubtful position being looked up.
func (s *EventStream) settled() bool {
	for _, r := range s.sites {
		if !r.removed && r.ahead {
			return false
		}
	}
	for _, p := range s.processes {
		if !p.removed && p.reading() {
			return false
		}
	}
	return true
}

// shutdown has the event stream end with its next Collect.
func (s *EventStream) shutdown() {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.Wake()
}

// stop tells when to come back (rule 12).
func (s *EventStream) stop(b *sse.Batch) (bool, error) {
	s.over = true
	sayAway(b, s.absence())
	return false, io.EOF
}

// absence is how long the reader is told to stay away.
func (s *EventStream) absence() time.Duration {
	s.site.mu.Lock()
	defer s.site.mu.Unlock()
	if s.aged {
		return jitter(s.site.hooks.Retry, 0.25) // alone, as after a cut
	}
	return s.site.away(!s.counted)
}

// listStreams returns the event streams of now.
func (s *Site) listStreams() []*EventStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.streams))
}

// Gone ends the event stream: its processes are away from now on. cause is why the
// connection ended, nil for a clean end. Only the first call does anything.
func (s *EventStream) Gone(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	s.gone = true
	if s.timer != nil {
		s.timer.Stop()
	}
	for _, r := range s.sites {
		r.leave()
	}
	for _, p := range s.processes {
		p.leave()
	}
	if cause == nil {
		s.written()
	}
	s.settle()
	s.site.causes.count(s.causeOf(cause))
	s.site.streamGone(s)
}

// rename publishes the names of the site channels, for a process of the
// address's own that makes channels. It needs s.mu.
func (s *EventStream) rename() {
	if !s.own {
		return
	}
	names := make([]string, 0, len(s.sites))
	for _, r := range s.sites {
		if !r.removed {
			names = append(names, r.name)
		}
	}
	s.names.Store(&names)
}

func (s *Site) streamGone(es *EventStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, es)
	if es.counted {
		s.carried.leave(&s.config, es.reader.Session, es.address)
	}
	if !s.departure.begun.IsZero() && s.carried.all == 0 && es.counted {
		close(s.drained)
	}
}

// position returns the place where a channel of the address begins.
func (r *siteReader) begin(c cursor.Channel) engine.Position {
	switch f := r.channel.follower; {
	case !c.At.IsZero():
		return c.At
	case c.Newest || f.newest:
		return f.back(1)
	default:
		return f.back(c.Last)
	}
}
