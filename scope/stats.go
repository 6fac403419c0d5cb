package scope

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ocsigo/comet/engine"
)

// Kinds are the keys of Stats.Kinds: site channels that keep several values, and one;
// client processes' channels that are pushed, and that are read on demand.
var Kinds = [...]string{siteKind: "site", newestKind: "newest", privateKind: "private", unlimitedKind: "unlimited"}

// FullReasons are the keys of Stats.Full: why a reader was told that values are not to
// be had any more. They are those of comet:full.
var FullReasons = [...]string{"trimmed", "reset", "overflow", "future", "cursor", "other"}

// Causes are the keys of Stats.Ended: why event streams ended. All was said; the
// stream was told to come back (a shutdown, a bound, an engine that is away); the peer
// closed, sent what nobody asked for, or did not take what was written; another
// answer was given in the event stream's place; the server ended; a panic.
var Causes = [...]string{"end", "sent_away", "peer_closed", "peer_spoke", "write_timeout", "not_started", "shutdown", "panic", "other"}

// Counts are what was counted of channels since the Site was made. They add up: of
// the values that arrived while a reader was there, and those that waited for it when
// it came, each is delivered, coalesced, missed or unsent, or still waits (Figures).
// With "× readers" for as many as were there when it came,
//
//	Arrived × readers + Replayed = Delivered + Coalesced + Missed + Unsent + Waiting
//
// What is counted of one reader is read in one step, and Passed is counted apart, by
// places: Passed = Delivered + Coalesced + Missed holds in every Stats.
type Counts struct {
	// Published: values of senders here that their channel took.
	Published uint64
	// Arrived: values that came into this node's copies of the logs, also from other
	// nodes. Of a client process's channels it is Published.
	Arrived uint64
	// Replayed: values that waited for a reader when it came: history, and what it had
	// missed. Of a client process's channels: those sent again, and those that
	// another node handed over.
	Replayed uint64
	// Passed: values that readers have behind them.
	Passed uint64
	// Delivered: values given to an event stream's connection.
	Delivered uint64
	// Coalesced: values of newest channels that a newer one took the place of before a
	// reader was sent them.
	Coalesced uint64
	// Missed: values in whose place a reader was told full, as far as this node knew of
	// them: of what was missed before the reader came it knows only that it was,
	// which Stats.Full has. A stretch that the node itself never got counts as one.
	Missed uint64
	// Unsent: values that waited for a reader when it left. They are Replayed if it comes
	// back in time.
	Unsent uint64
	// Pulled: values that were read because a tab asked.
	Pulled uint64
}

// Figures are Counts, and what there is now.
type Figures struct {
	Counts
	// Channels is how many there are.
	Channels int
	// Readers is how many event streams hear a site channel, or how many client
	// processes' channels are heard, each time one.
	Readers int
	// Waiting: values that readers have before them, in all; MaxWaiting: the one that is
	// furthest behind. Of a client process's channels: what waits for its tab, also while
	// that is away.
	Waiting, MaxWaiting uint64
}

// Stats is what a Site looks like from outside.
type Stats struct {
	// Kinds has the figures of channels, by Kinds.
	Kinds map[string]Figures
	// Full counts what readers were told in the place of values, by FullReasons.
	Full map[string]uint64
	// Streams is how many event streams there are, Opened how many were let in.
	Streams int
	Opened  uint64
	// Ended counts the event streams that ended, by Causes; those that were not let in
	// included.
	Ended map[string]uint64
	// Sessions, Processes: those that live on this node. Attached: the processes that an
	// event stream carries.
	Sessions, Processes, Attached int
	// Publishing and PublishingBytes: what waits to be taken by a shared engine.
	Publishing, PublishingBytes int
	// Writes is how long what was written waited for the peer to take it.
	Writes Writes
}

// WriteBounds are the upper bounds of Writes' buckets.
var WriteBounds = [...]time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second,
}

// Writes is a histogram. What the socket took at once counts as no time at all.
type Writes struct {
	// Buckets has how many took no longer than each of WriteBounds, the shorter ones
	// included; Count has all.
	Buckets []uint64
	Count   uint64
	Sum     time.Duration
}

// Stats returns the Site's figures. It looks at every event stream and every client
// process, each under its own lock for a moment: 0.2 to 0.4 µs a tab that has heard
// something, 4 ms of one core for 10,000. Their lists are copied under the Site's, as a
// heartbeat's sweep does it. It blocks for nothing else. Counts never go down.
func (s *Site) Stats() Stats {
	w := s.walk(func(string) bool { return false })
	st := Stats{
		Kinds: make(map[string]Figures, len(Kinds)), Full: s.fulls.read(), Opened: s.opened.Load(), Ended: s.causes.read(),
		Streams: len(w.streams), Sessions: w.sessions, Processes: len(w.processes), Attached: w.attached,
		Publishing: int(s.waiting.values.Load()), PublishingBytes: int(s.waiting.bytes.Load()),
		Writes: s.writes.read(),
	}
	for k, f := range w.kinds {
		f.Counts = s.totals[k].read()
		st.Kinds[Kinds[k]] = f
	}
	return st
}

