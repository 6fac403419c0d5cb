package scope

import (
	"context"
	"time"
)

// next implements carried.
func (r *relay) next(k uint64) (told, processEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return nothing, processEvent{number: max(k, r.top)}
	}
	e := r.events[0]
	r.events[0] = relayed{}
	r.events = r.events[1:]
	r.channels = e.learn(r.channels)
	if len(r.events) == 0 && !r.paced {
		r.ask()
	}
	if e.told == aChannel || e.told == gone || e.told == superseded {
		e.event.number = k
	}
	return e.told, e.event
}

// wait waits until the owner has answered what there is, no longer than a quarter of
// the lease since the relay began: of several, who waits for one after the other waits
// no longer than for one.
func (r *relay) wait(ctx context.Context) error {
	late := time.NewTimer(time.Until(r.begun.Add(r.node.hold())))
	defer late.Stop()
	select {
	case <-r.known:
		return nil
	case <-late.C:
		return errAway
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask has the goroutine ask for more. It needs r.mu.
func (r *relay) ask() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// greeting implements carried.
func (r *relay) greeting(uint64) []greetedChannel {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.channels
}

// drained implements carried.
func (r *relay) drained(uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paced && len(r.events) == 0 && !r.written {
		r.written = true
		r.ask()
	}
}

// reading implements carried.
func (r *relay) reading() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.idle
}

// carries implements carried.
func (r *relay) carries() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attached
}

// leave implements carried. The owner is told by the goroutine.
func (r *relay) leave() {
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	r.node.unlist(r)
	r.cancel()
}
