package scope

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/engine"
)

const (
	// maxPublishWithin keeps all tries of one value inside the time for which an
	// engine remembers its ID.
	maxPublishWithin = 90 * time.Second

	// One append has at most so many values and bytes.
	appendValues = 128
	appendBytes  = 1 << 20

	// What may wait of one channel. The Site's bounds are SiteConfig's.
	channelWaiting      = 1000
	channelWaitingBytes = 8 << 20

	// How long one append may take, and how long it waits before it is made again.
	appendWithin   = 10 * time.Second
	appendPauseMin = 20 * time.Millisecond
	appendPauseMax = 500 * time.Millisecond

	// The last try of a value is made so long before its time is over.
	lastTry = 250 * time.Millisecond
)

// A publisher appends the values of one site channel to a log that is elsewhere: in
// the order in which they came, as many at once as came while the last append was
// under way, each again under its ID while the engine cannot say that it has it.
// Its goroutine runs only while something waits. The engine in this process needs
// none.
type publisher struct {
	site    *Site
	channel string
	log     engine.Name
	random  string // begins the IDs that are made here
	patient bool   // Spec.Patient
	lost    func() // the log is not there: has it made again

	mu      sync.Mutex
	made    uint64 // IDs
	queue   []*publication
	bytes   int // of the queue
	running bool
	closed  bool
}

// A publication is one value on its way into the log.
type publication struct {
	item    engine.Item
	until   time.Time  // when trying again is given up
	settled chan error // room for one
	flying  bool       // an append with it was begun
	unknown bool       // one may have stored it
	why     error      // what the last one said
}

func newPublisher(s *Site, spec Spec, lost func()) *publisher {
	return &publisher{site: s, channel: spec.Name, log: s.logName(spec.Name), random: randomText(9) + ".", patient: spec.Patient, lost: lost}
}

// publish returns nil once the value is in the log. Where ctx ends before, the
// value is certainly not there, unless the error is engine.ErrUnknown too. An empty
// id is made up.
func (p *publisher) publish(ctx context.Context, id string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if limit := p.site.caps.MaxEntry; len(data) > limit { // it would fail those that it goes with
		return fmt.Errorf("%w: %d bytes, the engine takes at most %d", engine.ErrTooLarge, len(data), limit)
	}
	w, err := p.enqueue(id, data)
	if err != nil {
		return err
	}
	select {
	case err := <-w.settled:
		return err
	case <-ctx.Done():
	}
	if p.withdraw(w) {
		return ctx.Err()
	}
	select {
	case err := <-w.settled:
		return err
	default:
		return fmt.Errorf("%w: %w: it may still be stored", engine.ErrUnknown, ctx.Err())
	}
}

func (p *publisher) enqueue(id string, data []byte) (*publication, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if n := len(p.queue); n >= channelWaiting || n > 0 && p.bytes+len(data) > channelWaitingBytes {
		return nil, fmt.Errorf("%w: %d values of %d bytes wait to be published, a channel has room for %d and %d",
			engine.ErrUnavailable, n, p.bytes, channelWaiting, channelWaitingBytes)
	}
	if err := p.site.waiting.enter(&p.site.config, len(data)); err != nil {
		return nil, err
	}
	if id == "" && !p.once() { // an ID costs the engine memory
		p.made++
		id = p.random + strconv.FormatUint(p.made, 36)
	}
	w := &publication{item: engine.Item{ID: id, Data: data}, settled: make(chan error, 1), until: time.Now().Add(p.within())}
	p.queue = append(p.queue, w)
	p.bytes += len(data)
	if !p.running {
		p.running = true
		p.site.work.Go(p.run)
	}
	return w, nil
}

// once reports whether nothing is tried twice.
func (p *publisher) once() bool { return p.site.config.PublishWithin < 0 }

// within is how long a value is tried again.
func (p *publisher) within() time.Duration {
	if p.patient && !p.once() {
		return maxPublishWithin
	}
	return p.site.config.PublishWithin
}

// over reports whether the time of w is over. What is patient has time without end,
// while nothing of it can be stored. It needs p.mu.
func (p *publisher) over(w *publication, now time.Time) bool {
	if now.Before(w.until) {
		return false
	}
	if p.patient && !p.once() && !w.unknown {
		w.until = now.Add(maxPublishWithin)
		return false
	}
	return true
}

// withdraw takes w back, if no append with it was begun.
func (p *publisher) withdraw(w *publication) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.flying {
		return false
	}
	for i, other := range p.queue {
		if other == w {
			p.take(i, nil)
			return true
		}
	}
	return false
}

// take ends what stands at i in the queue. It needs p.mu.
func (p *publisher) take(i int, err error) {
	w := p.queue[i]
	if i == 0 {
		p.queue[0] = nil
		p.queue = p.queue[1:]
	} else {
		p.queue = append(p.queue[:i], p.queue[i+1:]...)
	}
	p.bytes -= len(w.item.Data)
	p.site.waiting.leave(len(w.item.Data))
	w.settled <- err
}

