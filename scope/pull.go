package scope

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/ocsigo/comet/internal/mailbox"
)

// pull is the state of a channel that is read on demand (rule 9). Guarded by the
// process's lock.
type pull struct {
	wanted  bool   // one value is asked for and not being read
	running bool   // one is being read
	n       uint64 // of the newest command
	serves  uint64 // the newest command when the newest read began
	answer  uint64 // the event number of the value that answers the newest command
	cancel  context.CancelFunc
	rest    func() // told, once, that none is being read any more; nil: nobody waits
}

// sent notes that a value was sent under number.
func (p *pull) sent(number uint64) {
	if p.serves == p.n {
		p.answer = number
	}
}

// stop cancels a running read.
func (p *pull) stop() {
	p.wanted = false
	if p.cancel != nil {
		p.cancel()
	}
}

// ask makes the channel read one value, now or when an event stream comes. It
// needs the process's lock.
func (c *privateChannel) ask() {
	c.pull.wanted = true
	c.read()
}

// read starts a read that is wanted, if one may run: only while an event stream
// carries the process, and one at a time. It needs the process's lock.
func (c *privateChannel) read() {
	p := c.process
	if !c.pull.wanted || c.pull.running || p.current == nil || !c.heard || p.resting || c.state.ended() || p.state.ended() {
		return
	}
	ctx, cancel := context.WithCancel(p.context())
	c.pull.wanted, c.pull.running, c.pull.serves, c.pull.cancel = false, true, c.pull.n, cancel
	p.site.work.Add(1)
	go c.readOne(ctx)
}

// readOne runs on a goroutine of the process. A value is put and its read over in one
// step: a value that is sent while it still counts as being read would have no next one
// read after it, if its event stream ended there.
func (c *privateChannel) readOne(ctx context.Context) {
	p := c.process
	defer p.site.work.Done()
	data, err := callPull(ctx, c.spec)
	if err == nil {
		err = p.site.checkSize(c.spec, data)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch interrupted := ctx.Err() != nil; {
	case p.state.ended() && errors.Is(err, io.EOF): // which may be what the source made of that
		err = nil
	case err == nil && errors.Is(c.keep(data), mailbox.ErrFull):
		err = ErrFull
	case err != nil && interrupted && !fails(err): // by a detach: the value is still asked for
		c.pull.wanted, err = true, nil
	}
	if err != nil {
		p.mu.Unlock()
		c.end(err) // while it counts as read, so that a look waits to say it
		p.mu.Lock()
	}
	c.pull.cancel()
	c.pull.running, c.pull.cancel = false, nil
	if c.pull.rest != nil {
		c.pull.rest()
		c.pull.rest, c.pull.wanted = nil, false
	}
	c.read()
	p.wake() // without a value too: a look ends when nothing is being read
}

// callPull turns a panic of the source into the error that ends its channel.
func callPull(ctx context.Context, spec Spec) (data []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return spec.Pull(ctx)
}

// fails tells a source's own end or failure from what its interrupted context
// made of it, which may be any error.
func fails(err error) bool {
	var panicked *PanicError
	return errors.Is(err, io.EOF) || errors.As(err, &panicked)
}

// attached reads for the channels whose value a native attach asks for: unless
// one waits or is being read, or the last one sent is beyond the cursor and comes
// again. It needs p.mu.
func (p *ClientProcess) attached(k uint64, reads bool) {
	for _, c := range p.boxes {
		if c.spec.Kind != Pull || !c.heard || c.box.Final() {
			continue
		}
		if reads && !c.pull.running && c.box.Unsent() == 0 && c.box.Newest() <= k {
			c.pull.wanted = true
		}
		c.read()
	}
}

// detached interrupts the reads: nothing is read for nobody. It needs p.mu.
func (p *ClientProcess) detached() {
	for _, c := range p.boxes {
		if c.pull.cancel != nil {
			c.pull.cancel()
		}
	}
}

// drained reads on for the continuous channels whose last value the socket has
// accepted. It needs p.mu.
func (p *ClientProcess) drained() {
	for _, c := range p.boxes {
		if c.spec.Continuous && c.heard && !c.pull.running && c.box.Unsent() == 0 {
			c.ask()
		}
	}
}

// command answers pull=NAME with the number n that the client gave it, 0 for
// none. presented is the cursor with which the event stream came. It needs the
// process's lock.
func (c *privateChannel) command(n, presented uint64) (Reply, error) {
	q := &c.pull
	switch {
	case c.state.ended():
		return Reply{}, &CommandError{Code: "gone", Message: fmt.Sprintf("channel %s has ended", c.spec.Name)}
	case n == 0 && q.wanted:
		return Reply{N: q.n, State: "waiting"}, nil
	case n == 0, n == q.n+1 && !q.wanted:
		q.n++
		q.answer = 0
		c.ask()
	case n == q.n+1:
		return Reply{}, &CommandError{
			Code: "busy", Expected: q.n + 1,
			Message: fmt.Sprintf("channel %s: pull %d waits for an event stream already", c.spec.Name, q.n),
		}
	case n != q.n:
		return Reply{}, &CommandError{
			Code: "conflict", Expected: q.n + 1,
			Message: fmt.Sprintf("channel %s: pull %d came, expected was %d, or %d again", c.spec.Name, n, q.n+1, q.n),
		}
	}
	return Reply{N: q.n, State: q.progress(presented)}, nil
}

// progress tells how far the newest command has come. A value that was sent and
// not seen is sent again whenever an event stream comes with a cursor before it,
// so a repeated command needs to do nothing.
func (p *pull) progress(presented uint64) string {
	switch {
	case p.running:
		return "reading"
	case p.wanted:
		return "waiting"
	case p.answer == 0:
		return "reading" // read, and about to be sent
	case p.answer > presented:
		return "sent"
	}
	return "seen"
}
