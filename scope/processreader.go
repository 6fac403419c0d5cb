package scope

import (
	"slices"
	"strconv"

	"github.com/ocsigo/comet/internal/mailbox"
	"github.com/ocsigo/comet/sse"
)

// A processReader is one event stream's place in one client process. It is
// guarded by the stream's lock.
type processReader struct {
	stream     *EventStream
	source     carried // nil: unknown, foreign or ended
	generation uint64
	number     uint64 // of the last event sent
	token      string
	slot       int  // 0: the address's own
	paced      bool // one of its sources reads on when its last value was written
	pending    bool // its owner has not answered yet
	superseded bool // a newer event stream has it
	removed    bool // it is not heard here any more

	hearing hearing // the source, of a process of this node
}

// hear attaches r to a process of this node. after is to be called without locks.
func (r *processReader) hear(p *ClientProcess, a arrival) (after func()) {
	r.hearing = hearing{process: p, by: r}
	t, number, after := r.hearing.attach(a)
	r.source = &r.hearing
	r.begin(t, r.hearing.generation, number)
	return after
}

// begin takes what came of an attach.
func (r *processReader) begin(t told, generation, number uint64) {
	r.pending = false
	switch t {
	case gone:
		r.source = nil // to be said
	case superseded:
		r.generation, r.superseded = generation, true
	case attached:
		r.generation, r.number = generation, number
	}
}

// settle takes what the owner has answered, or has not yet.
func (r *processReader) settle() {
	switch t, e := r.source.next(r.number); t {
	case nothing:
		r.pending = true
	default:
		r.begin(t, e.generation, e.number)
	}
}

// next writes at most one event, and reports whether it did.
func (r *processReader) next(b *sse.Batch) bool {
	if r.removed {
		return false
	}
	t, e := gone, processEvent{number: r.number}
	switch {
	case r.superseded:
		t = superseded
	case r.source != nil:
		t, e = r.source.next(r.number)
	}
	switch t {
	case anEvent:
		r.number, r.paced = e.number, r.paced || e.paced
		r.write(b, &e)
	case aChannel:
		c := e.greeted()
		r.silence([]greetedChannel{c})
		r.stream.sayHello(b, greeting{Channels: []greetedChannel{r.here(c)}})
	case attached:
		r.begin(t, e.generation, e.number)
		g := r.greeting()
		r.silence(g.Channels)
		r.stream.sayHello(b, greeting{Processes: []greetedProcess{g}})
	case gone:
		r.number = e.number
		r.sayGone(b)
	case superseded:
		r.superseded, r.removed = true, true
		r.stream.say(b, "superseded", processNotice{Process: r.token, Reason: "newer"})
	case nothing:
		r.number = e.number
		return false
	}
	return true
}

func (r *processReader) write(b *sse.Batch, e *processEvent) {
	if e.kind != mailbox.Data {
		r.stream.say(b, controlOf(e.kind), channelNotice{
			Channel: r.suffixed(e.channel), Reason: e.reason, Final: true,
		})
		return
	}
	event := r.suffixed(e.event)
	if e.unnamed { // whose it is has to be told where there are several
		event = ""
		if r.slot > 0 {
			event = r.suffixed(e.channel)
		}
	}
	var id cursorText
	b.Event(r.stream.cursor(id[:0]), event, e.data)
}

// greeting says how the process is carried here, and the channels that its page
// hears of it, by their own names.
func (r *processReader) greeting() greetedProcess {
	g := greetedProcess{Process: r.token, K: r.slot, Generation: r.generation}
	if r.source != nil {
		g.Channels = r.source.greeting(r.number)
	}
	return g
}

// silence closes the site channels whose names the address's own process has given
// to channels of its own where this event stream was not asked (rule 3).
func (r *processReader) silence(channels []greetedChannel) {
	if r.slot > 0 {
		return
	}
	for _, site := range r.stream.sites {
		taken := slices.ContainsFunc(channels, func(c greetedChannel) bool { return c.Channel == site.name && !c.over })
		if taken && !site.removed {
			site.closing = byNameTaken
		}
	}
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
	r.source = nil
	r.stream.say(b, "gone", processNotice{Process: r.token, Reason: "gone"})
}

// drained tells the process that everything collected before was written.
func (r *processReader) drained() {
	if !r.removed && r.source != nil {
		r.source.drained(r.number)
	}
}

// reading reports whether more may come of the process by itself.
func (r *processReader) reading() bool { return r.source != nil && r.source.reading() }

// carries reports whether the process of token is heard here, and by nobody newer.
func (r *processReader) carries(token string) bool {
	return !r.removed && !r.superseded && r.token == token && r.source != nil && r.source.carries()
}

// leave lets go of the process: if it was carried here, it is away from now on.
func (r *processReader) leave() {
	r.removed = true
	if r.source != nil {
		r.source.leave()
	}
}

// What a process of this node asks of its carrier.

func (r *processReader) wake() { r.stream.Wake() }

// here is what is told of a channel outside of its process's own greeting.
func (r *processReader) here(c greetedChannel) greetedChannel {
	event := c.event()
	c.Channel = r.suffixed(c.Channel)
	if event != "" {
		event = r.suffixed(event)
	}
	c.Event = eventBeside(c.Channel, event)
	return c
}

func (r *processReader) clashes(name string) bool {
	names := r.stream.names.Load()
	return r.slot == 0 && names != nil && slices.Contains(*names, name)
}

func (r *processReader) board() board { return board{stream: r.stream} }
