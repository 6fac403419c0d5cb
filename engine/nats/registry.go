package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// A record is what the names stream keeps of a name that has a log. Its being there
// is the log's being there: to make a log, to delete it and to let it expire is to
// write here, each time only if nobody else wrote since.
type record struct {
	Epoch   string        `json:"epoch"`
	Stream  string        `json:"stream"`
	Root    string        `json:"root"`
	Live    string        `json:"live"`
	Genesis uint64        `json:"genesis"`
	Tag     uint32        `json:"tag"`
	Size    int           `json:"size"`
	Bytes   int           `json:"bytes"`
	Newest  bool          `json:"newest,omitempty"`
	Idle    time.Duration `json:"idle,omitempty"`
}

// A life is one log as this node knows it, from its making to its end. What is
// here never changes but for what mu guards.
type life struct {
	name    engine.Name
	key     string
	stream  string
	subject string
	live    string
	spec    engine.Spec
	genesis engine.Position
	idle    *idle // nil when the log never expires

	mu       sync.Mutex
	seq      uint64 // of its record
	ended    bool
	watchers map[*watcher]struct{}
}

func newLife(n engine.Name, m *message) (*life, error) {
	var r record
	if err := json.Unmarshal(m.data, &r); err != nil || r.Epoch == "" {
		return nil, fmt.Errorf("%w: a record of the names stream is none of this driver's: %.80q", engine.ErrUnavailable, m.data)
	}
	l := &life{
		name:    engine.Name{Prefix: strings.Clone(n.Prefix), Channel: strings.Clone(n.Channel)},
		key:     key(n),
		stream:  r.Stream,
		spec:    engine.Spec{Size: r.Size, MaxBytes: r.Bytes, Newest: r.Newest, IdleTTL: r.Idle},
		genesis: engine.Position{Epoch: r.Epoch, Seq: r.Genesis, Tag: r.Tag},
		seq:     m.seq,
	}
	l.subject = r.Root + "." + r.Epoch + "." + l.key
	l.live = r.Live + "." + r.Epoch + "." + l.key
	if r.Idle > 0 {
		l.idle = &idle{}
	}
	return l, nil
}

func (l *life) record() record {
	tail := "." + l.genesis.Epoch + "." + l.key
	return record{
		Epoch: l.genesis.Epoch, Stream: l.stream, Root: strings.TrimSuffix(l.subject, tail), Live: strings.TrimSuffix(l.live, tail),
		Genesis: l.genesis.Seq, Tag: l.genesis.Tag,
		Size: l.spec.Size, Bytes: l.spec.MaxBytes, Newest: l.spec.Newest, Idle: l.spec.IdleTTL,
	}
}

func (l *life) position(seq uint64, tag uint32) engine.Position {
	return engine.Position{Epoch: l.genesis.Epoch, Seq: seq, Tag: tag}
}

func (l *life) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// end tells the watchers that the log is no more.
func (l *life) end() {
	l.mu.Lock()
	watchers := l.watchers
	l.ended, l.watchers = true, nil
	l.mu.Unlock()
	for w := range watchers {
		w.end(engine.ErrNoChannel)
	}
}

// A registry is what this node knows of the names stream: the lives that were asked
// for, as of the sequence up to which it has read the stream's changes. A call that
// uses a life asks, at the same time as it does its work, whether anything has
// changed since; who asks at the same time shares the question.
type registry struct {
	e *Engine

	mu      sync.Mutex
	lives   map[string]*life
	loading map[string]*loading
	have    uint64    // all changes up to here are known
	when    time.Time // of the last question that was answered
	round   *round    // the next question, which is not asked yet
	running bool
}

// loading is a name whose record is being asked for.
type loading struct {
	calls int
	seq   uint64 // of the newest change that was heard of meanwhile
}

// round is one question to the leader.
type round struct {
	done chan struct{}
	err  error
	seq  uint64 // of a beat that was stored
}

func newRegistry(e *Engine) *registry {
	return &registry{e: e, lives: make(map[string]*life), loading: make(map[string]*loading)}
}