// close lets nothing more in. What waits is still appended, while the Site lives.
func (p *publisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

// run appends until nothing waits.
func (p *publisher) run() {
	pause, largest := appendPauseMin, appendValues
	for {
		batch, wait := p.next(largest)
		if len(batch) == 0 {
			return
		}
		stored, err := p.append(batch, wait)
		if largest = appendValues; errors.Is(err, engine.ErrTooLarge) && len(batch) > 1 {
			err, largest = nil, 1 // nothing of it was stored: find out which
		}
		if stored > 0 || err == nil {
			pause = appendPauseMin
		}
		if again := p.settle(batch, stored, err); !again {
			continue
		}
		select {
		case <-p.site.ctx.Done():
		case <-time.After(batch[0].pause(jitter(pause, 0.5))):
		}
		pause = min(2*pause, appendPauseMax)
	}
}

// next returns the oldest values that wait, and how long their append may take;
// none when none wait, and then run has ended. Those whose time is over are told.
func (p *publisher) next(largest int) (batch []*publication, within time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	down, now := p.site.ctx.Err() != nil, time.Now()
	for len(p.queue) > 0 && (down || !p.once() && p.over(p.queue[0], now)) {
		why := cmp.Or(p.queue[0].why, errNotTried)
		if down {
			why = ErrShutdown
		}
		p.take(0, p.queue[0].failure(why))
	}
	bytes := 0
	for _, w := range p.queue {
		if bytes += len(w.item.Data); len(batch) > 0 && (len(batch) == largest || bytes > appendBytes) {
			break
		}
		w.flying = true
		batch = append(batch, w)
	}
	if len(batch) == 0 {
		p.queue, p.running = nil, false
		return nil, 0
	}
	if within = appendWithin; !p.once() {
		within = min(within, max(time.Until(batch[0].until), appendPauseMin))
	}
	return batch, within
}

func (p *publisher) append(batch []*publication, within time.Duration) (stored int, err error) {
	items := make([]engine.Item, len(batch))
	for i, w := range batch {
		items[i] = w.item
	}
	ctx, cancel := context.WithTimeout(p.site.ctx, within)
	defer cancel()
	positions, err := p.site.config.Engine.Append(ctx, p.log, items...)
	if err == nil {
		return len(batch), nil
	}
	if errors.Is(err, engine.ErrNoChannel) {
		p.lost()
	}
	return min(len(positions), len(batch)), err
}

// settle tells those of the batch whose fate is known, and reports whether the rest
// should be appended again after a pause.
func (p *publisher) settle(batch []*publication, stored int, err error) (again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range stored {
		p.take(0, nil)
	}
	rest := batch[stored:]
	if err == nil {
		return false
	}
	// A context that ended is the time that this append was given; the engine may
	// have begun.
	unknown := errors.Is(err, engine.ErrUnknown) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	for _, w := range rest {
		w.unknown, w.why = w.unknown || unknown, err
	}
	again, now := unknown || engine.Retryable(err) || errors.Is(err, engine.ErrNoChannel), time.Now()
	for _, w := range rest {
		if again && !p.over(w, now) { // and so it is with those behind it
			return true
		}
		p.take(0, w.failure(err))
	}
	return false
}

// errNotTried: what stood before it took all the time.
var errNotTried = fmt.Errorf("%w: the values before it could not be published in time", engine.ErrUnavailable)

// pause is d, or less where w would have no other try then.
func (w *publication) pause(d time.Duration) time.Duration {
	left := time.Until(w.until)
	if left > lastTry {
		left -= lastTry
	}
	return max(min(d, left), appendPauseMin)
}

// failure is what the sender of w is told: also that it may be stored, where one of
// several tries may have done it.
func (w *publication) failure(err error) error {
	if w.unknown && !errors.Is(err, engine.ErrUnknown) {
		return fmt.Errorf("%w: %w", engine.ErrUnknown, err)
	}
	return err
}

// A load counts what waits to be published of all channels.
type load struct{ values, bytes atomic.Int64 }

func (l *load) enter(c *SiteConfig, bytes int) error {
	values, all := l.values.Add(1), l.bytes.Add(int64(bytes))
	if values <= int64(c.PublishWaiting) && (values == 1 || all <= int64(c.PublishWaitingBytes)) {
		return nil
	}
	l.leave(bytes)
	return fmt.Errorf("%w: more than %d values or %d bytes wait to be published (SiteConfig.PublishWaiting, PublishWaitingBytes)",
		engine.ErrUnavailable, c.PublishWaiting, c.PublishWaitingBytes)
}

func (l *load) leave(bytes int) {
	l.values.Add(-1)
	l.bytes.Add(-int64(bytes))
}

// onceID names value i of number n that a process sends to a name, whatever node
// takes it: with it a repeated send is stored once. The value is part of it, for the
// number of a send that was refused may be given to another. Logs are read by others
// than the page, whose secret the token is: hence a hash.
func onceID(token, name string, n uint64, i int, value []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00%d\x00", token, name, n, i)
	h.Write(value)
	return "_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
