package scope

import (
	"io"
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
// how far it has come. It holds places and nothing of what is to be sent, has no
// goroutine, and is driven from below: Start, then Collect whenever the socket
// takes more, then Gone. Made by Site.OpenStream; Gone must be called in any
// case.
type EventStream struct {
	site    *Site
	reader  Reader
	address string
	native  bool // unlimited channels are read without a command
	brief   bool // it ends when everything was said
	own     bool // the address names a process
	query   int  // the length of the address's query
	counted bool // among those that the Site carries
	wake    atomic.Pointer[func()]
	beat    atomic.Bool              // a heartbeat is due
	asked   atomic.Bool              // a question about it is open
	names   atomic.Pointer[[]string] // of the site channels heard; nil for none, or where nobody asks

	mu        sync.Mutex
	sites     []*siteReader // the address's first, in its order
	processes []*processReader
	said      []func(*sse.Batch) // what commands have to say
	id        cursor.Appender
	tag       string // of the address, in every cursor
	turn      int
	greeted   bool
	nameless  bool // hello has no id: the cursor presented was none
	stopping  bool // the site shuts down
	over      bool
	gone      bool
	timer     *wheel.Timer
}

// Start lets the event stream call wake when there is something to collect.
func (s *EventStream) Start(wake func()) {
	s.wake.Store(&wake)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.timer = s.site.wheel.After(s.period(), s.tick)
	}
}

// period is the time to the next heartbeat.
func (s *EventStream) period() time.Duration { return jitter(s.site.config.Heartbeat, 0.1) }

// tick runs on the wheel's goroutine.
func (s *EventStream) tick() {
	s.beat.Store(true)
	s.Wake()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.timer.Reset(s.period())
	}
}

// Wake has the event stream collected. It never blocks, and may be called under
// any lock but the stream's own.
func (s *EventStream) Wake() {
	if wake := s.wake.Load(); wake != nil {
		(*wake)()
	}
}

// Collect adds to b about budget bytes of what is pending, and never blocks.
// more tells that there is more pending now. The error io.EOF tells that b holds
// the last of it. Collect must not be called by two goroutines at once; that it is
// called tells that everything collected before was written.
func (s *EventStream) Collect(b *sse.Batch, budget int) (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.gone {
		return false, io.EOF
	}
	if s.stopping {
		return s.stop(b)
	}
	events := b.Events()
	if s.greeted {
		for _, p := range s.processes {
			p.drained()
		}
	}
	s.greet(b)
	more = s.sayAll(b, budget) || s.merge(b, budget)
	switch due := s.beat.Swap(false); {
	case !more && (!s.live() || s.brief && (due || s.settled())):
		s.over = true
		return false, io.EOF
	case due && b.Events() == events:
		b.Event(nil, "comet:hb", nil)
	}
	return more, nil
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
		s.turn = (s.turn + 1) % n
		var wrote bool
		if s.turn < len(s.sites) {
			wrote = s.sites[s.turn].next(b)
		} else {
			wrote = s.processes[s.turn-len(s.sites)].next(b)
		}
		if wrote {
			idle = -1
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
		if p.process != nil && !p.superseded {
			g.Processes = append(g.Processes, p.greeting())
		}
	}
	for _, r := range s.sites {
		if r.channel != nil {
			g.Channels = append(g.Channels, r.greeting())
		}
	}
	id := s.cursor()
	if s.nameless {
		id = nil
	}
	b.Event(id, "comet:hello", encode(g))
}

func (r *siteReader) greeting() greetedChannel {
	g := greetedChannel{Channel: r.name}
	if !r.at.IsZero() {
		at := r.at
		g.Position = &at
	}
	return g
}

// say writes a control event with the cursor after it.
func (s *EventStream) say(b *sse.Batch, event string, data any) {
	b.Event(s.cursor(), "comet:"+event, encode(data))
}

// cursor returns the id of the event that is being written: every position that
// moved since the address was made, or that it lacks (rule 4). It is good until
// the next call.
func (s *EventStream) cursor() []byte {
	a := &s.id
	a.Reset(s.tag)
	for _, r := range s.sites {
		switch {
		case r.address < 0:
		case r.removed:
			a.Removed(r.address)
		case r.moved && r.at.Epoch == r.from.Epoch:
			a.Index(r.address, r.at, true)
		}
	}
	for _, r := range s.sites {
		switch {
		case r.removed || r.at.IsZero():
		case r.address < 0:
			a.Name(r.name, r.at)
		case r.at.Epoch != r.from.Epoch:
			a.Index(r.address, r.at, false)
		}
	}
	for _, p := range s.processes {
		if !p.removed || p.superseded && p.slot == 0 {
			a.Process(cursor.Process{Slot: p.slot, Token: p.token, Generation: p.generation, Number: p.number})
		} else if p.slot == 0 {
			a.Process(cursor.Process{Removed: true})
		}
	}
	if a.Empty() {
		s.unmoved()
	}
	return a.Buf
}

// unmoved writes a cursor that says nothing new, so that a reconnect can be told
// from a first connect.
func (s *EventStream) unmoved() {
	for _, r := range s.sites {
		if r.address >= 0 && !r.removed && !r.at.IsZero() {
			s.id.Index(r.address, r.at, true)
			return
		}
	}
	s.id.Over()
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
	b.Retry(jitter(2*s.site.getHooks().Retry, 0.5))
	return false, io.EOF
}

// Gone ends the event stream: its processes are away from now on. cause is why the
// connection ended, nil for a clean end. Only the first call does anything.
func (s *EventStream) Gone(error) {
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
	if s.down && s.carried.all == 0 && es.counted {
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