// start learns where the names stream ends, and looks at it now and then, so that
// watchers hear of the end of a log even when the feed lost it.
func (r *registry) start(ctx context.Context) error {
	last, err := r.last(ctx)
	if err != nil {
		return err
	}
	r.have, r.when = last, time.Now()
	r.e.spawn(func() {
		for {
			select {
			case <-r.e.root.Done():
				return
			case <-time.After(lookEvery):
				r.check()
			}
		}
	})
	return nil
}

const (
	lookEvery = 30 * time.Second
	// deaf is how long a node may go without an answer before it no longer trusts
	// that every tombstone since is still there.
	deaf = tombstoneTTL / 2
	// changes is how many changes are read at once.
	changes = 500
)

// check returns a question that is asked after this call; it may be shared.
func (r *registry) check() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round == nil {
		r.round = &round{done: make(chan struct{})}
	}
	if !r.running {
		r.running = true
		r.e.spawn(r.run)
	}
	return r.round
}

func (w *round) wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, context.Cause(ctx))
	}
}

func (r *registry) run() {
	for {
		r.mu.Lock()
		w := r.round
		r.round = nil
		if w == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		w.err = r.sync()
		close(w.done)
	}
}

// last asks the leader for the sequence of the newest change.
func (r *registry) last(ctx context.Context) (uint64, error) {
	m, err := get(ctx, r.e.main, r.e.names.name, question{Last: ">"})
	switch {
	case errors.Is(err, errNoMessage):
		return 0, nil
	case errors.Is(err, errNoStream), err == nil && !strings.HasPrefix(m.subject, r.e.names.root+"."):
		return 0, fmt.Errorf("%w: the names stream was deleted: make a new Engine", engine.ErrUnavailable)
	case err != nil:
		return 0, err
	}
	return m.seq, nil
}

