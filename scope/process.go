package scope

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ocsigo/comet/internal/wheel"
)

// A ClientProcess is one tab's page: Eliom's client process. Holding one proves
// that there was a request for it; it may be kept, and outlives the request. It
// owns its private channels, numbers what is sent of them, and knows when its
// tab was last there. Safe for concurrent use.
type ClientProcess struct {
	mu        sync.Mutex
	boxes     []*privateChannel // in rotation, ended ones too while they have something to say
	turn      int
	number    uint64   // of the newest event sent
	current   *hearing // nil while no event stream carries it
	connected bool     // it ever had one
	adopted   bool     // another node handed it over: it has no sources
	parted    bool     // adopted, and everything was told
	state     life     // not under mu, nor are the next three

	site    *Site
	session string
	token   string
	user    string // who made its page or came last
	own     bool   // of that user alone: it has a Personal channel

	names      map[string]*privateChannel // the latest of each name
	wanted     map[string]bool            // registered before they were created
	inboxes    map[string]*Inbox
	sendings   map[string]*sending
	received   uint64 // up to this number the tab is known to have heard
	forgotten  uint64 // a channel that ended at this number is remembered no more
	generation uint64
	ranks      uint64    // given to those that came to hear it
	taken      uint64    // the highest that attached
	lodged     *lodging  // of the newest relay
	resting    bool      // nothing is read any more: it is about to be handed over
	over       *handing  // to another node: nothing is told here any more
	away       time.Time // since when it is inactive
	waiters    map[*waiter]struct{}
	reading    context.Context // of its pulls; made by the first
	cancel     context.CancelFunc
	expiry     *wheel.Timer
	account    processAccount
}

func newProcess(s *Site, session string) *ClientProcess {
	return &ClientProcess{site: s, session: session, token: s.newToken(), away: time.Now()}
}

// begin starts the clock by which the process ends.
func (p *ClientProcess) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.state.ended() {
		p.expiry = p.site.wheel.After(p.site.config.ConnectWithin, p.expire)
	}
}

// expire ends the process if it has been away for as long as it may.
func (p *ClientProcess) expire() {
	p.mu.Lock()
	due := p.current == nil && !p.state.ended()
	if due {
		if left := time.Until(p.away.Add(p.lifetime())); left > 0 {
			p.expiry.Reset(left)
			due = false
		}
	}
	p.mu.Unlock()
	if due {
		go p.end(ErrProcessGone) // the wheel must not wait for the app's callbacks
	}
}

// lifetime needs p.mu.
func (p *ClientProcess) lifetime() time.Duration {
	if p.connected && !p.parted {
		return p.site.config.ReturnWithin
	}
	return p.site.config.ConnectWithin
}

// Site returns the Site that the process is of.
func (p *ClientProcess) Site() *Site { return p.site }

// Session returns the key of the session that the process is of.
func (p *ClientProcess) Session() string { return p.session }

// Token returns what names the process in a URL. It is a secret of the page.
func (p *ClientProcess) Token() string { return p.token }

// Done is closed when the process has ended.
func (p *ClientProcess) Done() <-chan struct{} { return p.state.ending() }

// Err is nil before Done is closed, then ErrProcessGone or ErrShutdown.
func (p *ClientProcess) Err() error { return p.state.err() }

// Close ends the process: its channels close, their sources are stopped, its
// tab hears gone. It does not block and may be called again.
func (p *ClientProcess) Close() { p.end(ErrProcessGone) }

// end is the only way a process ends, whatever the cause.
func (p *ClientProcess) end(cause error) {
	if !p.state.end(cause) {
		return
	}
	p.site.mu.Lock()
	p.site.forget(p)
	p.site.mu.Unlock()
	p.site.users.remove(p)

	p.mu.Lock()
	boxes, current, waiters, inboxes := p.boxes, p.current, p.waiters, p.inboxes
	for _, c := range boxes {
		c.countDropped(c.box.Waiting(), false)
	}
	p.settle()
	p.boxes, p.names, p.wanted, p.waiters, p.inboxes, p.sendings = nil, nil, nil, nil, nil, nil
	p.current = nil
	if p.expiry != nil {
		p.expiry.Stop()
	}
	if p.cancel != nil {
		p.cancel()
	}
	p.mu.Unlock()

	for _, c := range boxes {
		c.state.end(cause)
	}
	for _, i := range inboxes {
		i.state.end(cause)
	}
	for w := range waiters {
		w.finish(ended(cause))
	}
	if current != nil {
		current.by.wake()
	}
}

// ended is what waiters are told of the process's end.
func ended(cause error) error {
	if errors.Is(cause, ErrProcessGone) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrProcessGone, cause)
}

