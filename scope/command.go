package scope

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
)

// Reply answers a command.
type Reply struct {
	// State tells what came of it: attached, detached, heard (registered),
	// wanted (registered before it was created), closed, for a pull waiting,
	// reading, sent or seen, and for a send taken, or seen when it was before.
	State string `json:"state"`
	// K is the number that an attached process has on the event stream.
	K int `json:"k,omitempty"`
	// N is the number of the newest pull or send.
	N uint64 `json:"n,omitempty"`
	// Position is where a registered site channel begins; zero where that is left
	// as it was.
	Position engine.Position `json:"position,omitzero"`
}

// A CommandError says why a command was refused.
type CommandError struct {
	// Code is bad (not a command), gone (no such process, channel or inbox), refused
	// (a bound, or who may not), conflict (not now), busy (one waits already, or too
	// fast); and of a send invalid, large, or full (there is no room now).
	Code    string
	Message string
	// Expected is the number that the next pull or send has to have; 0 elsewhere.
	Expected uint64
	// Value is which of a send's values was refused, from 1; 0 for none or all.
	Value int
	// Taken is how many of a send's values were taken nevertheless: the first ones.
	Taken int
	// RetryAfter is how soon the same command may succeed; 0 where time alone
	// changes nothing.
	RetryAfter time.Duration
}

// Error returns the message.
func (e *CommandError) Error() string { return "comet: " + e.Message }

func refuse(code, format string, args ...any) error {
	return &CommandError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// The commands, by the form field that names one.
var commands = []string{"attach", "detach", "register", "close", "pull", "send"}

// Command carries out what a POST to an event stream's URL asks: exactly one of
// attach=TOKEN[.NUMBER], detach=TOKEN, register=CHANNEL[@…], close=CHANNEL,
// pull=CHANNEL with an optional n, and send=INBOX with one value= or more and an
// optional n. comet=TOKEN says whose private channel is meant, or which process
// sends, where that is not the URL's own. The URL has to name a process of the
// request's session; it and the process meant are active by it. Every error is a
// *CommandError, or an inbox's own failure.
func (s *Site) Command(ctx context.Context, r Request, form map[string][]string) (Reply, error) {
	if err := s.rates.ofAddress(&s.config, r.Address); err != nil {
		return Reply{}, err
	}
	address, err := cursor.ParseAddress(r.Query)
	if err != nil {
		return Reply{}, refuse("bad", "%v", err)
	}
	if address.Process.Token == "" {
		return Reply{}, refuse("bad", "the URL names no client process, and only those take commands: call ClientProcess(c) before Open")
	}
	name, value, err := oneCommand(form)
	if err != nil {
		return Reply{}, err
	}
	own, err := s.Process(r.Reader.Session, address.Process.Token)
	if err != nil {
		return Reply{}, refuse("gone", "no such client process")
	}
	if err := s.rates.of(&s.config, own.token, own.session); err != nil {
		return Reply{}, err
	}
	whose := own
	if token := first(form["comet"]); token != "" {
		if whose, err = s.Process(r.Reader.Session, token); err != nil {
			return Reply{}, refuse("gone", "no such client process")
		}
	}
	es := own.carrier()
	if es == nil && whose != own {
		es = whose.carrier()
	}
	own.command()
	whose.command()
	c := command{
		site: s, ctx: ctx, whose: whose, chosen: whose != own || first(form["comet"]) != "",
		stream: es, reader: r.Reader, sender: r.Reader,
	}
	if es != nil {
		c.reader = es.reader
	}
	switch name {
	case "attach":
		return c.attach(r.Reader.Session, value)
	case "detach":
		return c.detach(value)
	case "register":
		return c.register(value)
	case "close":
		return c.close(value)
	case "send":
		return c.send(value, form["value"], first(form["n"]))
	}
	return c.pull(value, first(form["n"]))
}

func oneCommand(form map[string][]string) (name, value string, err error) {
	for _, c := range commands {
		switch v := form[c]; {
		case len(v) == 0:
		case len(v) > 1 || name != "":
			return "", "", refuse("bad", "more than one command; send one of attach, detach, register, close, pull, send")
		default:
			name, value = c, v[0]
		}
	}
	if name == "" {
		return "", "", refuse("bad", "no command; send one of attach, detach, register, close, pull, send")
	}
	return name, value, nil
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// carrier returns the event stream that carries the process.
func (p *ClientProcess) carrier() *EventStream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil
	}
	return p.current.stream
}

// command starts the clocks anew: a command is a sign of life.
func (p *ClientProcess) command() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.touch()
}