// sync reads the changes up to the newest that the leader has.
func (r *registry) sync() error {
	ctx, cancel := context.WithTimeout(r.e.root, 2*attempt)
	defer cancel()
	start := time.Now()
	last, err := r.last(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	have, silence := r.have, time.Since(r.when)
	r.mu.Unlock()
	if last < have || silence > deaf { // a leader that lost its majority may say so, too
		beat := r.e.sure(r.e.names.name, r.e.names.root)
		if err := beat.wait(ctx); err != nil {
			return unavailable(err)
		}
		last = beat.seq
		if last < have || silence > deaf {
			return r.reset(ctx, last, start)
		}
	}
	for wait := time.Millisecond; have < last; {
		p, err := direct(ctx, r.e.main, r.e.names.name, question{Seq: have + 1, Batch: changes})
		if err != nil {
			return err
		}
		for _, m := range p.messages {
			r.apply(m)
			have = m.seq
		}
		if len(p.messages) == 0 || have < last && p.pending == 0 { // a replica that is behind
			if err := pause(ctx, wait); err != nil {
				return err
			}
			wait = min(2*wait, 50*time.Millisecond)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.have, r.when = max(r.have, have), start
	return nil
}

// apply takes one change of a name.
func (r *registry) apply(m *message) {
	key := strings.TrimPrefix(m.subject, r.e.names.root+".")
	r.mu.Lock()
	if p := r.loading[key]; p != nil {
		p.seq = max(p.seq, m.seq)
	}
	l := r.lives[key]
	if l == nil {
		r.mu.Unlock()
		return
	}
	l.mu.Lock()
	known := m.seq <= l.seq
	l.mu.Unlock()
	if known || !m.gone() && l.is(m) {
		r.mu.Unlock()
		return
	}
	delete(r.lives, key)
	r.mu.Unlock()
	l.end()
	if m.header.Get(headerMarker) != "" { // the server let it expire, and removed only the record
		r.e.spawn(func() { r.e.clear(l) })
	}
}

// is reports that m is still the record of l, and takes its sequence.
func (l *life) is(m *message) bool {
	var now record
	if json.Unmarshal(m.data, &now) != nil || now.Epoch != l.genesis.Epoch {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq = max(l.seq, m.seq)
	return true
}

// reset asks for every life again: the stream was set back, or this node has heard
// nothing for so long that tombstones may have been missed.
func (r *registry) reset(ctx context.Context, last uint64, start time.Time) error {
	r.mu.Lock()
	lives := r.lives
	r.lives = make(map[string]*life)
	r.have, r.when = last, start
	r.mu.Unlock()
	for key, l := range lives {
		m, err := get(ctx, r.e.main, r.e.names.name, question{Last: r.e.names.root + "." + key})
		if err != nil && !errors.Is(err, errNoMessage) {
			r.mu.Lock() // not known: next time
			for key, l := range lives {
				if r.lives[key] == nil {
					r.lives[key] = l
				}
			}
			r.when = time.Time{}
			r.mu.Unlock()
			return err
		}
		delete(lives, key)
		if err != nil || m.gone() || !l.is(m) {
			l.end()
			continue
		}
		r.mu.Lock()
		if r.lives[key] == nil {
			r.lives[key] = l
		}
		r.mu.Unlock()
	}
	return nil
}

// cached returns the life of a name as this node knows it, nil when it does not.
func (r *registry) cached(key string) *life {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lives[key]
}

// load asks the leader for the life of a name. seq is what the name's last message
// has, 0 where there is none; with ErrNoChannel it is what a new record has to
// follow.
func (r *registry) load(ctx context.Context, n engine.Name) (l *life, seq uint64, err error) {
	key := key(n)
	r.mu.Lock()
	p := r.loading[key]
	if p == nil {
		p = &loading{}
		r.loading[key] = p
	}
	p.calls++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if p.calls--; p.calls == 0 {
			delete(r.loading, key)
		}
	}()
	for {
		m, err := get(ctx, r.e.main, r.e.names.name, question{Last: r.e.names.root + "." + key})
		switch {
		case errors.Is(err, errNoMessage):
			return nil, 0, engine.ErrNoChannel
		case err != nil:
			return nil, 0, err
		case m.gone():
			return nil, m.seq, engine.ErrNoChannel
		}
		if l, err = newLife(n, m); err != nil {
			return nil, 0, err
		}
		r.mu.Lock()
		if p.seq > m.seq { // it changed while the answer was under way
			r.mu.Unlock()
			continue
		}
		if known := r.lives[key]; known != nil && known.is(m) {
			l = known
		} else {
			r.lives[key] = l
			if known != nil {
				defer known.end()
			}
		}
		r.mu.Unlock()
		return l, m.seq, nil
	}
}

// drop forgets a life that has ended.
func (r *registry) drop(l *life) {
	r.mu.Lock()
	if r.lives[l.key] == l {
		delete(r.lives, l.key)
	}
	r.mu.Unlock()
	l.end()
}

// tombstone ends the life whose record has this sequence, unless the name has moved
// on: errConflict.
func (r *registry) tombstone(ctx context.Context, key string, seq uint64) error {
	msg := &natsgo.Msg{Subject: r.e.names.root + "." + key, Header: natsgo.Header{}}
	msg.Header.Set(headerGone, "1")
	msg.Header.Set(headerMsgTTL, tombstoneTTL.String())
	_, err := publish(ctx, r.e.main, expecting(msg, seq))
	return err
}

// write stores a record after the message of this sequence, 0 for none.
func (r *registry) write(ctx context.Context, key string, rec record, seq uint64) (uint64, error) {
	data, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	msg := &natsgo.Msg{Subject: r.e.names.root + "." + key, Header: natsgo.Header{}, Data: data}
	if rec.Idle > 0 {
		msg.Header.Set(headerMsgTTL, serverTTL(lifetime(rec.Idle)+time.Minute))
	}
	return publish(ctx, r.e.main, expecting(msg, seq))
}

// serverTTL rounds up to whole seconds, which is what the server counts in.
func serverTTL(d time.Duration) string {
	return ((d + time.Second - 1) / time.Second * time.Second).String()
}
