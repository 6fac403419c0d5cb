package scope

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

// Readers counts who hears a channel.
type Readers struct {
	Streams  int // event streams; one that several tabs share is one
	Sessions int // that these are of, each once
	Users    int // whom Config.User named, each once
	Nodes    int // that are in the count, this one included
	Silent   int // nodes that may live and did not answer: who hears there is missing
}

// A crowd is who hears a site channel on this node, by what the readers are: most
// event streams come and go without changing it. It is made by the first who asks
// for it and kept from then on, so that a channel of which nobody asks pays for
// nothing. The channel's lock guards it.
type crowd struct {
	streams         int // all of them
	members         map[Reader]int
	sessions, users map[string]int // how many members are of each
	version         uint64         // of the members
	watches         []*watch
}

// counted makes the crowd of those who hear by now. It needs c.mu.
func (c *siteChannel) counted() *crowd {
	if c.crowd == nil {
		c.crowd = &crowd{members: map[Reader]int{}, version: rand.Uint64()}
		for _, l := range c.readers {
			c.crowd.enter(l.reader.stream.reader)
		}
	}
	return c.crowd
}

// enter counts an event stream's reader. It needs the channel's lock, as all here.
func (w *crowd) enter(r Reader) {
	w.streams++
	if r == (Reader{}) {
		return
	}
	if w.members[r]++; w.members[r] == 1 {
		w.change(r, 1)
		for _, watch := range w.watches {
			watch.came(r)
		}
	}
}

func (w *crowd) leave(r Reader) {
	w.streams--
	if r == (Reader{}) {
		return
	}
	if w.members[r]--; w.members[r] == 0 {
		delete(w.members, r)
		w.change(r, -1)
		for _, watch := range w.watches {
			watch.went(r)
		}
	}
}

// change notes that a member is new, or is none any more.
func (w *crowd) change(r Reader, by int) {
	w.version++
	if r.Session != "" {
		w.sessions = count(w.sessions, r.Session, by)
	}
	if r.User != "" {
		w.users = count(w.users, r.User, by)
	}
}

// A rollCall is some of a crowd, in order: those after a reader, as many as one
// message holds.
type rollCall struct {
	version uint64
	streams int
	members []Reader
	more    bool
}

// compareReaders orders by session, then by user.
func compareReaders(a, b Reader) int {
	return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.User, b.User))
}

// call returns those after the given reader, in at most size bytes, but at least
// one. To who knows this version already it returns no one.
func (c *siteChannel) call(known uint64, after Reader, size int) (r rollCall) {
	c.mu.Lock()
	w := c.counted()
	r.version, r.streams = w.version, w.streams
	if r.version != known {
		r.members = slices.Collect(maps.Keys(w.members))
	}
	c.mu.Unlock()
	if after != (Reader{}) {
		r.members = slices.DeleteFunc(r.members, func(m Reader) bool { return compareReaders(m, after) <= 0 })
	}
	slices.SortFunc(r.members, compareReaders)
	for i, m := range r.members {
		size -= len(m.Session) + len(m.User) + 20
		if size < 0 && i > 0 {
			r.members, r.more = r.members[:i], true
			break
		}
	}
	return r
}

// A tally adds crowds up: a session or a user that hears by several is one.
type tally struct {
	streams         int
	sessions, users map[string]struct{}
}

func (t *tally) add(r Reader) {
	if t.sessions == nil {
		t.sessions, t.users = map[string]struct{}{}, map[string]struct{}{}
	}
	if r.Session != "" {
		t.sessions[r.Session] = struct{}{}
	}
	if r.User != "" {
		t.users[r.User] = struct{}{}
	}
}

func (t *tally) readers() Readers {
	return Readers{Streams: t.streams, Sessions: len(t.sessions), Users: len(t.users), Nodes: 1}
}

func (c *siteChannel) count() Readers {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.counted()
	return Readers{Streams: w.streams, Sessions: len(w.sessions), Users: len(w.users), Nodes: 1}
}

// tally counts this node, for others to be added.
func (c *siteChannel) tally() (t tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.counted()
	t.streams = w.streams
	for r := range w.members {
		t.add(r)
	}
	return t
}

// count counts the tab, if its event stream is there.
func (c *privateChannel) count() Readers {
	p := c.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil || !c.heard || c.state.ended() {
		return Readers{Nodes: 1}
	}
	r := Readers{Streams: 1, Sessions: 1, Nodes: 1}
	if p.user != "" {
		r.Users = 1
	}
	return r
}

// Readers counts who hears the channel from this node now: exactly, and without
// waiting. An event stream counts from its opening until its end is detected, and
// not while its reader is away; one whose peer vanished without a word is noticed
// within two heartbeats. The first call begins to keep count, and costs as much as
// there are readers; from then on each event stream costs a little when it comes
// and when it goes.
func (h *Handle) Readers() Readers { return h.core.count() }