// A command is one that is being carried out.
type command struct {
	site   *Site
	ctx    context.Context
	whose  *ClientProcess
	chosen bool         // comet= said whose
	stream *EventStream // nil: none is connected
	reader Reader       // the event stream's, or else of who asks
	sender Reader       // who asks, now
}

func (c *command) attach(session, value string) (Reply, error) {
	place, err := cursor.ParseProcess(value)
	if err != nil {
		return Reply{}, refuse("bad", "attach: %v", err)
	}
	p, err := c.site.Process(session, place.Token)
	if err != nil {
		return Reply{}, refuse("gone", "no such client process")
	}
	if c.stream == nil {
		return Reply{}, refuse("conflict", "no event stream is connected for the URL's client process")
	}
	return c.stream.attach(p, place.Number, strings.Contains(value, "."))
}

func (c *command) detach(value string) (Reply, error) {
	if c.stream == nil || !c.stream.detach(value) {
		return Reply{}, refuse("conflict", "the client process is not on this event stream")
	}
	return Reply{State: "detached"}, nil
}

// register has a private channel of the process heard, or a site channel. A
// private one may be registered before it is created.
func (c *command) register(value string) (Reply, error) {
	ref, err := cursor.ParseChannel(value)
	if err != nil {
		return Reply{}, refuse("bad", "register: %v; use NAME, NAME@POSITION, NAME@-COUNT or NAME@newest", err)
	}
	if reply, done, err := c.registerPrivate(ref.Name); done || err != nil {
		return reply, err
	}
	if !c.chosen {
		switch channel := c.site.audible(c.ctx, c.reader, ref.Name); {
		case channel == nil:
		case c.stream == nil:
			return Reply{}, refuse("conflict", "no event stream is connected for the URL's client process, to hear the site channel %s", ref.Name)
		default:
			return c.stream.register(channel, ref, strings.Contains(value, "@"))
		}
	}
	return c.want(ref.Name) // also what is refused: it is as if it were not there
}

func (c *command) registerPrivate(name string) (reply Reply, done bool, err error) {
	p := c.whose
	p.mu.Lock()
	channel, current := p.names[name], p.current
	fresh := channel != nil && !channel.heard
	if fresh && current != nil && current.clashes(name) {
		p.mu.Unlock()
		return reply, false, refuse("conflict", "a site channel %s is heard on this event stream", name)
	}
	if fresh {
		p.hear(channel)
	}
	p.mu.Unlock()
	if fresh && current != nil {
		current.greet(channel.spec)
	}
	return Reply{State: "heard"}, channel != nil, nil
}

func (c *command) want(name string) (Reply, error) {
	p := c.whose
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.ended() {
		return Reply{}, refuse("gone", "no such client process")
	}
	if len(p.wanted) >= p.site.config.MaxChannels {
		return Reply{}, refuse("refused", "%d names are registered that no channel has yet", len(p.wanted))
	}
	if p.wanted == nil {
		p.wanted = make(map[string]bool, 1)
	}
	p.wanted[name] = true
	return Reply{State: "wanted"}, nil
}

func (c *command) close(name string) (Reply, error) {
	p := c.whose
	p.mu.Lock()
	channel := p.names[name]
	heard := channel != nil && channel.heard
	wanted := p.wanted[name]
	delete(p.wanted, name)
	p.mu.Unlock()
	if !c.chosen && c.stream != nil && !heard {
		if closed, err := c.stream.close(name); closed || err != nil {
			return Reply{State: "closed"}, err
		}
	}
	switch {
	case channel != nil:
		channel.close()
	case !wanted:
		return Reply{}, refuse("gone", "no channel %.140q is heard here", name)
	}
	return Reply{State: "closed"}, nil
}

func (c *command) pull(name, number string) (Reply, error) {
	n, err := numberOf("pull", number)
	if err != nil {
		return Reply{}, err
	}
	elsewhere := c.site.find(name) != nil // before the process's lock: Site.mu comes first
	p := c.whose
	p.mu.Lock()
	defer p.mu.Unlock()
	channel := p.names[name]
	switch {
	case channel == nil && elsewhere:
		return Reply{}, refuse("bad", "channel %s is a site channel; only unlimited channels take pull", name)
	case channel == nil || !channel.heard:
		return Reply{}, refuse("gone", "no channel %.140q is heard of this client process", name)
	case channel.spec.Kind != Pull:
		return Reply{}, refuse("bad", "channel %s is not read on demand; only unlimited channels take pull", name)
	}
	var presented uint64
	if p.current != nil {
		presented = p.current.presented
	}
	return channel.command(n, presented)
}
