package scope

import (
	"context"
	"time"

	"github.com/ocsigo/comet/internal/wheel"
)

// A lodging is the owner's side of a relay: it carries a client process of this
// node to the event stream of another. It has no goroutine; a question that waits
// for news is the engine's. The process's lock guards it.
type lodging struct {
	hearing
	node   string            // the relay's
	relay  uint64            // tells the relays of a node apart
	wakes  chan struct{}     // one may wait
	naming []*privateChannel // that the newest answer names
	given  uint64            // answers
	turn   chan struct{}     // closed when another question takes the place of the one that waits
	newest question          // of those that came
	seen   time.Time         // when that was
	timer  *wheel.Timer      // for the next one
}

// wake implements carrier.
func (l *lodging) wake() {
	select {
	case l.wakes <- struct{}{}:
	default:
	}
}

// clashes implements carrier: the names there are not known here.
func (l *lodging) clashes(string) bool { return false }

// board implements carrier.
func (l *lodging) board() board { return board{node: l.node, token: l.process.token} }

// owned returns the living process of a token, with what to answer if there is
// none. One that was handed over is asked for where it is.
func (n *node) owned(token string) (*ClientProcess, []byte) {
	s := n.site
	s.mu.Lock()
	p := s.processes[digest(token)]
	s.mu.Unlock()
	if p == nil {
		return nil, []byte{byte(wasGone)}
	}
	switch h := p.handing(); {
	case h == nil && p.state.ended():
		return nil, []byte{byte(wasGone)}
	case h == nil:
		return p, nil
	case !h.over():
		return nil, []byte{byte(notNow)}
	case h.successor != "":
		return nil, parcel{byte(wasMoved)}.text(h.successor)
	}
	return nil, []byte{byte(wasGone)}
}

// handed waits until it is known who has a process that is being handed over.
func (n *node) handed(ctx context.Context, token string, held <-chan time.Time) (late bool) {
	n.site.mu.Lock()
	p := n.site.processes[digest(token)]
	n.site.mu.Unlock()
	if p == nil || p.handing() == nil {
		return false
	}
	select {
	case <-p.handing().done:
		return false
	case <-held:
	case <-ctx.Done():
	}
	return true
}

// knocked gives a rank for a process to who may hear it.
func (n *node) knocked(u *unparcel) []byte {
	token, session := u.text(), u.text()
	p, not := n.owned(token)
	if p == nil {
		return not
	}
	if !p.isOf(session) || u.bad {
		return []byte{byte(wasGone)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return parcel{byte(wasDone)}.number(p.rank())
}

// attaches lets a relay carry a process.
func (n *node) attaches(u *unparcel) []byte {
	token, session := u.text(), u.text()
	l := &lodging{node: u.text(), relay: u.number(), wakes: make(chan struct{}, 1)}
	l.rank = u.number()
	a := arrival{generation: u.number(), number: u.number()}
	u.flags(&a.reconnect, &a.forged, &a.resumes, &a.reads)
	a.user = u.text()
	p, not := n.owned(token)
	switch {
	case p == nil:
		return not
	case !p.isOf(session) || u.bad:
		return []byte{byte(wasGone)}
	}
	l.process, l.by = p, l
	number, not := l.enter(n, a)
	if not != nil {
		return not
	}
	n.site.watchSessions()
	reply := parcel{byte(wasDone)}.number(l.generation).number(number)
	channels := l.greeting(number)
	reply = reply.number(uint64(len(channels)))
	for _, c := range channels {
		reply = c.parcel(reply)
	}
	return reply
}

// parcel writes what unpackGreeted reads.
func (c greetedChannel) parcel(p parcel) parcel {
	p = p.flags(c.Pull, c.Event != nil, c.over).text(c.Channel)
	if c.Event != nil {
		p = p.text(*c.Event)
	}
	return p
}

// enter has the relay carry the process from number on, or tells what is in the way.
// No other comes between the look at who has come and that.
func (l *lodging) enter(n *node, a arrival) (number uint64, not []byte) {
	after := func() {}
	defer func() { after() }()
	l.process.mu.Lock()
	defer l.process.mu.Unlock()
	if not := l.late(a); not != nil {
		return 0, not
	}
	var t told
	switch t, number, after = l.attachLocked(a); t {
	case gone:
		return 0, []byte{byte(wasGone)}
	case superseded:
		return 0, []byte{byte(wasSuperseded)}
	}
	l.begin(n)
	return number, nil
}

// late refuses a relay after which another has come already. It needs the process's
// lock.
func (l *lodging) late(a arrival) []byte {
	p := l.process
	switch {
	case a.resumes && p.taken > 0 && (p.lodged == nil || p.lodged.relay != l.relay):
		return []byte{byte(wasSuperseded)} // its tab came back elsewhere
	case l.rank <= p.taken:
		return []byte{byte(wasAgain)}
	}
	p.taken = l.rank
	return nil
}

// begin waits for questions. It needs the process's lock.
func (l *lodging) begin(n *node) {
	l.seen = time.Now()
	l.process.lodged = l
	l.timer = l.process.site.wheel.NewTimer(func() { l.check(n) })
	l.timer.Reset(n.quiet())
}

// check has the process be away when its relay does not ask any more, since it
// asked last (rule 10).
func (l *lodging) check(n *node) {
	p := l.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != &l.hearing {
		return
	}
	if left := time.Until(l.seen.Add(n.quiet())); left > 0 {
		l.timer.Reset(left)
		return
	}
	p.detached()
	p.leftAt(l.seen)
}

// leaves lets a relay go.
func (n *node) leaves(u *unparcel) []byte {
	token, rank := u.text(), u.number()
	p, not := n.owned(token)
	if p == nil {
		return not
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = max(p.taken, rank) // an attach that is still on its way is late
	if l := p.lodged; l != nil && l.rank == rank && p.current == &l.hearing {
		p.detached()
		p.left()
		l.timer.Stop()
	}
	return []byte{byte(wasDone)}
}
