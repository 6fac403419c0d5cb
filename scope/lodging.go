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
	node  string         // the relay's
	relay uint64         // tells the relays of a node apart
	wakes chan struct{}  // one may wait
	fresh []processEvent // channels that are heard from now on, and not known to be told
	told  int            // how many of them the newest answer has
	given uint64         // answers
	turn  chan struct{}  // closed when another question takes the place of the one that waits
	seen  time.Time      // the newest question
	timer *wheel.Timer   // for the next one
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

// greet implements carrier.
func (l *lodging) greet(channel greetedChannel) {
	l.process.mu.Lock()
	l.fresh = append(l.fresh, processEvent{channel: channel.Channel, pull: channel.Pull})
	l.process.mu.Unlock()
	l.wake()
}

// board implements carrier.
func (l *lodging) board() board { return board{node: l.node, token: l.process.token} }

// owned returns the living process of a token, with what to answer if there is
// none. One that was handed over is asked for where it is.
func (n *node) owned(token string) (*ClientProcess, []byte) {
	s := n.site
	s.mu.Lock()
	p := s.processes[token]
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
	p := n.site.processes[token]
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

// knocked gives a ticket for a process to who may hear it.
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
	return parcel{byte(wasDone)}.number(p.ticket())
}

// attaches lets a relay carry a process.
func (n *node) attaches(u *unparcel) []byte {
	token, session := u.text(), u.text()
	l := &lodging{node: u.text(), relay: u.number(), wakes: make(chan struct{}, 1)}
	l.ticket = u.number()
	a := arrival{generation: u.number(), number: u.number()}
	u.flags(&a.reconnect, &a.forged, &a.resumes, &a.reads)
	p, not := n.owned(token)
	switch {
	case p == nil:
		return not
	case !p.isOf(session) || u.bad:
		return []byte{byte(wasGone)}
	}
	l.process, l.by = p, l
	if not := l.late(a); not != nil {
		return not
	}
	t, number, after := l.attach(a)
	after()
	switch t {
	case gone:
		return []byte{byte(wasGone)}
	case superseded:
		return []byte{byte(wasSuperseded)}
	}
	l.begin(n)
	n.site.watchSessions()
	reply := parcel{byte(wasDone)}.number(l.generation).number(number)
	channels := l.greeting()
	reply = reply.number(uint64(len(channels)))
	for _, c := range channels {
		reply = reply.flags(c.Pull).text(c.Channel)
	}
	return reply
}

// late refuses a relay after which another has come already.
func (l *lodging) late(a arrival) []byte {
	p := l.process
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case a.resumes && p.taken > 0 && (p.lodged == nil || p.lodged.relay != l.relay):
		return []byte{byte(wasSuperseded)} // its tab came back elsewhere
	case l.ticket <= p.taken:
		return []byte{byte(wasAgain)}
	}
	p.taken = l.ticket
	return nil
}

