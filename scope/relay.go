package scope

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ocsigo/comet/internal/mailbox"
)

// A relay carries a client process of another node on an event stream of this
// one. Its goroutine asks the owner; the event stream takes what it has.
type relay struct {
	node    *node
	stream  *EventStream
	token   string
	session string
	brief   bool
	id      uint64
	begun   time.Time
	cancel  context.CancelFunc
	known   chan struct{} // closed when the owner has answered what there is

	// The goroutine's own.
	owner   string // where the process is now
	rank    uint64 // 0: to be knocked for
	arrival arrival
	number  uint64 // what it has
	answers uint64

	mu       sync.Mutex
	events   []relayed        // to be taken
	channels []greetedChannel // that it has been told of
	top      uint64           // where the event stream stands when it has taken all
	attached bool
	paced    bool // what comes next waits until this was written
	written  bool
	idle     bool // nothing more comes by itself
	left     bool
	more     chan struct{} // one may wait: all was taken
}

// relayed is one thing that the event stream is to be told.
type relayed struct {
	told  told
	event processEvent
}

// relay begins to carry the process of token, which is on another node.
func (es *EventStream) relay(owner, token string, a arrival) *relay {
	r := &relay{
		node: es.site.node, stream: es, token: token, session: es.reader.Session, brief: es.brief, id: rand.Uint64(), begun: time.Now(),
		owner: owner, arrival: a, number: a.number, known: make(chan struct{}), more: make(chan struct{}, 1),
	}
	ctx, cancel := context.WithCancel(es.site.ctx)
	r.cancel = cancel
	es.site.work.Add(1)
	go r.run(ctx)
	return r
}

// list lets commands find the event stream by its process.
func (n *node) list(r *relay) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.relays[r.token] = r
}

func (n *node) unlist(r *relay) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.relays[r.token] == r {
		delete(n.relays, r.token)
	}
}

// run is the relay's goroutine: it ends with the relay, or with the process.
func (r *relay) run(ctx context.Context) {
	defer r.node.site.work.Done()
	defer r.sayLeave()
	least, most := r.node.lease/200, r.node.lease/20
	for wait := least; ; wait = min(2*wait, most) {
		final, err := r.step(ctx)
		if err == nil {
			wait = least / 2
		}
		if errors.Is(err, errDead) {
			final, err = gone, nil
		}
		switch {
		case ctx.Err() != nil:
			return
		case final != nothing:
			r.finish(final)
			return
		case err == nil:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(wait, 0.25)):
		}
	}
}

// step asks the owner the next question, and tells the event stream what came of
// it. Anything but nothing is the last.
func (r *relay) step(ctx context.Context) (told, error) {
	if r.rank == 0 {
		return r.attach(ctx)
	}
	busy := r.waitTaken(ctx)
	if ctx.Err() != nil {
		return nothing, ctx.Err()
	}
	asking, cancel := context.WithTimeout(ctx, r.node.hold()+r.node.patience())
	defer cancel()
	what, body, err := r.node.ask(asking, r.owner, r.question(busy))
	if err != nil {
		return nothing, err
	}
	switch what {
	case wasDone:
		r.answers++
		return nothing, r.hear(body)
	case wasMoved:
		r.owner, r.rank = body.text(), 0
		return nothing, nil
	}
	return r.refused(what)
}

func (r *relay) refused(what answered) (told, error) {
	switch what {
	case wasGone:
		return gone, nil
	case wasSuperseded:
		return superseded, nil
	}
	return nothing, errAway
}

// waitTaken waits until the event stream has taken what there is, but no longer
// than the owner may be without a sign of life.
func (r *relay) waitTaken(ctx context.Context) (busy bool) {
	late := time.NewTimer(r.node.hold())
	defer late.Stop()
	for {
		r.mu.Lock()
		waits := len(r.events) > 0 || r.paced && !r.written || r.brief && r.idle
		r.mu.Unlock()
		if !waits {
			return false
		}
		select {
		case <-r.more:
		case <-late.C:
			return true
		case <-ctx.Done():
			return true
		}
	}
}

func (r *relay) question(busy bool) parcel {
	r.mu.Lock()
	written := r.paced && r.written
	r.mu.Unlock()
	return parcel{byte(askNext)}.text(r.token).number(r.rank).number(r.number).number(r.answers).flags(busy, written && !busy, r.brief)
}