// register makes a private channel.
func (p *ClientProcess) register(spec Spec) (*Handle, error) {
	if spec.Kind == Newest {
		return nil, fmt.Errorf("%w: channel %s: only a Site has newest channels", ErrBadSpec, spec.Name)
	}
	c := newPrivateChannel(p, spec)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refusal(); err != nil {
		return nil, err
	}
	old := p.names[spec.Name]
	switch {
	case old != nil && !old.state.ended():
		return nil, fmt.Errorf("%w: %s, in this client process", ErrNameTaken, spec.Name)
	case p.unretired() >= p.site.config.MaxChannels && !p.dropUnheard():
		return nil, fmt.Errorf("%w: the client process has %d channels (SiteConfig.MaxChannels), those included of whose end its tab has not heard", ErrTooMany, p.site.config.MaxChannels)
	case p.current != nil && p.current.by.clashes(spec.Name):
		return nil, fmt.Errorf("%w: %s, by a site channel on the tab's event stream", ErrNameTaken, spec.Name)
	}
	if old != nil && !old.heard {
		p.drop(old) // nobody was ever told of it
	}
	p.order(c)
	p.boxes = append(p.boxes, c)
	p.own = p.own || spec.Personal
	if p.names == nil {
		p.names = make(map[string]*privateChannel, 1)
	}
	p.names[spec.Name] = c
	if p.wanted[spec.Name] {
		delete(p.wanted, spec.Name)
		p.hear(c)
	}
	return &Handle{c}, nil
}

// order has c come after those that had its name, of whose end the tab may have yet
// to hear. It needs p.mu.
func (p *ClientProcess) order(c *privateChannel) {
	for _, d := range p.boxes {
		switch {
		case d.spec.Name != c.spec.Name || !d.heard:
		case d.endedAt == 0:
			c.before = d
		default:
			c.after = d.endedAt
		}
	}
}

// refusal is why nothing can be made in the process any more. It needs p.mu.
func (p *ClientProcess) refusal() error {
	switch {
	case p.state.ended():
		return fmt.Errorf("%w: it ended: %w", ErrNoProcess, p.state.err())
	case p.over != nil:
		return fmt.Errorf("%w: %w", ErrNoProcess, ErrShutdown)
	}
	return nil
}

// rank returns the next place in the order of those that come to hear the
// process. It needs p.mu.
func (p *ClientProcess) rank() uint64 {
	p.ranks++
	return p.ranks
}

// unretired counts the channels whose end was not sent. It needs p.mu.
func (p *ClientProcess) unretired() int {
	n := 0
	for _, c := range p.boxes {
		if c.endedAt == 0 {
			n++
		}
	}
	return n
}

// dropUnheard forgets the oldest channel that ended before anybody heard it, to
// make room. It needs p.mu.
func (p *ClientProcess) dropUnheard() bool {
	for _, c := range p.boxes {
		if !c.heard && c.state.ended() {
			delete(p.names, c.spec.Name)
			p.drop(c)
			return true
		}
	}
	return false
}

// context returns what the process's reads run under. It needs p.mu.
func (p *ClientProcess) context() context.Context {
	if p.reading == nil {
		p.reading, p.cancel = context.WithCancel(p.site.ctx)
	}
	return p.reading
}

// drop needs p.mu.
func (p *ClientProcess) drop(c *privateChannel) {
	for i, d := range p.boxes {
		if d == c {
			c.countDropped(c.box.Waiting(), false)
			p.boxes = append(p.boxes[:i:i], p.boxes[i+1:]...)
			return
		}
	}
}

// hear makes c one of the channels that are sent, and wakes whoever sends. It
// needs p.mu.
func (p *ClientProcess) hear(c *privateChannel) {
	c.heard = true
	p.greet(c)
	if c.spec.Kind == Pull && p.current != nil && p.current.reads {
		c.ask()
	}
	p.wake()
}

// greet has c named to who hears the process. It needs p.mu.
func (p *ClientProcess) greet(c *privateChannel) {
	h := p.current
	if h == nil && p.lodged != nil && p.lodged.rank == p.taken { // its relay may be heard of again
		h = &p.lodged.hearing
	}
	if h != nil && !slices.Contains(h.fresh, c) {
		h.fresh = append(h.fresh, c)
	}
}

// wake needs p.mu.
func (p *ClientProcess) wake() {
	if p.current != nil {
		p.current.by.wake()
	}
}

// retiredMax is how many ended channels a process remembers, for a tab that has
// not heard of their end.
const retiredMax = 100

// retire frees the name of a channel whose end was sent, and forgets those that ended
// first. It needs p.mu.
func (p *ClientProcess) retire(c *privateChannel, number uint64) {
	if p.names[c.spec.Name] == c {
		delete(p.names, c.spec.Name)
	}
	c.endedAt = number
	for _, d := range p.boxes {
		if d.before == c {
			d.before, d.after = nil, number
		}
	}
	if len(p.boxes)-p.unretired() <= retiredMax {
		return
	}
	oldest := c
	for _, d := range p.boxes {
		if d.endedAt > 0 && d.endedAt < oldest.endedAt {
			oldest = d
		}
	}
	p.forgotten = max(p.forgotten, oldest.endedAt)
	p.drop(oldest)
}

// acknowledge drops what the tab has heard of the channels that have ended. Their
// ends are remembered: another event stream of the process may come from further
// back (a duplicated tab), and is told that it missed something. It needs p.mu.
func (p *ClientProcess) acknowledge(number uint64) {
	p.received = max(p.received, number)
	for _, c := range p.boxes {
		if c.endedAt > 0 && c.endedAt <= number {
			c.box.Lose(c.endedAt, "trimmed")
		}
	}
}
