package scope

import (
	"context"
	"time"
)

// A waiter waits for one unbroken inactive span, or for activity.
type waiter struct {
	process *ClientProcess
	arrival bool // waits for an event stream to come
	span    time.Duration
	done    func(error) // called once
	timer   *time.Timer // nil while the process is active
}

// WaitTimeout returns nil at the first moment at which the process has been
// inactive for d without a break. Activity is an event stream attached for it,
// whatever that carries; its detected end starts the clock, the process's
// creation starts it too, and commands start it anew. A process that has been
// away for d already is reported at once. If the process ends first, the error
// is ErrProcessGone, at once; if ctx does, its error. As Eliom_comet's
// wait_timeout, which however never returns when the process is closed.
//
// The end of a connection is heard at once where the kernel tells it; a peer
// that vanished without a word is noticed within two heartbeats.
//
// A process that is away is reported at once, again and again: to follow its
// coming and going, wait for WaitActive between two calls.
func (p *ClientProcess) WaitTimeout(ctx context.Context, d time.Duration) error {
	return wait(ctx, func(f func(error)) func() bool { return p.AfterInactive(d, f) })
}

// WaitActive returns nil as soon as an event stream carries the process, at once
// if one does. If the process ends first, the error is ErrProcessGone; if ctx
// does, its error.
func (p *ClientProcess) WaitActive(ctx context.Context) error { return wait(ctx, p.AfterActive) }

// Active reports whether an event stream carries the process.
func (p *ClientProcess) Active() bool {
	_, away := p.awaySince()
	return !away
}

func wait(ctx context.Context, after func(func(error)) func() bool) error {
	result := make(chan error, 1)
	stop := after(func(err error) { result <- err })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		stop()
		return ctx.Err()
	}
}

// AfterInactive calls f once, on a goroutine of its own, when WaitTimeout would
// return: with nil, or with an error that is ErrProcessGone. Until then it costs
// no goroutine. stop prevents the call and reports whether it did.
func (p *ClientProcess) AfterInactive(d time.Duration, f func(error)) (stop func() bool) {
	return p.after(&waiter{process: p, span: d, done: f})
}

// AfterActive calls f once, on a goroutine of its own, when WaitActive would
// return. Until then it costs no goroutine. stop prevents the call and reports
// whether it did.
func (p *ClientProcess) AfterActive(f func(error)) (stop func() bool) {
	return p.after(&waiter{process: p, arrival: true, done: f})
}

func (p *ClientProcess) after(w *waiter) (stop func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch never := func() bool { return false }; {
	case p.state.ended():
		go w.done(ended(p.state.err()))
		return never
	case w.arrival && p.current != nil:
		go w.done(nil)
		return never
	}
	if p.waiters == nil {
		p.waiters = make(map[*waiter]struct{}, 1)
	}
	p.waiters[w] = struct{}{}
	if p.current == nil {
		w.arm(p.away)
	}
	return w.cancel
}

// arm starts the clock, which has run since the given time. It needs the
// process's lock.
func (w *waiter) arm(since time.Time) {
	if w.arrival {
		return
	}
	left := max(0, time.Until(since.Add(w.span)))
	if w.timer == nil {
		w.timer = time.AfterFunc(left, w.due)
		return
	}
	w.timer.Reset(left)
}

// due runs when the span may be over: a command or a connection may have come
// between.
func (w *waiter) due() {
	p := w.process
	p.mu.Lock()
	_, waiting := p.waiters[w]
	over := waiting && p.current == nil && time.Since(p.away) >= w.span
	if over {
		delete(p.waiters, w)
	}
	p.mu.Unlock()
	if over {
		w.done(nil)
	}
}

// finish tells the process's end. The waiter is out of its set already.
func (w *waiter) finish(err error) {
	if w.timer != nil {
		w.timer.Stop()
	}
	go w.done(err)
}

func (w *waiter) cancel() bool {
	w.process.mu.Lock()
	defer w.process.mu.Unlock()
	_, waiting := w.process.waiters[w]
	delete(w.process.waiters, w)
	if w.timer != nil {
		w.timer.Stop()
	}
	return waiting
}

// awaySince returns since when no event stream carries the process.
func (p *ClientProcess) awaySince() (since time.Time, away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away, p.current == nil
}

// arrived stops the clocks: an event stream carries the process. It needs p.mu.
func (p *ClientProcess) arrived() {
	p.connected = true
	p.expiry.Stop()
	for w := range p.waiters {
		switch {
		case w.arrival:
			delete(p.waiters, w)
			go w.done(nil)
		case w.timer != nil:
			w.timer.Stop()
		}
	}
}

// left starts the clocks: the event stream is gone. It needs p.mu.
func (p *ClientProcess) left() {
	p.current = nil
	p.touch()
}

// leftAt is left, of what was missed since then. It needs p.mu.
func (p *ClientProcess) leftAt(since time.Time) {
	p.left()
	if p.state.ended() {
		return
	}
	p.away = since
	p.expiry.Reset(time.Until(since.Add(p.lifetime())))
	for w := range p.waiters {
		w.arm(since)
	}
}

// touch starts the clocks anew while the process is away: it needs p.mu.
func (p *ClientProcess) touch() {
	if p.current != nil || p.state.ended() {
		return
	}
	p.away = time.Now()
	p.expiry.Reset(p.lifetime())
	for w := range p.waiters {
		w.arm(p.away)
	}
}
