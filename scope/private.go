package scope

import (
	"context"
	"errors"
	"fmt"

	"github.com/ocsigo/comet/internal/mailbox"
)

// A privateChannel is a channel of one client process: its mailbox, and for a
// Pull channel the state of its reads. All but what never changes is guarded by
// the process's lock.
type privateChannel struct {
	process *ClientProcess
	before  *privateChannel // had the name, and its end was not sent yet: that comes first
	after   uint64          // the number under which the last end of this name was sent
	endedAt uint64          // the number under which its end was sent
	heard   bool            // its tab asked for it, at Open or by register
	state   life
	box     mailbox.Box
	spec    Spec
	pull    pull
}

func newPrivateChannel(p *ClientProcess, spec Spec) *privateChannel {
	return &privateChannel{
		process: p, spec: spec, state: life{stop: spec.Stop}, box: *mailbox.New(spec.Size, spec.MaxBytes),
	}
}

// heldBack reports whether the end of a channel that had the name before comes
// after the event number k: until that is told, nothing is of this one. It needs
// the process's lock.
func (c *privateChannel) heldBack(k uint64) bool {
	return c.before != nil || c.after > k
}

func (c *privateChannel) name() string { return c.spec.Name }
func (c *privateChannel) life() *life  { return &c.state }

func (c *privateChannel) put(ctx context.Context, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.state.ended() {
		return c.state.refusal(c.spec.Name)
	}
	if err := c.process.site.checkSize(c.spec, data); err != nil {
		return err
	}
	p := c.process
	p.mu.Lock()
	err := c.keep(data)
	if err == nil && c.heard {
		p.wake()
	}
	p.mu.Unlock()
	switch {
	case errors.Is(err, mailbox.ErrFull):
		c.end(ErrFull)
		return fmt.Errorf("channel %s: %w: over %d messages or %d bytes wait for its tab", c.spec.Name, ErrFull, c.spec.Size, c.spec.MaxBytes)
	case err != nil && p.state.ended() && !c.state.ended(): // a process's channels end one after the other
		return p.state.refusal(c.spec.Name)
	case err != nil:
		return c.state.refusal(c.spec.Name)
	}
	return nil
}

// keep puts data into the mailbox of a process that has not ended: else the error is
// mailbox.ErrFinished. It needs the process's lock.
func (c *privateChannel) keep(data []byte) error {
	if c.process.state.ended() {
		return mailbox.ErrFinished
	}
	waited := c.box.Waiting()
	err := c.box.Put(data)
	switch {
	case err == nil:
		c.process.countPut(c)
	case errors.Is(err, mailbox.ErrFull):
		c.countDropped(waited, true)
	}
	return err
}

// end lets what waits be sent, and then says why nothing follows.
func (c *privateChannel) end(cause error) {
	if !c.state.end(cause) {
		return
	}
	event, reason := endReason(cause)
	p := c.process
	p.site.logFailure(c.spec.Name, cause)
	p.mu.Lock()
	defer p.mu.Unlock()
	c.box.Finish(finalKinds[event], reason)
	c.pull.stop()
	if c.heard {
		p.wake()
	}
}

// close is end by the tab itself, which wants nothing more of it.
func (c *privateChannel) close() {
	p := c.process
	p.mu.Lock()
	c.countDropped(c.box.Waiting(), false)
	c.box.Fail(mailbox.Closed, "closed")
	p.mu.Unlock()
	c.end(ErrClosed)
}

var finalKinds = map[string]mailbox.Kind{
	"full": mailbox.Full, "closed": mailbox.Closed, "end": mailbox.End,
}

// controlOf names the control event of a final entry.
func controlOf(kind mailbox.Kind) string {
	switch kind {
	case mailbox.Full:
		return "full"
	case mailbox.Closed:
		return "closed"
	}
	return "end"
}

// next returns what the tab is to hear after the event number k: what was sent
// before and not received, in the order of its numbers, then what waits, one
// channel after the other. It needs p.mu.
func (p *ClientProcess) next(k uint64) (*privateChannel, mailbox.Entry, bool) {
	if k < p.number {
		if c, e, ok := p.again(k); ok {
			if e.Kind == mailbox.Data {
				p.countAgain(c)
			}
			return c, e, true
		}
	}
	for range p.boxes {
		p.turn = (p.turn + 1) % len(p.boxes)
		c := p.boxes[p.turn]
		if !c.heard || c.before != nil {
			continue
		}
		e, ok := c.box.Take(p.number + 1)
		if !ok {
			continue
		}
		p.number++
		switch e.Kind {
		case mailbox.Data:
			c.pull.sent(e.Number)
			p.countSent(c)
		case mailbox.Full:
			p.site.fulls.count(e.Reason)
			fallthrough
		default:
			p.retire(c, e.Number)
		}
		if p.number%(1<<20) == 0 {
			p.settle()
		}
		return c, e, true
	}
	return nil, mailbox.Entry{}, false
}

// again returns the oldest sent event with a number above k.
func (p *ClientProcess) again(k uint64) (first *privateChannel, oldest mailbox.Entry, ok bool) {
	for _, c := range p.boxes {
		if e, sent := c.box.After(k); sent && (!ok || e.Number < oldest.Number) {
			first, oldest, ok = c, e, true
		}
	}
	return first, oldest, ok
}

// lose makes every channel final of which something sent after k is kept no
// more: a full is sent last of it, under the next number, so that nobody can have
// heard that before; of a channel that has ended already, in place of its end. It
// returns the channels that ended by this, whose lives are for the caller to tell,
// without the lock that it needs here.
func (p *ClientProcess) lose(k uint64) []*privateChannel {
	var lost []*privateChannel
	for _, c := range p.boxes {
		if c.heard && c.box.Discarded() > k {
			lost = append(lost, c)
		}
	}
	ended := lost[:0]
	for _, c := range lost {
		if c.state.flip(ErrFull) {
			ended = append(ended, c)
		}
		c.countDropped(c.box.Waiting(), true)
		p.site.fulls.count("trimmed")
		if c.endedAt > 0 {
			c.box.Lose(c.endedAt, "trimmed")
			continue
		}
		p.number++
		c.box.Lose(p.number, "trimmed")
		p.retire(c, p.number)
	}
	return ended
}

// refuse makes every channel full for a tab whose cursor cannot be true. It needs
// p.mu and returns as lose does.
func (p *ClientProcess) refuse(reason string) []*privateChannel {
	var lost []*privateChannel
	for _, c := range p.boxes {
		if c.heard && c.endedAt == 0 {
			c.countDropped(c.box.Waiting(), true)
			c.box.Fail(mailbox.Full, reason)
			if c.state.flip(ErrFull) {
				lost = append(lost, c)
			}
		}
	}
	return lost
}
