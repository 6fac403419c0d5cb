package scope

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	takeWithin = 10 * time.Second // for the app to take the values of one command
	maxQueued  = 16               // commands of one tab to one inbox that wait for their turn
)

// A sending is what a process has sent to the inboxes of one name: how far its
// numbers have come, and what is left of its rate. An inbox that takes over a name
// takes over the record, for the page goes on counting. Its fields are guarded by
// the process's lock; whoever holds turn is the only one to send.
type sending struct {
	inbox   *Inbox // the latest
	turn    chan struct{}
	queued  int    // commands that hold the turn or wait for it
	last    uint64 // the newest number of which everything was taken
	begun   int    // how many values of number last + 1 were taken before it failed
	tokens  float64
	counted time.Time // when tokens was right
}

// sending returns the process's record of a name.
func (p *ClientProcess) sending(i *Inbox) (*sending, error) {
	name := i.spec.Name
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.ended() {
		return nil, noProcess(p.token)
	}
	if p.over != nil {
		return nil, notReached(errAway)
	}
	s := p.sendings[name]
	switch {
	case s == nil && len(p.sendings) >= p.site.config.MaxChannels && !p.dropSending():
		return nil, refuse("refused", "the client process sends to %d inboxes, which is the most", len(p.sendings))
	case s == nil:
		if p.sendings == nil {
			p.sendings = make(map[string]*sending, 1)
		}
		s = &sending{turn: make(chan struct{}, 1), tokens: float64(i.spec.Burst), counted: time.Now()}
		p.sendings[name] = s
	case s.queued >= maxQueued:
		return nil, &CommandError{
			Code: "busy", RetryAfter: time.Second,
			Message: fmt.Sprintf("%d commands of this page wait for inbox %s to take their values: send them together, or one after the other", s.queued, name),
		}
	}
	s.queued++
	s.inbox = i
	return s, nil
}

// dropSending forgets what was sent to an inbox that has ended, to make room. It
// needs p.mu.
func (p *ClientProcess) dropSending() bool {
	for name, s := range p.sendings {
		if s.queued == 0 && s.inbox.state.ended() {
			delete(p.sendings, name)
			return true
		}
	}
	return false
}

func (p *ClientProcess) sent(s *sending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.queued--
}

// inbox returns what the process may send to under a name: its own inbox, or the
// site's.
func (p *ClientProcess) inbox(ctx context.Context, st *step) *Inbox {
	name := st.Name
	p.mu.Lock()
	own := p.inboxes[name]
	p.mu.Unlock()
	if own != nil {
		return own
	}
	p.site.mu.Lock()
	site := p.site.inboxes[name]
	p.site.mu.Unlock()
	if site == nil || site.spec.Hearers && p.site.allow(ctx, st.Sender, name) != nil {
		return nil
	}
	return site
}

// send gives the values of one command to an inbox.
func (p *ClientProcess) send(ctx context.Context, st *step) (Reply, error) {
	n, err := numberOf("send", st.N)
	if err != nil {
		return Reply{}, err
	}
	i := p.inbox(ctx, st)
	if i == nil {
		return Reply{}, noInbox(st.Name)
	}
	values, err := i.spec.values(st.Values)
	if err != nil {
		return Reply{}, err
	}
	s, err := p.sending(i)
	if err != nil {
		return Reply{}, err
	}
	defer p.sent(s)
	ctx, cancel := context.WithTimeout(ctx, takeWithin)
	defer cancel()
	defer context.AfterFunc(p.site.ctx, cancel)()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return Reply{}, &CommandError{
			Code: "full", RetryAfter: time.Second,
			Message: fmt.Sprintf("inbox %s has not taken in time what this page sent before", st.Name),
		}
	}
	return p.give(ctx, i, s, n, Sent{Process: p, Reader: st.Sender, Values: values})
}

