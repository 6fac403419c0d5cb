package scope

import (
	"slices"

	"github.com/ocsigo/comet/internal/mailbox"
)

// A hearing is one hold on a client process of this node. After it became the
// process's current one, nothing of it changes but paced, which is under the lock
// of who calls next, and fresh, which is under the process's.
type hearing struct {
	process    *ClientProcess
	by         carrier
	generation uint64
	rank       uint64 // its place in the order of those that came
	presented  uint64 // the number with which the event stream came
	reads      bool
	paced      bool // one of the sources reads on when its last value was written

	fresh []*privateChannel // to be named before their values
}

// attach makes h the one that hears the process, in place of an older one, or
// tells that a newer one has it (superseded), or that there is no process (gone).
// number is where the hearing begins. after is to be called without locks.
func (h *hearing) attach(a arrival) (t told, number uint64, after func()) {
	h.process.mu.Lock()
	defer h.process.mu.Unlock()
	return h.attachLocked(a)
}

// attachLocked needs the process's lock.
func (h *hearing) attachLocked(a arrival) (t told, number uint64, after func()) {
	p := h.process
	if h.rank == 0 {
		h.rank = p.rank()
	}
	p.taken = max(p.taken, h.rank)
	if !p.admits(a.user) { // it is another user's alone
		return gone, a.number, func() { p.end(ErrProcessGone) }
	}
	if p.state.ended() || a.number < p.forgotten { // what this tab missed cannot even be named
		return gone, a.number, func() {}
	}
	if a.reconnect && (a.generation == 0 || a.generation > p.generation) {
		a.reconnect, a.forged = false, true
	}
	if !a.reconnect {
		p.generation++
		a.generation = p.generation
	}
	h.generation, h.reads = a.generation, a.reads
	if p.current != nil && p.current.generation > h.generation {
		return superseded, a.number, func() {}
	}
	number, lost := h.take(a)
	t = attached
	if number < p.forgotten { // by what this tab has just lost
		p.detached()
		p.left()
		t = gone
	}
	return t, number, func() {
		for _, c := range lost {
			c.state.tell()
		}
	}
}

// take needs the process's lock. It returns the channels that this made full.
func (h *hearing) take(a arrival) (number uint64, lost []*privateChannel) {
	p := h.process
	if old := p.current; old != nil {
		old.by.wake() // to find that it is superseded
	}
	p.belongTo(a.user)
	p.current = h
	p.settle()
	p.arrived()
	number = a.number
	future := number > p.number
	switch {
	case a.forged:
		lost = p.refuse("cursor")
	case future:
		lost = p.refuse("future")
	default:
		if !a.resumes {
			p.acknowledge(number)
		}
		lost = p.lose(number)
	}
	if a.forged || future {
		number = p.number
	}
	h.presented = number
	for _, c := range p.boxes {
		if c.heard && c.heldBack(number) {
			h.fresh = append(h.fresh, c)
		}
	}
	p.attached(number, a.reads && !a.resumes)
	return number, lost
}

// next implements carried.
func (h *hearing) next(k uint64) (told, processEvent) {
	p := h.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := h.takeFresh(k); c != nil {
		return aChannel, c.named()
	}
	return h.nextLocked(k)
}

// takeFresh returns a channel that is to be named before what follows the number k,
// if there is one. It needs the process's lock.
func (h *hearing) takeFresh(k uint64) *privateChannel {
	if len(h.fresh) == 0 || h.process.current != h {
		return nil
	}
	i := slices.IndexFunc(h.fresh, func(c *privateChannel) bool { return !c.heldBack(k) })
	if i < 0 {
		return nil
	}
	c := h.fresh[i]
	h.fresh = slices.Delete(h.fresh, i, i+1)
	return c
}

// nextLocked is next without the channels to be named. It needs the process's lock.
func (h *hearing) nextLocked(k uint64) (told, processEvent) {
	p := h.process
	switch {
	case p.over != nil:
		return nothing, processEvent{number: k}
	case p.state.ended():
		return gone, processEvent{number: k}
	case p.current != h:
		return superseded, processEvent{number: k}
	}
	c, e, ok := p.next(k)
	switch {
	case !ok && p.adopted:
		p.partedWith()
		return gone, processEvent{number: p.number}
	case !ok:
		return nothing, processEvent{number: p.number}
	}
	h.paced = h.paced || c.spec.Continuous
	return anEvent, c.tell(e)
}

// tell returns e with what an event stream has to know of its channel.
func (c *privateChannel) tell(e mailbox.Entry) processEvent {
	return processEvent{
		number: e.Number, kind: e.Kind, reason: e.Reason, data: e.Data,
		channel: c.spec.Name, event: c.spec.Event, unnamed: c.spec.Unnamed, paced: c.spec.Continuous,
	}
}

// greeting implements carried.
func (h *hearing) greeting(k uint64) (channels []greetedChannel) {
	p := h.process
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.boxes {
		if c.heard && (c.endedAt == 0 || c.endedAt > k) && !c.heldBack(k) {
			channels = append(channels, c.greeted())
		}
	}
	return channels
}

// drained implements carried.
func (h *hearing) drained(k uint64) {
	if !h.reads || !h.paced {
		return
	}
	p := h.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == h && !p.state.ended() && p.over == nil && k == p.number {
		p.drained()
	}
}

// reading implements carried.
func (h *hearing) reading() bool {
	h.process.mu.Lock()
	defer h.process.mu.Unlock()
	return h.process.reads()
}

// reads reports whether a value is being read. It needs p.mu.
func (p *ClientProcess) reads() bool {
	return slices.ContainsFunc(p.boxes, func(c *privateChannel) bool { return c.pull.running })
}

// carries implements carried.
func (h *hearing) carries() bool {
	h.process.mu.Lock()
	defer h.process.mu.Unlock()
	return h.process.current == h
}

// leave implements carried.
func (h *hearing) leave() {
	p := h.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == h {
		p.detached()
		p.left()
	}
}
