package scope

import (
	"context"
	"fmt"
	"runtime/debug"
)

// The default bounds of one inbox.
const (
	DefaultRate     = 50        // values a second of one tab
	DefaultBurst    = 100       // values of one tab at once
	DefaultMaxValue = 16 << 10  // bytes of one value
	defaultCommand  = 64 << 10  // bytes of one command
	leastCommand    = 16 << 10  // 16 names and tokens of the greatest length, percent-encoded
	maxInboxBurst   = 1_000_000 // beyond it a rate bounds nothing
)

// InboxSpec describes where the values that tabs send go in. As with a Spec,
// values are bytes here.
type InboxSpec struct {
	// Name is unique among the Site's inboxes, or the process's. A channel of the
	// same name is another matter. Empty: a fresh name that cannot be guessed.
	Name string
	// Rate is how many values a second one tab may send in the long run, Burst how
	// many at once. 0: the defaults.
	Rate  float64
	Burst int
	// MaxValue is how long one value may be, in bytes. 0: the default.
	MaxValue int
	// Hearers: who may not hear the site channel of this name, by Hooks.Allow, may
	// not send either, and is told that there is no such inbox.
	Hearers bool
	// Take is given the values of one command, in their order, and says how many
	// it took: all, or with an error those before the one that failed. A
	// *CommandError is told to the page; any other error is the app's to read. For
	// one tab it is called one at a time, else from any goroutines. ctx ends after
	// ten seconds.
	Take func(ctx context.Context, s Sent) (taken int, err error)
	// Stop is called once, without any lock, when the inbox has ended.
	Stop func(cause error)
}

// Sent is what a tab sends by one command.
type Sent struct {
	Process *ClientProcess
	Reader  Reader
	Values  [][]byte // Take's from then on

	name   string
	number uint64
	first  int // which of the command's values Values begins with
}

// ID names value i of Values, the same whenever the page repeats its numbered send,
// for Feed.PutOnce; empty where the send has no number, or the engine, in this
// process, never leaves anything unknown. It tells nothing about the page.
func (s Sent) ID(i int) string {
	if s.number == 0 || s.Process == nil || !s.Process.site.caps.Shared {
		return ""
	}
	return onceID(s.Process.Token(), s.name, s.number, s.first+i, s.Values[i])
}

// An Inbox is a hold on where the values of tabs go in. It is open until Close,
// the end of its process or of its Site.
type Inbox struct {
	spec  InboxSpec
	state *life
	leave func() // gives the name back
}

// Receive opens an inbox in o. Errors: ErrBadName, ErrBadSpec, ErrNameTaken,
// ErrNoProcess, ErrTooMany (SiteConfig.MaxChannels, of a process), ErrShutdown;
// then Stop is not called. It does not block.
func Receive(o Owner, s InboxSpec) (*Inbox, error) {
	s, err := s.normal()
	if err != nil {
		return nil, err
	}
	return o.receive(&Inbox{spec: s, state: newLife(s.Stop)})
}

func (s InboxSpec) normal() (InboxSpec, error) {
	if s.Rate < 0 || s.Burst < 0 || s.Burst > maxInboxBurst || s.MaxValue < 0 || s.Rate != s.Rate {
		return s, fmt.Errorf("%w: inbox %q: Rate %v, Burst %d and MaxValue %d must not be negative, and Burst at most %d; 0 is the default",
			ErrBadSpec, s.Name, s.Rate, s.Burst, s.MaxValue, maxInboxBurst)
	}
	if s.Take == nil {
		return s, fmt.Errorf("%w: inbox %q: nothing takes its values: set Take", ErrBadSpec, s.Name)
	}
	if s.Name == "" {
		s.Name = freshName()
	} else if err := checkName("inbox", s.Name); err != nil {
		return s, err
	}
	if s.Rate == 0 {
		s.Rate = DefaultRate
	}
	if s.Burst == 0 {
		s.Burst = DefaultBurst
	}
	if s.MaxValue == 0 {
		s.MaxValue = DefaultMaxValue
	}
	return s, nil
}

// fits refuses an inbox whose values no command could carry.
func (s InboxSpec) fits(c *SiteConfig) error {
	if s.MaxValue > c.MaxCommand {
		return fmt.Errorf("%w: inbox %s: MaxValue %d, but a command has at most %d bytes: raise SiteConfig.MaxCommand, and let it be three times as long, for values come percent-encoded",
			ErrBadSpec, s.Name, s.MaxValue, c.MaxCommand)
	}
	return nil
}

func (s *Site) receive(i *Inbox) (*Inbox, error) {
	if err := i.spec.fits(&s.config); err != nil {
		return nil, err
	}
	name := i.spec.Name
	i.leave = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.inboxes[name] == i {
			delete(s.inboxes, name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return nil, ErrShutdown
	case s.inboxes[name] != nil:
		return nil, fmt.Errorf("%w: %s, by another inbox", ErrNameTaken, name)
	}
	s.inboxes[name] = i
	return i, nil
}

func (p *ClientProcess) receive(i *Inbox) (*Inbox, error) {
	if err := i.spec.fits(&p.site.config); err != nil {
		return nil, err
	}
	name := i.spec.Name
	i.leave = func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.inboxes[name] == i {
			delete(p.inboxes, name)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.refusal() != nil:
		return nil, p.refusal()
	case p.inboxes[name] != nil:
		return nil, fmt.Errorf("%w: %s, by another inbox of this client process", ErrNameTaken, name)
	case len(p.inboxes) >= p.site.config.MaxChannels:
		return nil, fmt.Errorf("%w: the client process has %d inboxes (SiteConfig.MaxChannels)", ErrTooMany, len(p.inboxes))
	}
	if p.inboxes == nil {
		p.inboxes = make(map[string]*Inbox, 1)
	}
	p.inboxes[name] = i
	return i, nil
}

// Name returns the inbox's name.
func (i *Inbox) Name() string { return i.spec.Name }

// Close ends the inbox: whoever sends to it is told that there is none. It does
// not wait for values that are being taken, and may be called again.
func (i *Inbox) Close() { i.end(ErrClosed) }

// Done is closed when the inbox has ended.
func (i *Inbox) Done() <-chan struct{} { return i.state.ending() }

// Err is nil before Done is closed, then ErrClosed, ErrProcessGone or
// ErrShutdown.
func (i *Inbox) Err() error { return i.state.err() }

func (i *Inbox) end(cause error) {
	i.leave()
	i.state.end(cause)
}

// take calls the app. A panic of it is a value that was not taken: a tab must not
// be able to end what others send to.
func (i *Inbox) take(ctx context.Context, s Sent) (taken int, err error) {
	defer func() {
		if v := recover(); v != nil {
			taken, err = 0, fmt.Errorf("inbox %s: %w", i.spec.Name, &PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return i.spec.Take(ctx, s)
}