// ChannelStats is what one site channel looks like.
type ChannelStats struct {
	Name, Kind string
	Figures
	// Tail is the position of the newest value.
	Tail engine.Position
	// Kept and KeptBytes are what is there to be replayed.
	Kept, KeptBytes int
}

// ChannelStats returns the figures of the site channels of these names, or of all
// without any, by name; one that there is not is left out. It costs what Stats does.
func (s *Site) ChannelStats(names ...string) []ChannelStats {
	w := s.walk(func(name string) bool { return len(names) == 0 || slices.Contains(names, name) })
	all := make([]ChannelStats, 0, len(w.channels))
	for c, f := range w.channels {
		f.Counts, f.Channels = c.account().own.read(), 1
		cs := ChannelStats{Name: c.spec.Name, Kind: Kinds[c.spec.siteKind()], Figures: *f}
		cs.Tail, cs.Kept, cs.KeptBytes = c.follower.keeps()
		all = append(all, cs)
	}
	slices.SortFunc(all, func(a, b ChannelStats) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// ReaderStats is one event stream's place in one site channel.
type ReaderStats struct {
	Reader  Reader
	Address string // the network address
	// At is the position after the last value sent; the zero Position where nothing
	// is known yet.
	At      engine.Position
	Waiting uint64 // values before it
}

// ReaderStats returns the readers of a site channel, those furthest behind first, at
// most n. It costs what Stats does.
func (s *Site) ReaderStats(channel string, n int) []ReaderStats {
	var all []ReaderStats
	n = max(n, 0)
	for _, es := range s.listStreams() {
		if all = es.readersOf(channel, all); len(all) > 1000+2*n { // a channel may have very many
			all = furthest(all, n)
		}
	}
	return furthest(all, n)
}

// furthest returns the n readers that are furthest behind, in the array of all.
func furthest(all []ReaderStats, n int) []ReaderStats {
	slices.SortStableFunc(all, func(a, b ReaderStats) int { return cmp.Compare(b.Waiting, a.Waiting) })
	return all[:min(n, len(all))]
}

func (s *EventStream) readersOf(channel string, all []ReaderStats) []ReaderStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sites {
		if r.channel != nil && r.name == channel {
			all = append(all, ReaderStats{Reader: s.reader, Address: s.address, At: r.at, Waiting: r.waiting()})
		}
	}
	return all
}

// A walk is one look at all that there is.
type walk struct {
	streams   []*EventStream
	processes []*ClientProcess
	sessions  int
	attached  int
	channels  map[*siteChannel]*Figures
	kinds     [kinds]Figures
}

// walk settles everything, so that the accounts are of now. wanted tells which site
// channels are to be looked at one by one.
func (s *Site) walk(wanted func(name string) bool) *walk {
	w := &walk{streams: s.listStreams(), channels: map[*siteChannel]*Figures{}}
	s.mu.Lock()
	slots := slices.Collect(maps.Values(s.channels))
	w.processes = slices.Collect(maps.Values(s.processes))
	w.sessions = len(s.sessions)
	s.mu.Unlock()
	for _, sl := range slots {
		sl.account.settle()
		if c := s.find(sl.name); c != nil && c.slot == sl {
			w.kinds[c.spec.siteKind()].Channels++
			if wanted(sl.name) {
				w.channels[c] = &Figures{}
			}
		}
	}
	for _, es := range w.streams {
		es.look(w)
	}
	for _, p := range w.processes {
		p.look(w)
	}
	return w
}

func (s *EventStream) look(w *walk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, r := range s.sites {
		if r.channel == nil {
			continue
		}
		w.kinds[r.channel.spec.siteKind()].reader(r.waiting())
		if f := w.channels[r.channel]; f != nil {
			f.reader(r.waiting())
		}
	}
}

func (p *ClientProcess) look(w *walk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	if p.current != nil {
		w.attached++
	}
	for _, c := range p.boxes {
		f := &w.kinds[c.spec.privateKind()]
		f.wait(uint64(c.box.Waiting()))
		if c.state.ended() {
			continue
		}
		f.Channels++
		if c.heard && p.current != nil {
			f.Readers++
		}
	}
}

func (f *Figures) reader(waiting uint64) {
	f.Readers++
	f.wait(waiting)
}

func (f *Figures) wait(waiting uint64) {
	f.Waiting += waiting
	f.MaxWaiting = max(f.MaxWaiting, waiting)
}

// settle carries over what was counted in the event stream. It needs s.mu.
func (s *EventStream) settle() {
	for _, r := range s.sites {
		if r.channel != nil {
			r.settle()
		}
	}
	s.site.writes.count.Add(uint64(s.writes))
	s.writes = 0
}

// keeps returns what the node's copy of the log has.
func (f *follower) keeps() (tail engine.Position, entries, bytes int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tail, f.ring.Len(), f.ring.Bytes()
}
