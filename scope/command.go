package scope

import (
	"context"
	"fmt"
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
	// fast), away (the node that has the process does not answer now: it was done, or
	// not); and of a send invalid, large, full (there is no room now), or failed (the
	// app did, after some values were taken).
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
	// Process is the token of the client process that there is none of; empty where
	// it is the channel or inbox that is gone.
	Process string
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
	c := command{site: s, ctx: ctx, own: address.Process.Token, whose: address.Process.Token, asks: r.Reader}
	if token := first(form["comet"]); token != "" {
		c.whose, c.chosen = token, true
	}
	if err := c.visit(); err != nil {
		return Reply{}, err
	}
	if err := s.rates.of(&s.config, c.own, r.Reader.Session); err != nil {
		return Reply{}, err
	}
	switch name {
	case "attach":
		return c.attach(value)
	case "detach":
		return c.detach(value)
	case "register":
		return c.register(value)
	case "close":
		return c.close(value)
	case "send":
		return c.reply(step{What: "send", Name: value, Values: form["value"], N: first(form["n"])})
	}
	return c.reply(step{What: "pull", Name: value, N: first(form["n"])})
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

// A command is one that is being carried out, step by step: what it is about may
// be on three nodes.
type command struct {
	site   *Site
	ctx    context.Context
	own    string // the process of the URL
	whose  string // the process that is meant
	chosen bool   // comet= said whose
	asks   Reader // who asks, now
	board  board  // none: no event stream is connected
}

// take carries out a step on the process that is meant.
func (c *command) take(st step) (stepResult, error) {
	st.Token, st.Session, st.Sender = c.whose, c.asks.Session, c.asks
	return c.site.take(c.ctx, st)
}

func (c *command) reply(st step) (Reply, error) {
	r, err := c.take(st)
	return r.Reply, err
}

// visit finds both processes, and the event stream of the URL's, or else of the one
// that is meant.
func (c *command) visit() error {
	r, err := c.site.take(c.ctx, step{What: "visit", Token: c.own, Session: c.asks.Session})
	if err != nil {
		return err
	}
	c.board = r.board
	if c.whose == c.own {
		return nil
	}
	if r, err = c.take(step{What: "visit"}); err != nil {
		return err
	}
	if c.board.none() {
		c.board = r.board
	}
	return nil
}

func (c *command) attach(value string) (Reply, error) {
	place, err := cursor.ParseProcess(value)
	if err != nil {
		return Reply{}, refuse("bad", "attach: %v", err)
	}
	if _, err := c.site.take(c.ctx, step{What: "find", Token: place.Token, Session: c.asks.Session}); err != nil {
		return Reply{}, err
	}
	if c.board.none() {
		return Reply{}, refuse("conflict", "no event stream is connected for the URL's client process")
	}
	reply, _, err := c.site.post(c.ctx, c.board, "attach", c.asks, value)
	return reply, err
}

func (c *command) detach(value string) (Reply, error) {
	done, err := false, error(nil)
	if !c.board.none() {
		_, done, err = c.site.post(c.ctx, c.board, "detach", c.asks, value)
	}
	switch {
	case err != nil:
		return Reply{}, err
	case !done:
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
	if r, err := c.take(step{What: "register", Name: ref.Name}); r.Done || err != nil {
		return r.Reply, err
	}
	switch {
	case c.chosen:
	case !c.board.none():
		if reply, heard, err := c.site.post(c.ctx, c.board, "register", c.asks, value); heard || err != nil {
			return reply, err
		}
	case c.site.audible(c.ctx, c.asks, ref.Name) != nil:
		return Reply{}, refuse("conflict", "no event stream is connected for the URL's client process, to hear the site channel %s", ref.Name)
	}
	return c.reply(step{What: "want", Name: ref.Name}) // also what is refused: it is as if it were not there
}

func (c *command) close(name string) (Reply, error) {
	r, err := c.take(step{What: "close", Name: name})
	if err != nil || r.Done {
		return Reply{State: "closed"}, err
	}
	if !c.chosen && !c.board.none() {
		if _, heard, err := c.site.post(c.ctx, c.board, "close", c.asks, name); heard || err != nil {
			return Reply{State: "closed"}, err
		}
	}
	known := r.Known
	if !known {
		r, err = c.take(step{What: "drop", Name: name})
		known = r.Known
	}
	if err == nil && !known {
		err = refuse("gone", "no channel %.140q is heard here", name)
	}
	return Reply{State: "closed"}, err
}

// What steps do to a process.

func (p *ClientProcess) registerPrivate(name string) (Reply, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done, err := p.hearNamed(name)
	return Reply{State: "heard"}, done, err
}

// hearNamed has the channel of that name heard, and reports whether there is one. Of
// one that is heard already hello is said again. It needs p.mu.
func (p *ClientProcess) hearNamed(name string) (bool, error) {
	c := p.names[name]
	switch {
	case c == nil:
		return false, nil
	case c.heard:
		p.greet(c)
		p.wake()
	case p.current != nil && p.current.by.clashes(name):
		return false, refuse("conflict", "a site channel %s is heard on this event stream", name)
	default:
		p.hear(c)
	}
	return true, nil
}

func (p *ClientProcess) want(name string) (Reply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.ended() {
		return Reply{}, noProcess(p.token)
	}
	if done, err := p.hearNamed(name); done || err != nil { // it was made since it was looked for
		return Reply{State: "heard"}, err
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

// closeHeard closes a channel that is heard. known tells that the name was
// registered before it was created, which it is not any more.
func (p *ClientProcess) closeHeard(name string) (closed, known bool) {
	p.mu.Lock()
	channel := p.names[name]
	heard := channel != nil && channel.heard
	known = p.wanted[name]
	delete(p.wanted, name)
	p.mu.Unlock()
	if heard {
		channel.close()
	}
	return heard, known
}

// closeUnheard closes a channel that nobody heard.
func (p *ClientProcess) closeUnheard(name string) (known bool) {
	p.mu.Lock()
	channel := p.names[name]
	p.mu.Unlock()
	if channel != nil {
		channel.close()
	}
	return channel != nil
}

func (p *ClientProcess) pull(name, number string) (Reply, error) {
	n, err := numberOf("pull", number)
	if err != nil {
		return Reply{}, err
	}
	elsewhere := p.site.find(name) != nil // before the process's lock: Site.mu comes first
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
