package scope

import (
	"context"
	"time"
)

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
	token, rank := u.text(), u.number()
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
		l, reply, after := p.answer(n, rank, &q, &turn, waited)
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
func (p *ClientProcess) answer(n *node, rank uint64, q *question, turn *chan struct{}, last bool) (l *lodging, reply []byte, after func()) {
	var lost []*privateChannel
	after = func() {
		for _, c := range lost {
			c.state.tell()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l = p.lodged; l == nil || l.rank != rank {
		return nil, []byte{byte(wasSuperseded)}, after
	}
	if *turn == nil { // it has just come
		if q.number < l.newest.number || q.answers < l.newest.answers {
			return l, []byte{byte(notNow)}, after // late: its relay has asked others since
		}
		if l.turn != nil {
			close(l.turn)
		}
		l.turn = make(chan struct{})
		*turn = l.turn
		lost = l.asked(n, q)
	}
	if q.number < p.forgotten && p.over == nil && p.current == &l.hearing { // as of an event stream that comes
		p.detached()
		p.left()
		l.timer.Stop()
		return l, []byte{byte(wasGone)}, after
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
	l.seen, l.newest = time.Now(), *q
	if q.answers != l.given { // the newest was lost
		l.fresh = append(l.naming, l.fresh...)
	}
	l.given, l.naming = q.answers, nil
	if p.state.ended() || p.over != nil {
		return nil
	}
	if p.current == nil && p.taken == l.rank {
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
	k, again, size := q.number, q.number < p.number, 64
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
	name := func() (all bool) {
		for len(events) == 0 || size+overhead < most {
			c := l.nameable(k)
			if c == nil {
				return true
			}
			e := c.named()
			size += e.size()
			l.naming, events = append(l.naming, c), append(events, e)
		}
		return false // it comes with the next answer
	}
	for name() && size < fillBytes && !(again && k >= before) {
		t, e := l.nextLocked(k)
		if t != anEvent {
			if len(events) > 0 || t == nothing {
				k = max(k, e.number)
				break
			}
			return t, nil, k
		}
		if size += e.size(); size > most && len(events) > 0 {
			break // it comes again with the next answer
		}
		k = e.number
		events = append(events, e)
	}
	return nothing, events, k
}

// nameable is takeFresh while the process is here. It needs the process's lock.
func (l *lodging) nameable(k uint64) *privateChannel {
	if l.process.over != nil {
		return nil
	}
	return l.takeFresh(k)
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
	p = p.number(e.number).text(e.channel).flags(e.unnamed, e.paced, e.pull, e.event == e.channel, e.over).number(uint64(e.kind)).text(e.reason)
	if e.event != e.channel {
		p = p.text(e.event)
	}
	return p.bytes(e.data)
}
