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
	rounds map[string]*beats // by root: a stream that is made anew in the place of a deleted one has its own
	doubts map[string]uint64 // by stream: how many messages had no answer, until it is known what became of them
}

// beats of one stream, one after the other, for as long as somebody asks: who comes
// while one is under way shares the next.
type beats struct {
	next *round // not sent yet
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

// beat has a stream's leader store something, which only one with a majority can, and
// returns its sequence. Who has that has all that was acknowledged before.
func (e *Engine) beat(ctx context.Context, name, root string) (seq uint64, err error) {
	s := stream{name: name, root: root}
	return publish(ctx, e.main, &natsgo.Msg{Subject: s.beat()})
}

// since returns the newest message on a subject, of any replica that has the beat seq
// of its stream. It does not ask the leader: for a moment after a partition heals there
// are two, and the one that answers need not be the one that stored the beat.
func (e *Engine) since(ctx context.Context, name, root string, seq uint64, subject string) (*message, error) {
	s := stream{name: name, root: root}
	messages, err := lasts(ctx, e.main, name, []string{subject, s.beat()}, seq)
	switch {
	case err != nil:
		return nil, err
	case len(messages) == 0: // not even the beat
		return nil, behind(name, seq)
	}
	for _, m := range messages {
		if m.subject == subject {
			return m, nil
		}
	}
	return nil, errNoMessage
}

// sure returns a beat of a stream that is sent after this call; it may be shared. What
// a leader says is the truth only while it has its majority, and one that lost it does
// not know for some seconds: before anybody is told how a log ends, that it is gone or
// another, this is waited for.
func (e *Engine) sure(name, root string) *round {
	e.pulse.mu.Lock()
	defer e.pulse.mu.Unlock()
	b := e.pulse.rounds[root]
	if b == nil {
		if e.pulse.rounds == nil {
			e.pulse.rounds = make(map[string]*beats)
		}
		b = new(beats)
		e.pulse.rounds[root] = b
		e.spawn(func() { e.beatOn(b, name, root) })
	}
	if b.next == nil {
		b.next = &round{done: make(chan struct{})}
	}
	return b.next
}

func (e *Engine) beatOn(b *beats, name, root string) {
	for {
		e.pulse.mu.Lock()
		w := b.next
		b.next = nil
		if w == nil {
			delete(e.pulse.rounds, root)
			e.pulse.mu.Unlock()
			return
		}
		e.pulse.mu.Unlock()
		w.seq, w.err = e.beat(e.root, name, root)
		close(w.done)
	}
}

// doubt notes that a stream may hold a message that its leader did not answer.
func (e *Engine) doubt(name string) {
	e.pulse.mu.Lock()
	defer e.pulse.mu.Unlock()
	if e.pulse.doubts == nil {
		e.pulse.doubts = make(map[string]uint64)
	}
	e.pulse.doubts[name]++
}

// settle waits, after messages that had no answer, until the stream's leader has stored
// something: then it has stored before what of them survived. A new leader takes
// messages while it still has to store some that it took over, and knows an ID only
// once its message is stored: one that is sent again too soon is stored twice.
func (e *Engine) settle(ctx context.Context, l *life) error {
	e.pulse.mu.Lock()
	doubts := e.pulse.doubts[l.stream]
	e.pulse.mu.Unlock()
	if doubts == 0 {
		return nil
	}
	if err := e.sure(l.stream, l.root()).wait(ctx); err != nil {
		return unavailable(err)
	}
	e.pulse.mu.Lock()
	defer e.pulse.mu.Unlock()
	if e.pulse.doubts[l.stream] == doubts {
		delete(e.pulse.doubts, l.stream)
	}
	return nil
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
			_, err := e.beat(ctx, s.name, s.root)
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
// made anew since. While a stream has no leader nobody answers that, and it is not
// waited for long.
func (e *Engine) isDeleted(ctx context.Context, s *stream) bool {
	ctx, cancel := context.WithTimeout(ctx, attempt/4)
	defer cancel()
	now, err := e.js.Stream(ctx, s.name)
	deleted := isNoStream(err) || err == nil && now.CachedInfo().Config.Subjects[0] != s.root+".>"
	if deleted {
		e.forget(s.name)
	}
	return deleted
}

func isNoStream(err error) bool { return errors.Is(err, jetstream.ErrStreamNotFound) }
