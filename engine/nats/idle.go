package nats

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

// idle is what this node knows of the life time of a log with an IdleTTL. Whoever
// uses such a log writes its record again when the last time is a quarter of the
// IdleTTL ago; whoever finds the record older than five quarters ends the log, by
// the leader's clock. The two are writes to one subject that each expect the other
// not to have happened, so that a log is never both used and expired.
type idle struct {
	mu      sync.Mutex
	touched time.Time // when this node last wrote the record
	until   time.Time // until then the log lives for certain

	keeping int // watchers
	timer   *time.Timer
}

// minIdle is the shortest IdleTTL that is kept to; a shorter one is as long.
const minIdle = time.Second

// lifetime is how old a record may become.
func lifetime(ttl time.Duration) time.Duration { return max(ttl, minIdle) * 5 / 4 }

// alive returns ErrNoChannel, and ends the log, when that has expired.
func (e *Engine) alive(ctx context.Context, l *life, touch bool) error {
	if l.idle == nil {
		return nil
	}
	for !l.idle.knows(touch, l.spec.IdleTTL) {
		start := time.Now()
		m, err := get(ctx, e.main, e.names.name, question{Last: e.names.root + "." + l.key})
		if errors.Is(err, errNoMessage) || err == nil && (m.gone() || !l.is(m)) {
			e.registry.drop(l)
			return engine.ErrNoChannel
		}
		if err != nil {
			return err
		}
		now, err := e.serverTime(ctx, e.names.name)
		if err != nil {
			return err
		}
		left := lifetime(l.spec.IdleTTL) - now.Sub(m.at)
		switch {
		case left <= 0:
			err = e.registry.tombstone(ctx, l.key, m.seq)
			if err == nil {
				e.registry.drop(l)
				e.spawn(func() { e.clear(l) })
				return engine.ErrNoChannel
			}
		case touch:
			var seq uint64
			if seq, err = e.registry.write(ctx, l.key, l.record(), m.seq); err == nil {
				l.mu.Lock()
				l.seq = max(l.seq, seq)
				l.mu.Unlock()
				l.idle.lives(start, start.Add(lifetime(l.spec.IdleTTL)))
				return nil
			}
		default:
			l.idle.lives(time.Time{}, start.Add(left))
			return nil
		}
		if !errors.Is(err, errConflict) {
			return unavailable(err)
		}
	}
	return nil
}

// knows reports that nothing has to be asked or written.
func (i *idle) knows(touch bool, ttl time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	return now.Before(i.until) && (!touch || now.Sub(i.touched) < max(ttl, minIdle)/4)
}

func (i *idle) lives(touched, until time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if touched.After(i.touched) {
		i.touched = touched
	}
	if until.After(i.until) {
		i.until = until
	}
}

// keep lets a log live for as long as it has a watcher here.
func (e *Engine) keep(l *life) {
	if l.idle == nil {
		return
	}
	l.idle.mu.Lock()
	defer l.idle.mu.Unlock()
	if l.idle.keeping++; l.idle.keeping > 1 {
		return
	}
	every := max(l.spec.IdleTTL, minIdle) / 5
	var timer *time.Timer
	timer = time.AfterFunc(every, func() {
		e.spawn(func() {
			ctx, cancel := e.bound(e.root)
			defer cancel()
			e.alive(ctx, l, true) // a failure is tried again the next time
			l.idle.mu.Lock()
			defer l.idle.mu.Unlock()
			if l.idle.timer == timer && e.root.Err() == nil && !l.over() {
				timer.Reset(every)
			}
		})
	})
	l.idle.timer = timer
}

func (e *Engine) release(l *life) {
	if l.idle == nil {
		return
	}
	l.idle.mu.Lock()
	defer l.idle.mu.Unlock()
	if l.idle.keeping--; l.idle.keeping == 0 {
		l.idle.timer.Stop()
		l.idle.timer = nil
	}
}