// begin waits for questions.
func (l *lodging) begin(n *node) {
	p := l.process
	p.mu.Lock()
	defer p.mu.Unlock()
	l.seen = time.Now()
	p.lodged = l
	l.timer = p.site.wheel.NewTimer(func() { l.check(n) })
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

// A question is what a relay asks again and again.
type question struct {
	number  uint64 // what it has
	answers uint64 // how many it got
	busy    bool   // its event stream has not taken that yet: it says only that it lives
	written bool   // everything was written
	brief   bool   // it waits for nothing but values that are being read
}

// nextFor answers what is new of a process, when there is something.
func (n *node) nextFor(ctx context.Context, u *unparcel) []byte {
	token, ticket := u.text(), u.number()
	q := question{number: u.number(), answers: u.number()}
	u.flags(&q.busy, &q.written, &q.brief)
	held := time.NewTimer(n.hold())
	defer held.Stop()
	var turn chan struct{}
	for waited := false; ; {
		p, not := n.owned(token)
		if p == nil && answered(not[0]) == notNow && !n.handed(ctx, token, held.C) {
			continue
		}
		if p == nil {
			return not
		}
		l, reply, after := p.answer(n, ticket, &q, &turn, waited)
		after()
		if reply != nil {
			return reply
		}
		select {
		case <-l.wakes:
		case <-turn:
			return []byte{byte(notNow)} // nobody reads this
		case <-held.C:
			waited = true
		case <-ctx.Done():
			return []byte{byte(notNow)}
		}
	}
}

// answer returns the reply to a question, nil while there is nothing to say. last
// tells that an empty one is due.
func (p *ClientProcess) answer(n *node, ticket uint64, q *question, turn *chan struct{}, last bool) (l *lodging, reply []byte, after func()) {
	var lost []*privateChannel
	after = func() {
		for _, c := range lost {
			c.state.end(ErrFull)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l = p.lodged; l == nil || l.ticket != ticket {
		return nil, []byte{byte(wasSuperseded)}, after
	}
	if *turn == nil { // it has just come
		if l.turn != nil {
			close(l.turn)
		}
		l.turn = make(chan struct{})
		*turn = l.turn
		lost = l.asked(n, q)
	}
	told, events, number := l.fill(q, n.site.caps.MaxEntry)
	switch {
	case told == gone:
		return l, []byte{byte(wasGone)}, after
	case told == superseded:
		return l, []byte{byte(wasSuperseded)}, after
	case len(events) == 0 && !last && !q.busy && !(q.brief && !p.reads()):
		return l, nil, after
	}
	l.given++
	return l, news(events, number, p.reads()), after
}

// asked notes the sign of life. A relay that was only slow is taken in again,
// unless somebody came meanwhile. It needs the process's lock, and returns the
// channels of which what an answer had that was lost is kept no more.
func (l *lodging) asked(n *node, q *question) (lost []*privateChannel) {
	p := l.process
	l.seen = time.Now()
	if q.answers == l.given {
		l.fresh = l.fresh[l.told:]
	}
	l.given, l.told = q.answers, 0
	if p.state.ended() || p.over != nil {
		return nil
	}
	if p.current == nil && p.taken == l.ticket {
		p.current = &l.hearing
		p.arrived()
		p.attached(q.number, false)
		l.timer.Reset(n.quiet())
	}
	if q.written && p.current == &l.hearing && l.reads && l.paced && q.number == p.number {
		p.drained()
	}
	if p.current == &l.hearing && q.number < p.number {
		lost = p.lose(q.number)
	}
	return lost
}

// fillBytes is how much one answer has at most, unless one event alone has more.
const fillBytes = 64 << 10

// fill takes what is to be told after the question's number, as much as one answer
// may have. What an answer that was lost had is taken again, and nothing new with
// it. It needs the process's lock.
func (l *lodging) fill(q *question, most int) (told, []processEvent, uint64) {
	p := l.process
	k, again, size := q.number, q.number < p.number, 64+len(l.fresh)*overhead
	before := p.number
	if q.busy {
		t := nothing
		switch {
		case p.over != nil:
		case p.state.ended():
			t = gone
		case p.current != &l.hearing:
			t = superseded
		}
		return t, nil, k
	}
	var events []processEvent
	for size < fillBytes && !(again && k >= before) {
		t, e := l.nextLocked(k)
		if t != anEvent {
			if len(events) > 0 || t == nothing {
				k = max(k, e.number)
				break
			}
			return t, nil, k
		}
		if size += e.size(); size > most && len(events)+len(l.fresh) > 0 {
			break // it comes again with the next answer
		}
		k = e.number
		events = append(events, e)
	}
	if p.current == &l.hearing && p.over == nil {
		l.told = len(l.fresh)
		events = append(l.fresh[:l.told:l.told], events...)
	}
	return nothing, events, k
}

// overhead is what an event, and the answer around it, takes besides its value, at
// most: two names, numbers and a reason.
const overhead = 512

// size is what the event takes in an answer, at most.
func (e *processEvent) size() int {
	return len(e.data) + len(e.channel) + len(e.event) + len(e.reason) + 24
}

// news is the reply that has events.
func news(events []processEvent, number uint64, reading bool) parcel {
	size := 64
	for i := range events {
		size += events[i].size()
	}
	reply := append(make(parcel, 0, size), byte(wasDone)).flags(reading).number(number).number(uint64(len(events)))
	for i := range events {
		reply = events[i].parcel(reply)
	}
	return reply
}

// parcel appends the event. One without a number is a channel.
func (e *processEvent) parcel(p parcel) parcel {
	p = p.number(e.number).text(e.channel).flags(e.unnamed, e.paced, e.pull, e.event == e.channel).number(uint64(e.kind)).text(e.reason)
	if e.event != e.channel {
		p = p.text(e.event)
	}
	return p.bytes(e.data)
}

// leaves lets a relay go.
func (n *node) leaves(u *unparcel) []byte {
	token, ticket := u.text(), u.number()
	p, not := n.owned(token)
	if p == nil {
		return not
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = max(p.taken, ticket) // an attach that is still on its way is late
	if l := p.lodged; l != nil && l.ticket == ticket && p.current == &l.hearing {
		p.detached()
		p.left()
		l.timer.Stop()
	}
	return []byte{byte(wasDone)}
}