// attach asks the owner to be the one that carries the process.
func (r *relay) attach(ctx context.Context) (told, error) {
	asking, cancel := context.WithTimeout(ctx, 2*r.node.patience())
	defer cancel()
	what, body, at, err := r.node.askWherever(asking, r.owner, parcel{byte(askKnock)}.text(r.token).text(r.session))
	r.owner = at
	if err != nil || what != wasDone {
		t, away := r.refused(what)
		return t, errors.Join(err, away)
	}
	rank := body.number()
	a := r.arrival
	if ctx.Err() != nil { // nobody is there any more: the tab may have come elsewhere
		return nothing, ctx.Err()
	}
	r.rank = rank // from here on it has to be left
	what, body, err = r.node.ask(asking, r.owner, parcel{byte(askAttach)}.text(r.token).text(r.session).
		text(r.node.name.ID).number(r.id).number(rank).number(a.generation).number(a.number).
		flags(a.reconnect, a.forged, a.resumes, a.reads).text(a.user))
	if err == nil && what == wasDone {
		return nothing, r.begin(body)
	}
	if ctx.Err() != nil {
		return nothing, ctx.Err()
	}
	r.rank = 0
	switch {
	case err != nil:
		return nothing, err
	case what == wasMoved, what == wasAgain:
		return nothing, nil
	}
	return r.refused(what)
}

// begin is told that the process is carried here.
func (r *relay) begin(body *unparcel) error {
	generation, number := body.number(), body.number()
	var channels []greetedChannel
	for range body.count() {
		if body.bad {
			break
		}
		channels = append(channels, unpackGreeted(body))
	}
	if body.bad {
		return errAway
	}
	r.node.list(r)
	r.mu.Lock()
	first := !r.attached
	if first {
		r.number, r.top, r.answers = number, number, 0
		r.events = append(r.events, relayed{attached, processEvent{generation: generation, number: number}})
		r.channels = channels
	} else {
		r.tellNew(channels)
	}
	r.attached = true
	left := r.left
	r.mu.Unlock()
	if left {
		r.node.unlist(r)
	}
	r.answers = 0
	r.arrival = arrival{generation: generation, number: r.number, user: r.arrival.user, reconnect: true, resumes: true, reads: r.arrival.reads}
	if first {
		close(r.known)
	}
	r.stream.Wake()
	return nil
}

// tellNew tells of the channels that came to be heard while nobody was asked. It
// needs r.mu.
func (r *relay) tellNew(channels []greetedChannel) {
	told := r.channels
	for _, e := range r.events {
		told = e.learn(told)
	}
	for _, c := range channels {
		known := slices.ContainsFunc(told, func(k greetedChannel) bool { return k.Channel == c.Channel && k.event() == c.event() })
		if !known {
			r.events = append(r.events, relayed{aChannel, c.named()})
		}
	}
}

func unpackGreeted(u *unparcel) (c greetedChannel) {
	var other bool
	u.flags(&c.Pull, &other, &c.over)
	c.Channel = u.text()
	if other {
		c.Event = eventBeside(c.Channel, u.text())
	}
	return c
}

// hear takes the owner's news.
func (r *relay) hear(body *unparcel) error {
	var reading bool
	body.flags(&reading)
	number := body.number()
	var events []relayed
	paced := false
	for range body.count() {
		if body.bad {
			break
		}
		e := unpack(body)
		events, paced = append(events, e), paced || e.event.paced
	}
	if body.bad {
		return errAway
	}
	r.number, r.arrival.number = number, number
	r.mu.Lock()
	r.events = append(r.events, events...)
	r.top = number
	r.paced = r.paced || paced
	r.written = r.written && len(events) == 0
	r.idle = r.brief && len(events) == 0 && !reading
	idle := r.idle
	r.mu.Unlock()
	if len(events) > 0 || idle {
		r.stream.Wake()
	}
	return nil
}

// learn returns the channels that there are for who has heard e, too. It leaves those
// before as they are.
func (e *relayed) learn(channels []greetedChannel) []greetedChannel {
	named, ended := e.told == aChannel, e.told == anEvent && e.event.kind != mailbox.Data
	if !named && !ended {
		return channels
	}
	channels = slices.DeleteFunc(slices.Clone(channels), func(c greetedChannel) bool { return c.Channel == e.event.channel })
	if named {
		channels = append(channels, e.event.greeted())
	}
	return channels
}

// unpack reads what processEvent.parcel wrote.
func unpack(u *unparcel) relayed {
	var same bool
	e := processEvent{number: u.number(), channel: u.text()}
	u.flags(&e.unnamed, &e.paced, &e.pull, &same, &e.over)
	e.kind, e.reason = mailbox.Kind(u.number()), u.text()
	if e.event = e.channel; !same {
		e.event = u.text()
	}
	e.data = u.bytes()
	if e.number == 0 {
		return relayed{aChannel, e}
	}
	return relayed{anEvent, e}
}

// finish tells the event stream why the process is not carried any more.
func (r *relay) finish(t told) {
	r.node.unlist(r)
	r.mu.Lock()
	known := r.attached
	r.attached, r.idle, r.rank = false, true, 0
	r.events = append(r.events, relayed{told: t})
	r.mu.Unlock()
	if !known {
		close(r.known)
	}
	r.stream.Wake()
}

// sayLeave tells the owner that nobody is there any more. If that is lost, the
// owner misses the questions.
func (r *relay) sayLeave() {
	if r.rank == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.node.patience())
	defer cancel()
	_, _, _ = r.node.ask(ctx, r.owner, parcel{byte(askLeave)}.text(r.token).number(r.rank))
}
