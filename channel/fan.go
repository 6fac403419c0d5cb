package channel

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
)

// A fan carries one stream of values to its heads: one head, or as many as the
// stream was cloned into. It has no goroutine: a value is brought by Send or by
// whichever head reads the source, and left in the queues of the others.
type fan struct {
	source source        // nil: values are sent
	turn   chan struct{} // held by the head that reads the source; nil: there is none to read
	recode func(data []byte, from, to Encoding) ([]byte, error)

	mu        sync.Mutex
	heads     []*head    // that still get values
	encodings []Encoding // of heads, each once; replaced, never written to
	cloned    bool
	lastName  string // the channel of the head that left last,
	lastCause error  // and why it left
}

// newFan returns a fan and its first head.
func newFan(src source, q queue, recode func([]byte, Encoding, Encoding) ([]byte, error)) *head {
	f := &fan{source: src, recode: recode}
	if src != nil {
		f.turn = make(chan struct{}, 1)
	}
	h := newHead(f, q)
	f.heads = []*head{h}
	f.listHeads()
	return h
}

// clone returns a second head that goes its own way from here on: what waits
// for h waits for both.
func (f *fan) clone(h *head, limits func(*queue)) (*head, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.state != unclaimed {
		return nil, ErrReused
	}
	limits(&h.queue)
	c := newHead(f, h.queue.clone())
	if c.end = h.end; c.end == nil {
		f.heads = append(f.heads, c)
	}
	f.cloned = true
	return c, nil
}

// remove takes h off the heads; with the last one the source stops. f.mu is
// held.
func (f *fan) remove(h *head, cause error) {
	f.heads = slices.DeleteFunc(f.heads, func(x *head) bool { return x == h })
	f.lastName, f.lastCause = h.name, cause
	f.listHeads()
	if len(f.heads) == 0 && f.source != nil {
		f.source.stop(cause)
	}
}

// listHeads brings encodings up to date. f.mu is held.
func (f *fan) listHeads() {
	var encs []Encoding
	for _, h := range f.heads {
		if !slices.ContainsFunc(encs, func(e Encoding) bool { return e.Name() == h.enc.Name() }) {
			encs = append(encs, h.enc)
		}
	}
	f.encodings = encs
}

// read reads the source once, for all heads, unless h got what it needs while
// it waited for its turn. h's reader holds the turn, and gives it back here.
//
// An error while ctx has ended is the reader giving up: the source is as it
// was, for the next reader.
func (f *fan) read(ctx context.Context, h *head) {
	defer func() { <-f.turn }()
	if !h.idle() {
		return
	}
	v, err := f.ask(ctx)
	switch {
	case err == nil:
		f.hand(v)
	case ctx.Err() == nil || err == io.EOF || isPanic(err):
		f.finish(err)
	}
}

func (f *fan) ask(ctx context.Context) (v any, err error) {
	defer catch(&err)
	return f.source.next(ctx)
}

// hand leaves a value that was read in the queues of all heads.
func (f *fan) hand(v any) {
	f.mu.Lock()
	encs := f.encodings
	f.mu.Unlock()
	var buf [1]payload
	out := f.distribute(encode(buf[:0], encs, v), nil)
	for _, h := range out.ended {
		h.tell()
	}
}

// An outcome is what distribute leaves to do without the lock, and what it has
// done.
type outcome struct {
	direct []delivery // to put
	ended  []*head    // to tell
	kept   bool       // some queue took the value
	full   *head      // the one that did not, and goes on
}

type delivery struct {
	head *head
	waiting
}

// put reports, if it fails, whether that is because the channel has ended.
func (d delivery) put(ctx context.Context, id string) (gone bool, err error) {
	data, err := d.head.encoded(d.waiting)
	if err == nil {
		err = d.head.feed.PutOnce(ctx, id, data)
	}
	if err == nil {
		return false, nil
	}
	if cause := d.head.cause(); cause != nil {
		return true, ended(d.head.name, cause)
	}
	return false, named(d.head.name, err)
}

// distribute gives every head its payload. A head whose encoding failed ends
// with that error after what waits for it; a clone's head without room ends
// with ErrFull. What is to be put is appended to puts.
func (f *fan) distribute(payloads []payload, puts []delivery) (out outcome) {
	out.direct = puts
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.heads) - 1; i >= 0; i-- { // downwards: finish takes heads off
		h := f.heads[i]
		p := as(h.enc, payloads)
		w := waiting{p.data, p.enc}
		switch {
		case p.err != nil:
			h.finish(p.err)
			out.ended = append(out.ended, h)
		case h.state == direct:
			out.direct = append(out.direct, delivery{h, w})
		case h.queue.push(w):
			out.kept = true
			h.signal()
		case f.cloned:
			h.overflow()
			out.ended = append(out.ended, h)
		default:
			out.full = h
		}
	}
	return out
}

// finish ends the stream for all heads, each after what waits for it.
func (f *fan) finish(cause error) {
	f.mu.Lock()
	heads := slices.Clone(f.heads)
	for _, h := range heads {
		h.finish(cause)
	}
	f.mu.Unlock()
	for _, h := range heads {
		h.tell()
	}
}

// wanted lists the encodings that a value to be sent is wanted in, or says why
// nobody wants it.
func (f *fan) wanted() ([]Encoding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case slices.ContainsFunc(f.heads, func(h *head) bool { return h.state >= queued }):
		return f.encodings, nil
	case len(f.heads) > 0 || f.lastCause == ErrUnclaimed:
		return nil, ErrUnclaimed
	}
	return nil, ended(f.lastName, f.lastCause)
}

// failed says that a value to be sent could not be marshalled. Nobody gets it;
// a panic ends the channels whose encoding it was.
func (f *fan) failed(p payload) error {
	var name string
	var over []*head
	f.mu.Lock()
	for i := len(f.heads) - 1; i >= 0; i-- { // downwards: finish takes heads off
		h := f.heads[i]
		if h.enc.Name() != p.enc.Name() {
			continue
		}
		name = cmp.Or(name, h.name)
		if isPanic(p.err) {
			h.finish(p.err)
			over = append(over, h)
		}
	}
	f.mu.Unlock()
	for _, h := range over {
		h.tell()
	}
	return named(name, p.err)
}

// send gives payloads to the channels, waiting for each that takes them
// directly. id is that of the value, "" for none.
func (f *fan) send(ctx context.Context, id string, payloads []payload) error {
	var buf [1]delivery
	out := f.distribute(payloads, buf[:0])
	for _, h := range out.ended {
		h.tell()
	}
	if out.full != nil {
		return named(out.full.name, ErrFull)
	}
	var failed, over []error
	taken := out.kept
	for _, d := range out.direct {
		gone, err := d.put(ctx, id)
		switch {
		case err == nil:
			taken = true
		case gone:
			over = append(over, err)
		default:
			failed = append(failed, err)
		}
	}
	switch {
	case len(failed) > 0:
		return errors.Join(failed...)
	case taken:
		return nil
	case len(over) > 0:
		return over[len(over)-1]
	}
	_, err := f.wanted()
	return err
}