// give is send, while no other command of the process sends to the inbox.
func (p *ClientProcess) give(ctx context.Context, i *Inbox, s *sending, n uint64, all Sent) (Reply, error) {
	p.mu.Lock()
	seen, skip, err := s.place(i.spec.Name, n, len(all.Values))
	if err == nil && !seen {
		err = s.spend(&i.spec, len(all.Values)-skip)
	}
	last := s.last
	p.mu.Unlock()
	switch {
	case err != nil:
		return Reply{}, err
	case seen:
		return Reply{State: "seen", N: last}, nil
	case i.state.ended():
		return Reply{}, noInbox(i.spec.Name)
	}
	all.Values = all.Values[skip:]
	all.name, all.number, all.first = i.spec.Name, n, skip
	taken, err := i.take(ctx, all)
	p.mu.Lock()
	switch {
	case n == 0:
	case err == nil:
		s.last, s.begun = n, 0
	default:
		s.begun = skip + taken
	}
	p.mu.Unlock()
	if err == nil {
		return Reply{State: "taken", N: n}, nil
	}
	return Reply{}, p.located(err, skip, taken)
}

// located says in an error of Take which of the command's values it is of, where
// an earlier try had taken some already. Where some are taken the page has to be
// told how many, of an app's failure too: its next send passes over them.
func (p *ClientProcess) located(err error, skip, taken int) error {
	told, ok := err.(*CommandError)
	if !ok {
		if skip+taken == 0 || errors.Is(err, ErrShutdown) {
			return err
		}
		p.site.getHooks().Logger.Error("comet: a command failed", "error", err)
		told = &CommandError{Code: "failed", Message: "the command failed; the server's log says why"}
	}
	moved := *told
	moved.Taken = skip + taken
	if moved.Value > 0 {
		moved.Value += skip
	}
	return &moved
}

func noInbox(name string) error {
	return refuse("gone", "no inbox %.140q takes values of this page", name)
}

// values checks what does not depend on who sends.
func (s *InboxSpec) values(texts []string) ([][]byte, error) {
	if len(texts) == 0 {
		return nil, refuse("bad", "send: no value: put each into a field value=JSON")
	}
	if len(texts) > s.Burst {
		return nil, refuse("large", "send: %d values; inbox %s takes at most %d at once", len(texts), s.Name, s.Burst)
	}
	values := make([][]byte, len(texts))
	for i, text := range texts {
		switch {
		case len(text) > s.MaxValue:
			return nil, &CommandError{Code: "large", Value: i + 1, Message: fmt.Sprintf("send: a value of %d bytes; inbox %s takes at most %d", len(text), s.Name, s.MaxValue)}
		case !utf8.ValidString(text):
			return nil, notText(i)
		}
		values[i] = []byte(text)
	}
	return values, nil
}

func notText(i int) error {
	return &CommandError{Code: "invalid", Value: i + 1, Message: "send: the value is not UTF-8"}
}

// place tells what number n is to do: nothing, because all of it was taken, or to
// give values after the first skip ones. It needs the process's lock.
func (s *sending) place(name string, n uint64, values int) (seen bool, skip int, err error) {
	switch {
	case n == 0:
		return false, 0, nil
	case n <= s.last:
		return true, 0, nil
	case n > s.last+1, s.begun >= values:
		return false, 0, &CommandError{
			Code: "conflict", Expected: s.last + 1,
			Message: fmt.Sprintf("inbox %s: send %d with %d values came, expected was %d, of which %d values were taken", name, n, values, s.last+1, s.begun),
		}
	}
	return false, s.begun, nil
}

// spend takes n values off the rate (a token bucket). It needs the process's
// lock.
func (s *sending) spend(spec *InboxSpec, n int) error {
	now := time.Now()
	s.tokens = min(float64(spec.Burst), s.tokens+now.Sub(s.counted).Seconds()*spec.Rate)
	s.counted = now
	if lacking := float64(n) - s.tokens; lacking > 0 {
		wait := time.Duration(math.Min(lacking/spec.Rate, 3600) * float64(time.Second)).Round(time.Millisecond)
		return &CommandError{
			Code: "busy", RetryAfter: max(wait, time.Millisecond),
			Message: fmt.Sprintf("inbox %s takes %v values a second of one page, and at most %d at once", spec.Name, spec.Rate, spec.Burst),
		}
	}
	s.tokens -= float64(n)
	return nil
}

// numberOf reads a command's n, 0 for none.
func numberOf(command, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, refuse("bad", "%s: n is %.20q; use 1, 2, 3 …, or leave it out", command, text)
	}
	return n, nil
}
