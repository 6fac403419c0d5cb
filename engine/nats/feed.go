package nats

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// Why a feed may have lost something.
var (
	errReconnected = errors.New("engine/nats: the connection was cut and is back")
	errSlow        = errors.New("engine/nats: offers came faster than they were taken")
	errElected     = errors.New("engine/nats: the stream has a new leader")
)

const (
	lanes    = 4    // goroutines that hand out offers
	laneSize = 4096 // messages that wait in one of them, or are dropped
)

// A feed hands out what the streams republish. Its subscriptions share a few
// goroutines, each with a bounded queue; what does not fit is dropped, and the
// watchers of that lane are told.
type feed struct {
	e     *Engine
	lanes [lanes]lane
	next  atomic.Uint32

	mu       sync.RWMutex
	watchers map[*natsgo.Subscription]*watcher
}

type lane struct {
	queue chan *natsgo.Msg
	slow  atomic.Bool
}

// A watcher is one Watch. mu makes the calls of its sink come one at a time.
type watcher struct {
	life *life
	lane int
	sub  *natsgo.Subscription
	sink engine.Sink

	mu      sync.Mutex
	last    engine.Position // of the newest message heard
	stopped bool
}

func newFeed(e *Engine) *feed {
	f := &feed{e: e, watchers: make(map[*natsgo.Subscription]*watcher)}
	for i := range f.lanes {
		f.lanes[i].queue = make(chan *natsgo.Msg, laneSize)
	}
	return f
}

func (f *feed) start() error {
	for i := range f.lanes {
		f.e.spawn(func() { f.run(i) })
	}
	f.e.main.SetErrorHandler(f.failed)
	f.e.main.SetReconnectHandler(func(*natsgo.Conn) {
		f.dirty(errReconnected, func(*watcher) bool { return true })
		f.e.registry.check()
	})
	const elected = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."
	if _, err := f.e.main.Subscribe(elected+"*", func(msg *natsgo.Msg) {
		stream := strings.TrimPrefix(msg.Subject, elected)
		f.dirty(errElected, func(w *watcher) bool { return w.life.stream == stream })
	}); err != nil {
		return errNotSent
	}
	if _, err := f.e.main.Subscribe(f.e.names.live+".*.*", func(*natsgo.Msg) { f.e.registry.check() }); err != nil {
		return errNotSent
	}
	return nil
}

// failed hears of subscriptions that dropped something.
func (f *feed) failed(_ *natsgo.Conn, sub *natsgo.Subscription, err error) {
	if sub == nil || !errors.Is(err, natsgo.ErrSlowConsumer) {
		return
	}
	f.mu.RLock()
	w := f.watchers[sub]
	f.mu.RUnlock()
	if w == nil {
		f.e.registry.check()
		return
	}
	f.lanes[w.lane].slow.Store(true)
	w.dirty(errSlow)
}

func (f *feed) run(i int) {
	l := &f.lanes[i]
	for {
		select {
		case <-f.e.root.Done():
			return
		case msg := <-l.queue:
			f.mu.RLock()
			w := f.watchers[msg.Sub]
			f.mu.RUnlock()
			if w != nil {
				w.offer(msg)
			}
			if len(l.queue) == 0 && l.slow.CompareAndSwap(true, false) { // now nothing is dropped any more
				f.dirty(errSlow, func(w *watcher) bool { return w.lane == i })
			}
		}
	}
}

func (f *feed) dirty(cause error, of func(*watcher) bool) {
	f.mu.RLock()
	var watchers []*watcher
	for _, w := range f.watchers {
		if of(w) {
			watchers = append(watchers, w)
		}
	}
	f.mu.RUnlock()
	for _, w := range watchers {
		w.dirty(cause)
	}
}

func (f *feed) close() {
	f.mu.Lock()
	watchers := f.watchers
	f.watchers = make(map[*natsgo.Subscription]*watcher)
	f.mu.Unlock()
	for _, w := range watchers {
		w.end(engine.ErrClosed)
		f.e.release(w.life)
	}
}

// Watch implements engine.Engine. Offers are made by a few goroutines that all
// watchers of the Engine share, so a sink that blocks would delay others.
func (e *Engine) Watch(ctx context.Context, n engine.Name, sink engine.Sink) (stop func(), err error) {
	ctx, leave, err := e.enter(ctx, n)
	if err != nil {
		return nil, explain(ctx, "watch", n, err)
	}
	defer leave()
	err = e.use(ctx, n, true, func(l *life) (err error) {
		if stop != nil {
			stop() // of a life that had ended
		}
		stop, err = e.feed.watch(ctx, l, sink)
		return err
	})
	if err != nil {
		if stop != nil {
			stop()
		}
		return nil, explain(ctx, "watch", n, err)
	}
	return stop, nil
}

func (f *feed) watch(ctx context.Context, l *life, sink engine.Sink) (func(), error) {
	w := &watcher{life: l, sink: sink, lane: int(f.next.Add(1) % lanes)}
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return nil, engine.ErrNoChannel
	}
	if l.watchers == nil {
		l.watchers = make(map[*watcher]struct{})
	}
	l.watchers[w] = struct{}{}
	l.mu.Unlock()
	f.e.keep(l)

	var once sync.Once
	stop := func() { once.Do(func() { f.stop(w) }) }
	if err := f.subscribe(w); err != nil {
		stop()
		return nil, err
	}
	// The question goes the same way as the subscription before it: what the leader
	// stores after its answer, it republishes to us.
	if _, err := f.e.tail(ctx, l); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

func (f *feed) subscribe(w *watcher) error {
	f.mu.Lock() // before a message of it can be looked up
	defer f.mu.Unlock()
	sub, err := f.e.main.ChanSubscribe(w.life.live, f.lanes[w.lane].queue)
	if err != nil {
		return errNotSent
	}
	w.sub = sub
	f.watchers[sub] = w
	return nil
}

func (f *feed) stop(w *watcher) {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	f.mu.Lock()
	_, ours := f.watchers[w.sub]
	delete(f.watchers, w.sub)
	f.mu.Unlock()
	if w.sub != nil {
		w.sub.Unsubscribe() // its only error is a connection that is closed
	}
	w.life.mu.Lock()
	delete(w.life.watchers, w)
	w.life.mu.Unlock()
	if ours || w.sub == nil {
		f.e.release(w.life)
	}
}

func (w *watcher) offer(msg *natsgo.Msg) {
	m, err := parse(msg)
	if err != nil || m.header.Get(headerTag) == "" {
		return // published by somebody else
	}
	p := w.life.position(m.seq, m.tag())
	w.mu.Lock()
	defer w.mu.Unlock()
	var prevTag uint32
	switch m.prev {
	case w.last.Seq:
		prevTag = w.last.Tag
	case w.life.genesis.Seq:
		prevTag = w.life.genesis.Tag
	}
	w.last = p
	if !w.stopped && m.header.Get(headerGenesis) == "" {
		w.sink.Offer(w.life.entry(m, m.prev, prevTag))
	}
}

func (w *watcher) dirty(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.sink.Dirty(cause)
	}
}

// end is dirty for the last time.
func (w *watcher) end(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		w.sink.Dirty(cause)
	}
}
