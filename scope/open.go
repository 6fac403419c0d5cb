package scope

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

// Request is what a request for an event stream, or a command to one, said. The
// strings are the Site's from then on.
type Request struct {
	Query       string // the URL's, raw
	LastEventID string // the header
	Reconnect   bool   // the header was there
	Reader      Reader
	Path        int    // how long the URL is before its query
	Address     string // the network address of who asks, for MaxAddressStreams
}

// OpenStream answers a request for an event stream. ErrOver tells that it is over
// for good: the answer is 204, which stops an EventSource. Everything else that
// can be wrong is said inside the stream, for a browser gives up on a status other
// than 200 (rule 12); so there is no other error.
// Allow is asked in the caller's goroutine; a remote engine may be asked, for as
// long as ctx allows.
func (s *Site) OpenStream(ctx context.Context, r Request) (*EventStream, error) {
	address, err := cursor.ParseAddress(r.Query)
	if err != nil {
		return s.misaddressed(r, err)
	}
	text := r.LastEventID
	if !r.Reconnect {
		text = address.After
	}
	at, badCursor := cursor.ParseCursor(text, address)
	if at.Over {
		return nil, ErrOver
	}
	es := &EventStream{
		site: s, reader: r.Reader, address: r.Address, own: address.Process.Token != "", native: !address.PullAsk, brief: address.Brief,
		query: uint16(min(r.Path+1+len(cursor.AppendAddress(nil, address)), math.MaxUint16)), tag: address.Tag(), nameless: badCursor != nil,
	}
	if !s.enter(es) {
		return es, nil
	}
	whole := false
	defer func() { // also when the engine panics
		if !whole {
			es.Gone(ErrOver)
		}
	}()
	o := opening{s: es, ctx: ctx, at: at, forged: badCursor != nil, reconnect: r.Reconnect}
	o.open(address)
	if r.Reconnect && !es.hearable() {
		return nil, ErrOver
	}
	whole = true
	s.publish(es)
	return es, nil
}

// misaddressed answers an address that cannot be served: it is said once, and a
// reconnect is over.
func (s *Site) misaddressed(r Request, err error) (*EventStream, error) {
	if r.Reconnect && r.LastEventID == "!" {
		return nil, ErrOver
	}
	reason := "address"
	if errors.Is(err, cursor.ErrVersion) {
		reason = "version"
	}
	es := &EventStream{site: s, reader: r.Reader, address: r.Address, nameless: true}
	if s.enter(es) {
		es.said = append(es.said, func(b *sse.Batch) {
			es.say(b, "end", channelNotice{Reason: reason, Final: true})
		})
		s.publish(es)
	}
	return es, nil
}

// enter counts the event stream. One too many, or one that comes during a
// shutdown, will only be told to come back.
func (s *Site) enter(es *EventStream) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || s.checkup.sick || !s.carried.enter(&s.config, es.reader.Session, es.address) {
		es.stopping = true
		return false
	}
	es.counted = true
	s.opened.Add(1)
	s.startSweeps()
	return true
}

// publish lets Shutdown and the sweep find the event stream, which is whole now.
func (s *Site) publish(es *EventStream) {
	s.mu.Lock()
	s.streams[es] = struct{}{}
	away := s.down || s.checkup.sick
	s.mu.Unlock()
	if away {
		es.shutdown()
	}
}

// opening is the making of one event stream, before anybody else knows it.
type opening struct {
	s         *EventStream
	ctx       context.Context
	at        cursor.Cursor
	forged    bool // a cursor was presented and is none
	reconnect bool
}

func (o *opening) open(a cursor.Address) {
	o.s.sites = o.s.only[:0]
	readers := make([]siteReader, len(a.Channels)) // side by side, as every delivery goes through them
	for i, c := range a.Channels {
		r := &readers[i]
		*r = siteReader{stream: o.s, name: c.Name, address: int32(i), epoch: c.At.Epoch}
		o.s.sites = append(o.s.sites, r)
		if i >= o.s.site.config.MaxChannels {
			r.closing = byTooMany
			continue
		}
		o.site(r, c)
	}
	for _, place := range o.at.Sites {
		if place.Name == "" || o.heard(place.Name) || len(o.s.sites) >= o.s.site.config.MaxChannels {
			continue
		}
		r := &siteReader{stream: o.s, name: place.Name, address: -1, at: place.Position, moved: true}
		o.s.sites = append(o.s.sites, r)
		if o.admitted(r) {
			r.enter(o.why)
		}
	}
	o.s.rename()
	o.processes(a.Process)
}

func (o *opening) heard(name string) bool {
	for _, r := range o.s.sites {
		if r.name == name {
			return true
		}
	}
	return false
}

// site begins one of the address's channels where the cursor says, or else the
// address.
func (o *opening) site(r *siteReader, c cursor.Channel) {
	place, moved := o.place(int(r.address))
	if place.Removed {
		r.removed = true
		return
	}
	if moved { // kept also where it is of no use now: who is cut before comet:closed has only this
		r.at, r.moved = place.Position, true
		if r.at.Epoch == "" {
			r.at.Epoch = r.epoch
		}
	}
	if !o.admitted(r) {
		return
	}
	if !moved {
		r.at = r.begin(c)
	}
	r.enter(o.why)
	if o.forged {
		r.full = byCursor
		if r.channel.follower.newest {
			r.full = byReset
		}
	}
}

