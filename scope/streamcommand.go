package scope

import (
	"context"
	"slices"

	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

// What commands do to an event stream. Each has it say what was added or removed,
// with the cursor that says the same (rule 4).

// attach carries the process of place from its number on. One that it carries
// already goes back to the number, if its page said one that is before where it is:
// it has missed what it was told.
func (s *EventStream) attach(ctx context.Context, by Reader, place cursor.Process, said bool) (Reply, error) {
	p, owner := s.site.whereIs(place.Token)
	if owner != "" {
		return s.attachFrom(ctx, owner, by.User, place, said)
	}
	if p == nil || !p.isOf(by.Session) {
		return Reply{}, noProcess(place.Token)
	}
	after := func() {}
	defer func() { after() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	reply, done, err := s.attachable(place, said)
	if done || err != nil {
		return reply, err
	}
	r := s.newReader(place)
	after = r.hear(p, arrival{number: place.Number, user: by.User})
	s.greetProcess(r)
	return Reply{State: "attached", K: r.slot}, nil
}

// attachFrom attaches a process of another node: it is carried once that has
// answered. Until then it is not asked for a second time: the two would be each
// other's newer one.
func (s *EventStream) attachFrom(ctx context.Context, owner, user string, place cursor.Process, said bool) (Reply, error) {
	arrived, first := s.site.node.comes(coming{s, place.Token})
	if !first {
		return Reply{}, notReached(errAway)
	}
	defer arrived()
	s.mu.Lock()
	reply, done, err := s.attachable(place, said)
	s.mu.Unlock()
	if done || err != nil {
		return reply, err
	}
	source := s.relay(owner, place.Token, arrival{number: place.Number, user: user})
	if err := source.wait(ctx); err != nil {
		source.leave()
		return Reply{}, notReached(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if reply, done, err := s.attachable(place, said); done || err != nil {
		source.leave()
		return reply, err
	}
	r := s.newReader(place)
	r.source = source
	switch r.settle(); {
	case r.source == nil, r.superseded:
		r.leave()
		return Reply{}, noProcess(place.Token)
	}
	s.greetProcess(r)
	return Reply{State: "attached", K: r.slot}, nil
}

// attachable reports whether the process is carried here already and stays so, or
// may be attached; one that is to go back is let go of. It needs s.mu.
func (s *EventStream) attachable(place cursor.Process, said bool) (reply Reply, done bool, err error) {
	if i := slices.IndexFunc(s.processes, func(r *processReader) bool { return r.carries(place.Token) }); i >= 0 {
		r := s.processes[i]
		back := said && r.slot > 0
		if !back || s.takesCommands() != nil {
			return Reply{State: "attached", K: r.slot}, true, nil
		}
		if place.Number >= r.number {
			s.greetProcess(r) // the page may have missed that, too
			return Reply{State: "attached", K: r.slot}, true, nil
		}
		r.leave()
	}
	s.prune(place.Token)
	attached := len(slices.DeleteFunc(slices.Clone(s.processes), func(r *processReader) bool { return r.removed }))
	if err := s.takesCommands(); err != nil {
		return Reply{}, false, err
	}
	if attached >= AttachMax {
		return Reply{}, false, refuse("refused", "the event stream carries %d client processes, which is the most", attached)
	}
	return Reply{}, false, s.checkRoom(0, 1)
}

// newReader adds a place for a process. It needs s.mu.
func (s *EventStream) newReader(place cursor.Process) *processReader {
	r := &processReader{stream: s, slot: s.freeSlot(), token: place.Token, number: place.Number}
	s.processes = append(s.processes, r)
	return r
}

// greetProcess says that a process is carried. It needs s.mu.
func (s *EventStream) greetProcess(r *processReader) {
	g := s.site.newGreeting()
	g.Processes = []greetedProcess{r.greeting()}
	s.greetLater(g)
}

// saidMax is how much commands may leave to say while the peer does not read.
const saidMax = 100

// takesCommands needs s.mu.
func (s *EventStream) takesCommands() error {
	switch {
	case s.gone || s.over:
		return refuse("conflict", "the event stream has just ended")
	case len(s.said) >= saidMax:
		return refuse("busy", "%d answers to commands wait for the page to read", len(s.said))
	}
	return nil
}

// prune forgets the attached processes that have left: those that only the cursor
// knew, and an older attachment of the one that comes. It needs s.mu.
func (s *EventStream) prune(token string) {
	s.processes = slices.DeleteFunc(s.processes, func(r *processReader) bool {
		if r.slot > 0 && r.token == token {
			r.removed = true // a newer event stream had taken it from here
		}
		return r.slot > 0 && r.removed
	})
}

// freeSlot returns the lowest number that no attached process has. It needs s.mu.
func (s *EventStream) freeSlot() int {
	slot := 1
	for slices.ContainsFunc(s.processes, func(r *processReader) bool { return r.slot == slot }) {
		slot++
	}
	return slot
}

func (s *EventStream) detach(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.processes, func(r *processReader) bool { return !r.removed && r.token == token })
	if i < 0 || s.gone {
		return false
	}
	s.processes[i].leave()
	g := s.site.newGreeting()
	g.Removed = []string{token}
	s.greetLater(g)
	return true
}

// register hears a site channel besides, or one that is heard already from
// further back, for a page that shares the event stream and is not as far;
// explicit tells that the command said from where.
func (s *EventStream) register(channel *siteChannel, ref cursor.Channel, explicit bool) (Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sites = slices.DeleteFunc(s.sites, func(r *siteReader) bool { return r.address < 0 && r.removed })
	i := slices.IndexFunc(s.sites, func(r *siteReader) bool { return r.name == ref.Name })
	switch {
	case i >= 0 && !s.sites[i].removed && (!explicit || s.sites[i].channel == nil):
		return Reply{State: "heard"}, nil
	case s.takesCommands() != nil:
		return Reply{}, s.takesCommands()
	case i >= 0 && !s.sites[i].removed:
		return s.greetSite(s.sites[i].rewind(ref)), nil
	case len(s.sites) >= s.site.config.MaxChannels && i < 0:
		return Reply{}, refuse("refused", "the event stream hears %d site channels, which is the most", len(s.sites))
	}
	r := &siteReader{stream: s, name: ref.Name, address: -1}
	if i >= 0 {
		r.address, r.epoch = s.sites[i].address, s.sites[i].epoch
	} else if err := s.checkRoom(len(ref.Name)+epochItem, 0); err != nil {
		return Reply{}, err
	}
	r.channel, r.moved = channel, true
	r.at = r.begin(ref)
	channel.add(r, s.wake)
	r.enter(nil)
	if i >= 0 {
		s.sites[i] = r
	} else {
		s.sites = append(s.sites, r)
	}
	s.rename()
	return s.greetSite(r.greeting()), nil
}

// greetSite tells of a site channel that begins. It needs s.mu.
func (s *EventStream) greetSite(channel greetedChannel) Reply {
	g := s.site.newGreeting()
	g.Channels = []greetedChannel{channel}
	s.greetLater(g)
	reply := Reply{State: "heard"}
	if channel.Position != nil {
		reply.Position = *channel.Position
	}
	return reply
}

// close stops hearing a site channel, and reports whether it was heard.
func (s *EventStream) close(name string) (heard bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.sites, func(r *siteReader) bool { return r.name == name && !r.removed })
	if i < 0 {
		return false, nil
	}
	if err := s.takesCommands(); err != nil {
		return true, err
	}
	s.sites[i].leave()
	s.rename()
	s.said = append(s.said, func(b *sse.Batch) {
		s.say(b, "closed", channelNotice{Channel: name, Reason: "closed", Final: true})
	})
	s.Wake()
	return true, nil
}

// greetLater says hello with the cursor of that moment. It needs s.mu.
func (s *EventStream) greetLater(g greeting) {
	s.said = append(s.said, func(b *sse.Batch) { s.say(b, "hello", g) })
	s.Wake()
}

// checkRoom refuses what would make the cursor outgrow the header (rule 4). It
// needs s.mu.
func (s *EventStream) checkRoom(more, processes int) error {
	named, own := more, false
	channels := 0
	for _, r := range s.sites {
		channels++
		if r.address < 0 {
			named += len(r.name) + epochItem
		}
	}
	for _, p := range s.processes {
		switch {
		case p.slot == 0:
			own = true
		case !p.removed:
			processes++
		}
	}
	if err := s.site.checkLength(int(s.query), named, channels, processes, own); err != nil {
		return refuse("refused", "%v", err)
	}
	return nil
}
