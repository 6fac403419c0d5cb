package nats

import (
	"context"
	"errors"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine"
)

// pulse is what this node knows of the streams' leaders.
type pulse struct {
	mu     sync.Mutex
	asked  map[string]time.Time // when may was last granted
	health *round               // the beat of all streams that is under way or was the last
	began  time.Time
	next   *round // the beat of the names stream that is not sent yet
	beats  bool   // one is under way
}

// healthFor is how long one answer of Health serves who asks next, and within which
// time the streams have to answer.
const (
	healthFor      = time.Second
	healthDeadline = 2 * time.Second
)

// may grants one beat of a stream a second.
func (p *pulse) may(stream string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.asked[stream]) < time.Second {
		return false
	}
	if p.asked == nil {
		p.asked = make(map[string]time.Time)
	}
	p.asked[stream] = now
	return true
}

// beat has a stream's leader store something: only one with a majority can. What it
// answers afterwards is what the stream holds.
func (e *Engine) beat(ctx context.Context, name, root string) error {
	s := stream{name: name, root: root}
	_, err := publish(ctx, e.main, &natsgo.Msg{Subject: s.beat()})
	return err
}

// sure returns a beat of the names stream that is sent after this call; it may be
// shared. What that stream's leader said is the truth only once it was acknowledged:
// before anybody is told that a log is gone, or another, this is waited for.
func (e *Engine) sure() *round {
	e.pulse.mu.Lock()
	defer e.pulse.mu.Unlock()
	if e.pulse.next == nil {
		e.pulse.next = &round{done: make(chan struct{})}
	}
	if !e.pulse.beats {
		e.pulse.beats = e.spawn(e.beatNames)
	}
	return e.pulse.next
}

func (e *Engine) beatNames() {
	for {
		e.pulse.mu.Lock()
		w := e.pulse.next
		e.pulse.next = nil
		if w == nil {
			e.pulse.beats = false
			e.pulse.mu.Unlock()
			return
		}
		e.pulse.mu.Unlock()
		w.err = unavailable(e.beat(e.root, e.names.name, e.names.root))
		close(w.done)
	}
}

// Health implements engine.Engine. It has every stream that this node uses store
// something, within 2 s, because a leader that lost its majority goes on to answer
// questions for some seconds. One answer serves all who ask within a second.
func (e *Engine) Health(ctx context.Context) error {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return explain(ctx, "health", engine.Name{}, err)
	}
	defer leave()
	return explain(ctx, "health", engine.Name{}, e.health().wait(ctx))
}

func (e *Engine) health() *round {
	e.pulse.mu.Lock()
	defer e.pulse.mu.Unlock()
	if e.pulse.health != nil && time.Since(e.pulse.began) < healthFor {
		return e.pulse.health
	}
	w := &round{done: make(chan struct{})}
	if !e.spawn(func() {
		w.err = e.beatAll()
		close(w.done)
	}) {
		w.err = engine.ErrClosed
		close(w.done)
	}
	e.pulse.health, e.pulse.began = w, time.Now()
	return w
}

func (e *Engine) beatAll() error {
	ctx, cancel := context.WithTimeout(e.root, healthDeadline)
	defer cancel()
	streams := []*stream{e.names, e.state}
	e.mu.Lock()
	for _, s := range e.streams {
		streams = append(streams, s)
	}
	e.mu.Unlock()
	errs := make([]error, len(streams))
	var wg sync.WaitGroup
	for i, s := range streams {
		wg.Go(func() {
			err := e.beat(ctx, s.name, s.root)
			if errors.Is(err, errNotSent) && i >= 2 && e.isDeleted(ctx, s) {
				err = nil // and made anew when it is needed
			}
			errs[i] = unavailable(err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// isDeleted reports that a stream of logs was deleted by hand, whether or not it was
// made anew since.
func (e *Engine) isDeleted(ctx context.Context, s *stream) bool {
	now, err := e.js.Stream(ctx, s.name)
	deleted := isNoStream(err) || err == nil && now.CachedInfo().Config.Subjects[0] != s.root+".>"
	if deleted {
		e.forget(s.name)
	}
	return deleted
}

func isNoStream(err error) bool { return errors.Is(err, jetstream.ErrStreamNotFound) }
