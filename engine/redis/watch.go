package redis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/engine"
)

// Watch implements engine.Engine. A watch whose log was lost with its server, and made
// anew by another node, goes on with the new life after a Dirty.
func (e *Engine) Watch(ctx context.Context, n engine.Name, sink engine.Sink) (stop func(), err error) {
	w, err := e.watch(ctx, n, sink)
	if err != nil {
		return nil, explain("watch", n.String(), readError(ctx, err))
	}
	return w.stop, nil
}

func (e *Engine) watch(ctx context.Context, n engine.Name, sink engine.Sink) (*watcher, error) {
	if err := check(ctx, n); err != nil {
		return nil, err
	}
	if !e.enter() {
		return nil, engine.ErrClosed
	}
	defer e.leave()
	n = engine.Name{Prefix: strings.Clone(n.Prefix), Channel: strings.Clone(n.Channel)}
	w := &watcher{e: e, name: n, sink: sink}
	k := e.keys.log(n)
	t, err := e.feed(k.shard).listen(ctx, k.feed, w)
	if err != nil {
		return nil, err
	}
	w.topic = t
	err = e.keeper.add(w)
	if err == nil {
		var tail tail
		if tail, err = e.tail(ctx, n); err == nil { // after the interest: an end from here on is heard
			err = w.begin(tail)
		}
	}
	if err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

// watcher is one Watch.
type watcher struct {
	e     *Engine
	name  engine.Name
	topic *topic

	mu    sync.Mutex // makes the sink's calls come one at a time
	sink  engine.Sink
	epoch string   // the life that is watched; "" until that is known
	ended []string // the lives whose end was heard before that
	over  bool     // the sink is not called any more

	every atomic.Int64 // nanoseconds between two refreshes; 0 when the log never expires
	due   time.Time    // for the next one; the keeper's
}

// begin names the life that is watched.
func (w *watcher) begin(t tail) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.ended, t.at.Epoch) {
		return engine.ErrNoChannel
	}
	w.live(t)
	return nil
}

// live takes a life of the log. w is locked.
func (w *watcher) live(t tail) {
	w.epoch, w.ended = t.at.Epoch, nil
	w.every.Store(int64(t.every))
	if t.every > 0 {
		w.e.keeper.notify()
	}
}

// message takes what the scripts publish: an entry as "epoch seq tag before at", a new
// line and the data, or the end of a life as its epoch alone.
func (w *watcher) message(payload string) {
	head, data, isEntry := strings.Cut(payload, "\n")
	epoch, rest, _ := strings.Cut(head, " ")
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case !isEntry && w.epoch == "":
		w.ended = append(w.ended, epoch)
	case !isEntry && w.epoch == epoch:
		w.end(engine.ErrNoChannel)
	case isEntry && w.epoch == "":
	case w.epoch != epoch: // late from an earlier life or history, or there is a new one
		w.e.keeper.check(w)
	default:
		f := strings.Split(rest, " ")
		if len(f) != 4 {
			w.sink.Dirty(errReply([]any{head}))
			return
		}
		entry, err := newEntry(epoch, f[0], f[1], f[2], f[3], data)
		if err != nil {
			w.sink.Dirty(err)
			return
		}
		w.sink.Offer(entry)
	}
}

// end tells the sink for the last time. w is locked.
func (w *watcher) end(cause error) {
	w.over = true
	w.sink.Dirty(cause)
}

func (w *watcher) rejoined(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && w.epoch != "" {
		w.sink.Dirty(cause)
		w.e.keeper.check(w)
	}
}

var errReborn = errors.New("the log was lost and made anew")

// found takes what the server says of the log, asked after begin.
func (w *watcher) found(t tail) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case t.at.IsZero():
		w.end(engine.ErrNoChannel)
	case t.at.Epoch != w.epoch:
		w.live(t)
		w.sink.Dirty(errReborn)
	}
}

func (w *watcher) stop() {
	w.e.keeper.remove(w)
	w.topic.drop(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// close is stop for a watcher whose Engine is closed.
func (w *watcher) close() {
	w.topic.drop(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.end(engine.ErrClosed)
	}
}
