package scope

import (
	"slices"

	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

// What commands do to an event stream. Each has it say what was added or removed,
// with the cursor that says the same (rule 4).

// attach carries the process from number on. One that it carries already goes back
// to number, if its page said one that is before where it is: it has missed what it
// was told.
func (s *EventStream) attach(p *ClientProcess, number uint64, said bool) (Reply, error) {
	after := func() {}
	defer func() { after() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.processes, func(r *processReader) bool { return r.carries(p) }); i >= 0 {
		r := s.processes[i]
		back := said && r.slot > 0
		if !back || s.takesCommands() != nil {
			return Reply{State: "attached", K: r.slot}, nil
		}
		if number >= r.number {
			s.greetProcess(r) // the page may have missed that, too
			return Reply{State: "attached", K: r.slot}, nil
		}
		r.leave()
	}
	s.prune(p.token)
	attached := len(slices.DeleteFunc(slices.Clone(s.processes), func(r *processReader) bool { return r.removed }))
	if err := s.takesCommands(); err != nil {
		return Reply{}, err
	}
	if attached >= AttachMax {
		return Reply{}, refuse("refused", "the event stream carries %d client processes, which is the most", attached)
	}
	if err := s.checkRoom(0, 1); err != nil {
		return Reply{}, err
	}
	r := &processReader{stream: s, process: p, slot: s.freeSlot(), token: p.token, number: number}
	s.processes = append(s.processes, r)
	after = r.attach(false, false)
	s.greetProcess(r)
	return Reply{State: "attached", K: r.slot}, nil
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

// greetChannel tells of a private channel that is heard now.
func (s *EventStream) greetChannel(channel greetedChannel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.site.newGreeting()
	g.Channels = []greetedChannel{channel}
	s.greetLater(g)
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
