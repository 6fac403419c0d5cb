package scope

import "github.com/ocsigo/comet/internal/mailbox"

// carried is a client process as an event stream hears it: a hearing of one of
// this node, or a relay of another's. The stream calls it under its lock; nothing
// of it blocks.
type carried interface {
	// next returns what is to be told after the event number k, and takes it for
	// sent. Of any told, number is where the stream stands then.
	next(k uint64) (told, processEvent)
	// greeting returns the channels of which something may come after the event
	// number k; those whose end comes are over.
	greeting(k uint64) []greetedChannel
	// drained tells that everything up to the number k was written.
	drained(k uint64)
	// reading reports whether more may come without anything happening: a value
	// is being read for the tab.
	reading() bool
	// carries reports whether the process is heard by this, and by nobody newer.
	carries() bool
	// leave lets go of the process: if it was carried by this, it is away from now
	// on.
	leave()
}

// told is what next has to say.
type told uint8

const (
	nothing told = iota
	anEvent
	aChannel   // another channel of the process is heard from now on
	attached   // it is carried from now on, under generation and number
	gone       // there is no such process (rule 8)
	superseded // a newer event stream has it (rule 11)
)

// A processEvent is one event of a client process, and all that an event stream
// has to know of its channel.
type processEvent struct {
	number     uint64
	generation uint64 // of attached
	kind       mailbox.Kind
	unnamed    bool
	paced      bool // its source reads on when it was written
	pull       bool // of aChannel: it is read on demand
	over       bool // of aChannel: it has ended: what is left of it comes
	channel    string
	event      string
	reason     string
	data       []byte
}

// greeted is what aChannel tells of.
func (e *processEvent) greeted() greetedChannel {
	return greetedChannel{Channel: e.channel, Event: eventBeside(e.channel, e.event), Pull: e.pull, over: e.over}
}

// greeted is what a hello says of c. It needs the process's lock.
func (c *privateChannel) greeted() greetedChannel {
	g := c.spec.greeted()
	g.over = c.endedAt > 0
	return g
}

// named is the aChannel that tells of c. It needs the process's lock.
func (c *privateChannel) named() processEvent { return c.greeted().named() }

func (c greetedChannel) named() processEvent {
	event := c.event()
	return processEvent{channel: c.Channel, event: event, unnamed: event == "", pull: c.Pull, over: c.over}
}

// A carrier is who carries a process of this node to its tab: an event stream's
// reader, or the relay of another node. Its methods never block.
type carrier interface {
	// wake has it look for what is new. It may be called under any lock but the
	// carrier's own.
	wake()
	// clashes reports whether the process's channel would have the name of a site
	// channel there. It may be called under the process's lock.
	clashes(name string) bool
	// board is the event stream, for commands.
	board() board
}

// An arrival is what an event stream presents of a process that it is to carry.
type arrival struct {
	generation uint64
	number     uint64
	user       string // who comes
	reconnect  bool   // generation is one that the process gave before; otherwise the next is taken
	forged     bool   // the place cannot be one that the process gave
	resumes    bool   // the event stream carried it before: nothing is known to be received, nothing to be read
	reads      bool   // unlimited channels are read without a command
}
