package redis

import (
	"context"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

// The keeper knows all watchers of an Engine. It keeps logs with an IdleTTL alive that
// are watched here, and asks the server about those that the feed left in doubt.
type keeper struct {
	e    *Engine
	wake chan struct{}

	mu       sync.Mutex
	closed   bool
	started  bool
	watchers map[*watcher]struct{}
	doubts   map[*watcher]struct{}
}

func newKeeper(e *Engine) *keeper {
	return &keeper{
		e:        e,
		wake:     make(chan struct{}, 1),
		watchers: make(map[*watcher]struct{}),
		doubts:   make(map[*watcher]struct{}),
	}
}

func (k *keeper) add(w *watcher) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || !k.started && !k.e.spawn(k.run) {
		return engine.ErrClosed
	}
	k.started = true
	k.watchers[w] = struct{}{}
	return nil
}

func (k *keeper) remove(w *watcher) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.watchers, w)
	delete(k.doubts, w)
}

// check has the server asked whether w's log lives. It may be called with w locked.
func (k *keeper) check(w *watcher) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.watchers[w]; known {
		k.doubts[w] = struct{}{}
		k.notify()
	}
}

func (k *keeper) notify() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// close tells all watchers that the Engine is closed.
func (k *keeper) close() {
	k.mu.Lock()
	watchers := k.watchers
	k.watchers, k.doubts, k.closed = nil, nil, true
	k.mu.Unlock()
	for w := range watchers {
		w.close()
	}
}

// retryPause is between two attempts to reach a server.
const retryPause = 100 * time.Millisecond

func (k *keeper) run() {
	for next := time.Duration(0); ; {
		timer := time.NewTimer(next)
		select {
		case <-k.e.ctx.Done():
			timer.Stop()
			return
		case <-k.wake:
		case <-timer.C:
		}
		timer.Stop()
		next = k.round(k.e.ctx)
	}
}

// round does what is due, and returns the time until something is again.
func (k *keeper) round(ctx context.Context) time.Duration {
	doubts, due, next := k.collect(time.Now())
	if !k.ask(ctx, doubts, false) {
		k.mu.Lock()
		for _, w := range doubts {
			if _, known := k.watchers[w]; known {
				k.doubts[w] = struct{}{}
			}
		}
		k.mu.Unlock()
		next = min(next, retryPause)
	}
	if k.ask(ctx, due, true) {
		now := time.Now()
		k.mu.Lock()
		for _, w := range due {
			w.due = now.Add(time.Duration(w.every.Load()))
		}
		k.mu.Unlock()
	} else {
		next = min(next, retryPause)
	}
	return next
}

// collect returns the watchers in doubt, those whose logs are to be kept alive now,
// and when the next of these will be.
func (k *keeper) collect(now time.Time) (doubts, due []*watcher, next time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next = time.Hour
	for w := range k.watchers {
		every := time.Duration(w.every.Load())
		if every == 0 {
			continue
		}
		if !w.due.After(now) {
			due = append(due, w)
			next = min(next, every)
		} else {
			next = min(next, w.due.Sub(now))
		}
	}
	for w := range k.doubts {
		doubts = append(doubts, w)
	}
	clear(k.doubts)
	return doubts, due, next
}

// ask tells each watcher what the server says of its log; false when it said nothing.
func (k *keeper) ask(ctx context.Context, watchers []*watcher, keep bool) bool {
	if len(watchers) == 0 {
		return true
	}
	names := make([]engine.Name, len(watchers))
	for i, w := range watchers {
		names[i] = w.name
	}
	tails, err := k.e.tails(ctx, names, keep)
	if err != nil {
		return false
	}
	for i, w := range watchers {
		w.found(tails[i])
	}
	return true
}
