package channel

import (
	"context"
	"fmt"
	"weak"
)

// A feed is what a head knows of its channel: a *scope.Feed.
type feed interface {
	// Put takes data over and says whether the channel took it.
	Put(ctx context.Context, data []byte) error
	// PutOnce is Put of a value with an ID; "" is none.
	PutOnce(ctx context.Context, id string, data []byte) error
	// End ends the channel with cause; a channel that has ended stays as it is.
	End(cause error)
}

type headState uint8

const (
	unclaimed headState = iota // no channel yet
	reserved                   // a channel is being created; it may still fail and leave the head unclaimed
	queued                     // claimed, values wait here until they are read
	direct                     // claimed, Send puts them into the channel
)

// A head is one reader's place in a fan: what waits for it, and the channel
// that claimed it, if any. Its values go to that channel alone. The fan's mutex
// guards the fields below it.
type head struct {
	fan   *fan
	wake  chan struct{} // a value, or the end, may be there; room for one
	ready chan struct{} // closed by claim

	state  headState
	name   string                  // of the channel
	enc    Encoding                // of the channel; JSON while unclaimed
	feed   feed                    // once the head may end the channel by itself; nil where a pump does
	cancel context.CancelCauseFunc // of what reads for the channel; nil where the channel does
	queue  queue
	end    error // nothing comes after what waits
	behind bool  // there was no room: what waited was dropped
}

func newHead(f *fan, q queue) *head {
	return &head{fan: f, wake: make(chan struct{}, 1), ready: make(chan struct{}), enc: JSON, queue: q}
}

func (h *head) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// reserve takes the head for a channel about to be created, which must then
// claim or release it.
func (h *head) reserve() error {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	if h.state != unclaimed {
		return ErrReused
	}
	if h.behind {
		return fmt.Errorf("%w: the stream fell too far behind its clones before a channel used it", ErrFull)
	}
	h.state = reserved
	return nil
}

// release undoes reserve, as if nothing had been tried.
func (h *head) release() {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	h.state = unclaimed
}

// claim gives the head to the channel. Values that wait are still JSON, and
// recoded when read. Who reads for the channel gives cancel, and ends it; a
// channel that reads by itself gives its feed. It may have ended already: then
// there is nothing to read.
func (h *head) claim(name string, enc Encoding, f feed, cancel context.CancelCauseFunc) {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	h.state, h.name, h.enc, h.feed, h.cancel = queued, name, enc, f, cancel
	h.fan.listHeads()
	close(h.ready)
}

// next waits for the head's next value, in the channel's encoding. Whatever ctx
// does, no value is lost: it is returned, or stays for the next call. A head
// without a value reads the source, for all heads.
func (h *head) next(ctx context.Context) ([]byte, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if w, ok, err := h.take(); ok {
			return h.encoded(w)
		} else if err != nil {
			return nil, err
		}
		select {
		case h.fan.turn <- struct{}{}:
			h.fan.read(ctx, h)
		case <-h.wake:
		case <-ctx.Done():
		}
	}
}

// pull is next for a channel that is read on demand, which may ask before its
// head is claimed.
func (h *head) pull(ctx context.Context) (data []byte, err error) {
	select {
	case <-h.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	err = errExited
	defer func() {
		if err == errExited { // there may be nobody left to return it to
			h.feed.End(named(h.name, err))
		}
	}()
	data, err = h.next(ctx)
	return data, named(h.name, err)
}

// take returns the oldest value that waits or, when none does, why none will.
func (h *head) take() (waiting, bool, error) {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	if w, ok := h.queue.pop(); ok {
		return w, true, nil
	}
	return waiting{}, false, h.end
}

// idle reports whether the head needs a value and may still get one.
func (h *head) idle() bool {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	return h.queue.len() == 0 && h.end == nil
}

func (h *head) encoded(w waiting) ([]byte, error) {
	if w.enc.Name() == h.enc.Name() {
		return w.data, nil
	}
	return h.fan.recode(w.data, w.enc, h.enc)
}

// drain puts what waited for an unclaimed head into its channel and then lets
// Send put. Until that moment newer values queue behind the older ones.
func (h *head) drain(ctx context.Context, f feed) error {
	for {
		w, ok, err := h.takeOrPut(f)
		if !ok {
			return err
		}
		data, err := h.encoded(w)
		if err == nil {
			err = f.Put(ctx, data)
		}
		if err != nil {
			return err
		}
	}
}

// takeOrPut is take, but a head with nothing waiting becomes direct in the same
// step.
func (h *head) takeOrPut(f feed) (waiting, bool, error) {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	if w, ok := h.queue.pop(); ok {
		return w, true, nil
	}
	h.state, h.feed = direct, f
	return waiting{}, false, h.end
}

// cause says why nothing comes to the head any more, or nil.
func (h *head) cause() error {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	return h.end
}

// stop says that the channel has ended: the head wants nothing any more.
func (h *head) stop(cause error) {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	h.queue.drop()
	h.finish(cause)
	if h.cancel != nil {
		h.cancel(cause)
	}
}

// stopper returns stop for scope to call. It does not hold the head: scope
// keeps it for as long as the channel has its name, and the head of a sent
// stream holds the feed, which would then never let a named channel be
// collected. Whoever reads or sends holds the head.
func (h *head) stopper() func(error) {
	w := weak.Make(h)
	return func(cause error) {
		if h := w.Value(); h != nil {
			h.stop(cause)
		}
	}
}

// abandon is stop for a head whose Stream was dropped before any channel used
// it. Nobody waits at such a head, so nobody is woken: abandon runs as a
// cleanup, and a cleanup must not touch the channels of a testing/synctest
// bubble.
func (h *head) abandon() {
	h.fan.mu.Lock()
	defer h.fan.mu.Unlock()
	if h.state == unclaimed {
		h.queue.drop()
		h.leave(ErrUnclaimed)
	}
}

// finish lets nothing more come to the head, and its reader know. The fan's
// mutex is held.
func (h *head) finish(cause error) {
	h.leave(cause)
	h.signal()
}

func (h *head) leave(cause error) {
	if h.end == nil {
		h.end = cause
		h.fan.remove(h, cause)
	}
}

// overflow ends a head that fell behind. The fan's mutex is held.
func (h *head) overflow() {
	h.behind = true
	h.queue.drop()
	h.finish(ErrFull)
}

// tell ends a channel that sends go into directly, and one whose values were
// dropped. Any other reads its end as it reads its values: a pump soon, an
// unlimited channel when it is next asked, and by then has what was read
// before. No lock is held.
func (h *head) tell() {
	h.fan.mu.Lock()
	f, cause := h.feed, h.end
	if h.state != direct && !h.behind {
		f = nil
	}
	h.fan.mu.Unlock()
	if f != nil {
		f.End(cause)
	}
}
