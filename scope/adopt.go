package scope

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ocsigo/comet/internal/mailbox"
)

// pack returns the process as adopts reads it.
func (p *ClientProcess) pack() (parcel, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.ended() || p.over == nil {
		return nil, errors.New("it ended")
	}
	away := time.Duration(0)
	if p.current == nil {
		away = time.Since(p.away)
	}
	b := parcel(nil).text(p.token).text(p.session).number(p.number).number(p.received).number(p.forgotten).number(p.generation).
		number(uint64(away.Milliseconds())).flags(p.connected, p.own).text(p.user)
	var boxes []*privateChannel
	for _, c := range p.boxes {
		if c.heard {
			boxes = append(boxes, c)
		}
	}
	b = b.number(uint64(len(boxes)))
	for _, c := range boxes {
		b = c.pack(b, slices.Index(boxes, c.before))
		if len(b) > handBytes {
			return nil, errTooBig
		}
	}
	return b, nil
}

// pack appends the channel. before is the place of the one that had its name.
func (c *privateChannel) pack(b parcel, before int) parcel {
	s := c.box.Snapshot()
	b = b.text(c.spec.Name).text(c.spec.Event).flags(c.spec.Unnamed, c.spec.Kind == Pull, s.Final).number(uint64(before + 1)).number(c.after).number(c.endedAt).
		number(uint64(s.Size)).number(uint64(s.MaxBytes)).number(s.Discarded)
	for _, entries := range [][]mailbox.Entry{s.Sent, s.Unsent} {
		b = b.number(uint64(len(entries)))
		for _, e := range entries {
			b = b.number(e.Number).number(uint64(e.Kind)).text(e.Reason).bytes(e.Data)
		}
	}
	return b
}

// unpackProcess reads what pack wrote. The process is nobody's yet.
func (s *Site) unpackProcess(u *unparcel) (*ClientProcess, bool) {
	p := &ClientProcess{
		site: s, token: u.text(), session: u.text(), number: u.number(), received: u.number(), forgotten: u.number(), generation: u.number(),
		away: time.Now().Add(-time.Duration(u.number()) * time.Millisecond), adopted: true, names: map[string]*privateChannel{},
	}
	u.flags(&p.connected, &p.own)
	p.user = u.text()
	for range u.count() {
		if u.bad {
			break
		}
		c, before := unpackChannel(p, u)
		if before > 0 && before <= len(p.boxes) {
			c.before = p.boxes[before-1]
		}
		p.boxes = append(p.boxes, c)
		if c.endedAt == 0 {
			p.names[c.spec.Name] = c
		}
	}
	return p, !u.bad
}

func unpackChannel(p *ClientProcess, u *unparcel) (c *privateChannel, before int) {
	spec := Spec{Name: u.text(), Event: u.text()}
	var pulled bool
	var s mailbox.Snapshot
	u.flags(&spec.Unnamed, &pulled, &s.Final)
	if pulled {
		spec.Kind = Pull
	}
	before = int(u.number())
	after, endedAt := u.number(), u.number()
	size, maxBytes := u.number(), u.number()
	u.bad = u.bad || size > MaxSize || maxBytes > math.MaxInt
	s.Size, s.MaxBytes, s.Discarded = max(1, int(size)), int(maxBytes), u.number()
	for _, entries := range []*[]mailbox.Entry{&s.Sent, &s.Unsent} {
		for range u.count() {
			if u.bad {
				break
			}
			*entries = append(*entries, mailbox.Entry{Number: u.number(), Kind: mailbox.Kind(u.number()), Reason: u.text(), Data: u.bytes()})
		}
	}
	if u.bad {
		s = mailbox.Snapshot{Size: 1}
	}
	spec.Size, spec.MaxBytes = s.Size, s.MaxBytes
	c = &privateChannel{process: p, spec: spec, heard: true, after: after, endedAt: endedAt, box: *mailbox.Restore(s)}
	c.state.flip(ErrShutdown)
	return c, before
}

// An adoption is a process that comes in parts.
type adoption struct {
	transfer uint64
	part     uint64 // the next
	data     []byte
	newest   time.Time
}

// maxAdoptions bounds how many come at once: those of a few nodes that end together.
const maxAdoptions = 8 * handAtOnce

// adopts takes a part of a process that is handed over, and with the last one the
// process.
func (n *node) adopts(u *unparcel) []byte {
	token, transfer, part := u.text(), u.number(), u.number()
	var last bool
	u.flags(&last)
	piece := u.bytes()
	if n.site.has(token) { // and the answer was lost
		return []byte{byte(wasDone)}
	}
	data, missing := n.collect(token, transfer, part, piece)
	switch {
	case u.bad || missing:
		return []byte{byte(notNow)}
	case !last:
		return []byte{byte(wasDone)}
	}
	p, ok := n.site.unpackProcess(&unparcel{rest: data})
	n.mu.Lock()
	delete(n.parts, token)
	n.mu.Unlock()
	if !ok || p.token != token || !n.site.adopt(p) {
		return []byte{byte(notNow)}
	}
	return []byte{byte(wasDone)}
}

func (s *Site) has(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.processes[digest(token)] != nil
}

// collect returns what has come of a process. A part that came already changes
// nothing; one that cannot be next is missing others before it.
func (n *node) collect(token string, transfer, part uint64, data []byte) (all []byte, missing bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.parts[token]
	if a == nil || a.transfer != transfer {
		if part > 0 || a == nil && len(n.parts) >= maxAdoptions {
			return nil, true
		}
		a = &adoption{transfer: transfer}
		n.parts[token] = a
	}
	a.newest = time.Now()
	switch {
	case part+1 == a.part:
		return a.data, false
	case part != a.part || len(a.data)+len(data) > handBytes:
		return nil, true
	}
	a.part++
	a.data = append(a.data, data...)
	return a.data, false
}

// forgetParts forgets what came of processes whose node has not gone on: it has died, or
// gave them to another.
func (n *node) forgetParts() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for t, a := range n.parts {
		if time.Since(a.newest) > handWithin {
			delete(n.parts, t)
		}
	}
}

// adopt takes up a process that another node had. It tells what waits, and that its
// channels are closed and it is gone.
func (s *Site) adopt(p *ClientProcess) bool {
	s.mu.Lock()
	if s.down {
		s.mu.Unlock()
		return false
	}
	old := s.processes[digest(p.token)]
	if old == nil {
		ses := s.sessions[p.session]
		if ses == nil {
			ses = &session{key: p.session}
			s.sessions[p.session] = ses
		}
		p.resume() // before anybody finds it
		ses.processes = append(ses.processes, p)
		s.processes[digest(p.token)] = p
	}
	s.mu.Unlock()
	if old == nil {
		s.watchSessions()
	}
	return true
}

// resume starts the clock of an adopted process: it runs on from where it was.
func (p *ClientProcess) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.boxes {
		p.site.totals[c.spec.privateKind()].add(Counts{Replayed: uint64(c.box.Waiting())})
	}
	if !p.state.ended() {
		p.expiry = p.site.wheel.After(max(0, time.Until(p.away.Add(p.lifetime()))), p.expire)
	}
}

// partedWith is told that an adopted process has nothing left to tell: its page
// hears that it is gone. It stays a little, for a tab that was cut before that. It
// needs p.mu.
func (p *ClientProcess) partedWith() {
	p.parted = true
	p.left()
}
