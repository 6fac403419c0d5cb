package scope

import (
	"slices"
	"strconv"

	"github.com/ocsigo/comet/internal/mailbox"
	"github.com/ocsigo/comet/sse"
)

// A processReader is one event stream's hold on one client process. It is
// guarded by the stream's lock; generation and presented never change after it
// became the process's current one.
type processReader struct {
	stream     *EventStream
	process    *ClientProcess // nil: unknown, foreign or ended
	generation uint64
	presented  uint64 // the number with which the event stream came
	number     uint64 // of the last event sent
	token      string
	slot       int  // 0: the address's own
	reads      bool // unlimited channels are read without a command
	paced      bool // one of its sources reads on when its last value was written
	superseded bool // a newer event stream has it
	removed    bool // it is not heard here any more
}

// attach makes r the one that hears the process, in place of an older one; if a
// newer one has it, r is superseded. reconnect tells that generation is one which
// the process gave before; otherwise r takes the next. forged tells of a place
// that the process cannot have given. after is to be called without locks.
func (r *processReader) attach(reconnect, forged bool) (after func()) {
	p := r.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.ended() || r.number < p.forgotten { // what this tab missed cannot even be named
		r.process = nil // to hear gone
		return func() {}
	}
	if reconnect && (r.generation == 0 || r.generation > p.generation) {
		reconnect, forged = false, true
	}
	if !reconnect {
		p.generation++
		r.generation = p.generation
	}
	if p.current != nil && p.current.generation > r.generation {
		r.superseded = true
		return func() {}
	}
	lost := r.take(forged)
	return func() {
		for _, c := range lost {
			c.state.end(ErrFull)
		}
	}
}

// take needs the process's lock. It returns the channels that this made full.
func (r *processReader) take(forged bool) (lost []*privateChannel) {
	p := r.process
	if old := p.current; old != nil {
		old.stream.Wake() // to find that it is superseded
	}
	p.current = r
	p.arrived()
	future := r.number > p.number
	switch {
	case forged:
		lost = p.refuse("cursor")
	case future:
		lost = p.refuse("future")
	default:
		p.acknowledge(r.number)
		lost = p.lose(r.number)
	}
	if forged || future {
		r.number = p.number
	}
	r.presented = r.number
	p.attached(r.number, r.reads)
	return lost
}

// next writes at most one event, and reports whether it did.
func (r *processReader) next(b *sse.Batch) bool {
	if r.removed {
		return false
	}
	p := r.process
	if p == nil {
		r.sayGone(b)
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.ended() {
		r.sayGone(b)
		return true
	}
	if r.superseded || p.current != r {
		r.superseded, r.removed = true, true
		r.stream.say(b, "superseded", processNotice{Process: r.token, Reason: "newer"})
		return true
	}
	c, e, ok := p.next(r.number)
	if !ok {
		r.number = p.number
		return false
	}
	r.number = e.Number
	r.paced = r.paced || c.spec.Continuous
	r.write(b, c, e)
	return true
}

func (r *processReader) write(b *sse.Batch, c *privateChannel, e mailbox.Entry) {
	if e.Kind != mailbox.Data {
		r.stream.say(b, controlOf(e.Kind), channelNotice{
			Channel: r.suffixed(c.spec.Name), Reason: e.Reason, Final: true,
		})
		return
	}
	event := r.suffixed(c.spec.Event)
	if c.spec.Unnamed { // whose it is has to be told where there are several
		event = ""
		if r.slot > 0 {
			event = r.suffixed(c.spec.Name)
		}
	}
	var id cursorText
	b.Event(r.stream.cursor(id[:0]), event, e.Data)
}

// greeting says how the process is carried here, and the channels that its page
// hears of it, by their own names.
func (r *processReader) greeting() greetedProcess {
	g := greetedProcess{Process: r.token, K: r.slot, Generation: r.generation}
	p := r.process
	if p == nil {
		return g
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.boxes {
		if c.heard && c.endedAt == 0 {
			g.Channels = append(g.Channels, greetedChannel{Channel: c.spec.Name, Pull: c.spec.Kind == Pull})
		}
	}
	return g
}

// greet tells of a private channel that is heard from now on.
func (r *processReader) greet(spec Spec) {
	r.stream.greetChannel(greetedChannel{Channel: r.suffixed(spec.Name), Pull: spec.Kind == Pull})
}

// suffixed is the name as this event stream tells it (rule 3).
func (r *processReader) suffixed(name string) string {
	if r.slot == 0 {
		return name
	}
	return name + "@" + strconv.Itoa(r.slot)
}

// sayGone is the one answer for every process that there is not (rule 8).
func (r *processReader) sayGone(b *sse.Batch) {
	r.removed = true
	r.process = nil
	r.stream.say(b, "gone", processNotice{Process: r.token, Reason: "gone"})
}

// drained tells the process that everything collected before was written.
func (r *processReader) drained() {
	if r.removed || r.process == nil || !r.reads || !r.paced {
		return
	}
	p := r.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == r && !p.state.ended() && r.number == p.number {
		p.drained()
	}
}

// reading reports whether a value is being read for the tab.
func (r *processReader) reading() bool {
	p := r.process
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.boxes, func(c *privateChannel) bool { return c.pull.running })
}

// carries reports whether p is heard here, and by nobody newer.
func (r *processReader) carries(p *ClientProcess) bool {
	if r.removed || r.process != p {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current == r
}

// leave lets go of the process: if it was carried here, it is away from now on.
func (r *processReader) leave() {
	p := r.process
	r.removed = true
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == r {
		p.detached()
		p.left()
	}
}

// clashes reports whether the process's channel would have a site channel's name
// on this event stream.
func (r *processReader) clashes(name string) bool {
	names := r.stream.names.Load()
	return r.slot == 0 && names != nil && slices.Contains(*names, name)
}