func (o *opening) place(address int) (cursor.Site, bool) {
	for _, place := range o.at.Sites {
		if place.Name == "" && place.Index == address {
			return place, true
		}
	}
	return cursor.Site{}, false
}

// admitted finds the channel. One that is not there, and one that Allow refuses,
// are the same closed (rule 14).
func (o *opening) admitted(r *siteReader) bool {
	r.channel = o.s.site.audible(o.ctx, o.s.reader, r.name)
	if r.channel == nil {
		r.closing = byUnavailable
		return false
	}
	r.channel.add(r, o.s.wake)
	return true
}

func (o *opening) why(f *follower, at engine.Position) place { return f.why(o.ctx, at) }

// processes attaches the address's own process and those that commands had
// attached.
func (o *opening) processes(own cursor.Process) {
	var places []cursor.Process
	if own.Token != "" {
		places = append(places, o.own(own))
	}
	for _, place := range o.at.Processes {
		if place.Slot > 0 && len(places) < AttachMax {
			places = append(places, place)
		}
	}
	for i, place := range places {
		r := &processReader{
			stream: o.s, slot: place.Slot, token: place.Token, generation: place.Generation,
			number: place.Number, removed: place.Removed,
		}
		o.s.processes = append(o.s.processes, r)
		if outdated(places, i) { // it was here twice; the other is newer
			r.removed, r.superseded = true, true
		}
		if r.removed {
			continue
		}
		o.carry(r)
	}
	o.settle()
}

// carry finds the process, here or on another node, which is only asked yet.
func (o *opening) carry(r *processReader) {
	a := arrival{
		generation: r.generation, number: r.number, user: o.s.reader.User, reconnect: o.reconnect && r.generation > 0, forged: o.forged,
		reads: r.slot == 0 && o.s.native,
	}
	switch p, owner := o.s.site.whereIs(r.token); {
	case owner != "":
		r.pending, r.source = true, o.s.relay(owner, r.token, a)
	case p != nil && p.isOf(o.s.reader.Session):
		r.hear(p, a)()
		o.silence(r)
	}
}

// settle waits for the other nodes, all at once. With nothing else to hear the
// page is told to come back when one has not answered: else it could not know that
// nothing can come (rule 12).
func (o *opening) settle() {
	rest := false
	for _, r := range o.s.processes {
		if source, ok := r.source.(*relay); ok && r.pending {
			_ = source.wait(o.ctx) // what did not come in time comes later
			r.settle()
			o.silence(r)
		}
		rest = rest || !r.pending && !r.removed
	}
	for _, r := range o.s.sites {
		rest = rest || !r.removed
	}
	o.s.stopping = o.s.stopping || !rest && len(o.s.processes) > 0 && o.s.hearable()
}

// outdated reports whether another place of the same process is of a newer
// generation.
func outdated(places []cursor.Process, i int) bool {
	for _, other := range places {
		if other.Token == places[i].Token && !other.Removed && other.Generation > places[i].Generation {
			return true
		}
	}
	return false
}

// own is the place of the address's own process: the cursor's, over the
// address's. Without a Last-Event-ID header a generation is not the presenter's
// own, and the next one is taken.
func (o *opening) own(p cursor.Process) cursor.Process {
	for _, place := range o.at.Processes {
		if place.Slot == 0 {
			place.Token = p.Token
			if !o.reconnect {
				place.Generation = 0
			}
			return place
		}
	}
	return p
}

// silence closes the site channels whose names the process has given to
// channels of its own while it was away (rule 3).
func (o *opening) silence(r *processReader) {
	if r.source != nil && !r.pending && len(o.s.sites) > 0 {
		r.silence(r.source.greeting(r.number))
	}
}

// hearable reports whether the event stream has anything to say that its reader
// has not heard: a living channel or process, or the end of one. A process that a
// newer event stream carries is not (rule 11).
func (s *EventStream) hearable() bool {
	for _, r := range s.sites {
		if !r.removed {
			return true
		}
	}
	for _, p := range s.processes {
		if !p.removed && !p.superseded {
			return true
		}
	}
	return false
}

// audible returns the living channel that the reader may hear.
func (s *Site) audible(ctx context.Context, r Reader, name string) *siteChannel {
	c := s.find(name)
	if c == nil || s.allow(ctx, r, name) != nil {
		return nil
	}
	return c
}

// allow asks the app. A panic refuses, and is logged.
func (s *Site) allow(ctx context.Context, r Reader, name string) (err error) {
	hooks := s.getHooks()
	if hooks.Allow == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			hooks.Logger.Error("comet: Config.Allow panicked", "channel", name, "panic", v)
			err = fmt.Errorf("allow panicked: %v", v)
		}
	}()
	return hooks.Allow(ctx, r, name)
}
