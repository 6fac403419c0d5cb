package memory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/engine"
)

// Config has the bounds of an Engine. A field of 0 means its default.
type Config struct {
	// MaxEntry is the largest Data of an entry in bytes. Default 1 MiB.
	MaxEntry int
	// MaxIDs is how many item IDs a channel remembers. Above it an Append with a
	// new ID is ErrUnavailable until older ones have expired, because forgetting
	// one early could store an item twice. Default 131072, a steady rate of 546
	// items with IDs a second in one channel.
	MaxIDs int
	// Nodes: several Sites of this process are the nodes of one app, as they are on
	// an engine that processes share. For tests of what happens between nodes; it
	// makes no difference to anything outside this process.
	Nodes bool
}

const (
	defaultMaxEntry = 1 << 20
	defaultMaxIDs   = 1 << 17
)

// Engine is an engine.Engine in memory. No method of it waits for anything but
// short locks; Ask waits for the answer.
type Engine struct {
	epoch  string
	config Config
	start  time.Time     // of the monotonic clock that IdleTTL and IDs expire by
	floor  atomic.Uint64 // where the next log starts: above all sequences of ended logs
	seed   maphash.Seed
	shards [64]shard
	nodes  nodes
}

var _ engine.Engine = (*Engine)(nil)

// shard is one part of the registry of names. Its lock is held for a lookup, and
// longer only to make or to end a log; it is always taken before a log's.
type shard struct {
	mu     sync.RWMutex
	logs   map[engine.Name]*log
	closed bool
	_      [64 - 40]byte // a cache line each, so that shards do not slow each other
}

// New returns an Engine, with the defaults where there is no config. It panics
// when a bound is negative.
func New(config ...Config) *Engine {
	var c Config
	if len(config) > 0 {
		c = config[0]
	}
	if c.MaxEntry < 0 || c.MaxIDs < 0 {
		panic(fmt.Sprintf("engine/memory: New: %+v: no bound may be negative; 0 is the default", c))
	}
	if c.MaxEntry == 0 {
		c.MaxEntry = defaultMaxEntry
	}
	if c.MaxIDs == 0 {
		c.MaxIDs = defaultMaxIDs
	}
	e := &Engine{
		epoch:  strings.ToLower(rand.Text()[:8]),
		config: c,
		start:  time.Now(),
		seed:   maphash.MakeSeed(),
	}
	for i := range e.shards {
		e.shards[i].logs = make(map[engine.Name]*log)
	}
	return e
}

// Caps reports no durability, contiguous sequences and a reliable feed; and with
// Config.Nodes a shared engine that is a Cluster.
func (e *Engine) Caps() engine.Caps {
	return engine.Caps{
		Durability:    engine.None,
		MaxEntry:      e.config.MaxEntry,
		ContiguousSeq: true,
		ReliableFeed:  true,
		Shared:        e.config.Nodes,
		Cluster:       e.config.Nodes,
	}
}

// Ensure implements engine.Engine.
func (e *Engine) Ensure(ctx context.Context, n engine.Name, spec engine.Spec) (engine.Info, error) {
	info, err := e.ensure(ctx, n, spec)
	return info, explain("ensure", n, err)
}

func (e *Engine) ensure(ctx context.Context, n engine.Name, spec engine.Spec) (engine.Info, error) {
	s, err := e.shard(ctx, n)
	if err != nil {
		return engine.Info{}, err
	}
	if spec, err = spec.Normal(); err != nil {
		return engine.Info{}, err
	}
	now := e.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return engine.Info{}, engine.ErrClosed
	}
	l := s.logs[n]
	if l != nil && e.expire(s, n, l, now) {
		l = nil
	}
	if l == nil {
		l = newLog(e.epoch, e.floor.Load(), spec, now)
		// The caller's strings may alias a request's buffer.
		s.logs[engine.Name{Prefix: strings.Clone(n.Prefix), Channel: strings.Clone(n.Channel)}] = l
	}
	info := engine.Info{Spec: l.spec, Tail: l.touch(now)}
	if l.spec != spec {
		return info, fmt.Errorf("%w: it has %+v, asked for %+v", engine.ErrSpecConflict, l.spec, spec)
	}
	return info, nil
}

// Append implements engine.Engine. It stores all items or none.
func (e *Engine) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	l, err := e.find(ctx, n)
	if err != nil {
		return nil, explain("append", n, err)
	}
	if err := e.check(l.spec, items); err != nil {
		return nil, explain("append", n, err)
	}
	at := time.Now()
	positions, err := l.append(items, at, at.Sub(e.start), e.config.MaxIDs)
	return positions, explain("append", n, err)
}

func (e *Engine) check(spec engine.Spec, items []engine.Item) error {
	limit := min(e.config.MaxEntry, spec.MaxBytes)
	for i, item := range items {
		if len(item.Data) > limit {
			return fmt.Errorf("%w: item %d has %d bytes, at most %d are allowed (the smaller of the engine's MaxEntry and the channel's MaxBytes)", engine.ErrTooLarge, i, len(item.Data), limit)
		}
		if len(item.ID) > engine.MaxID {
			return fmt.Errorf("%w: the ID of item %d has %d bytes, at most %d are allowed", engine.ErrTooLarge, i, len(item.ID), engine.MaxID)
		}
	}
	return nil
}

// Read implements engine.Engine. With max < 1 it returns all there is.
func (e *Engine) Read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	l, err := e.find(ctx, n)
	if err != nil {
		return engine.Batch{}, explain("read", n, err)
	}
	batch, err := l.read(after, max)
	return batch, explain("read", n, err)
}

// Last implements engine.Engine.
func (e *Engine) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	l, err := e.find(ctx, n)
	if err != nil {
		return engine.Batch{}, explain("last", n, err)
	}
	batch, err := l.last(k)
	return batch, explain("last", n, err)
}

// Tail implements engine.Engine.
func (e *Engine) Tail(ctx context.Context, n engine.Name) (engine.Position, error) {
	l, err := e.find(ctx, n)
	if err != nil {
		return engine.Position{}, explain("tail", n, err)
	}
	tail, err := l.tail()
	return tail, explain("tail", n, err)
}

// Tails implements engine.Engine.
func (e *Engine) Tails(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
	tails := make([]engine.Position, len(names))
	for i, n := range names {
		tail, err := e.Tail(ctx, n)
		if err != nil && !errors.Is(err, engine.ErrNoChannel) {
			return nil, err
		}
		tails[i] = tail
	}
	return tails, nil
}

// Watch implements engine.Engine. Offers are made inside Append, so that a sink is
// offered an entry before its sender knows that it is stored.
func (e *Engine) Watch(ctx context.Context, n engine.Name, sink engine.Sink) (stop func(), err error) {
	l, err := e.find(ctx, n)
	if err != nil {
		return nil, explain("watch", n, err)
	}
	w, err := l.watch(sink)
	if err != nil {
		return nil, explain("watch", n, err)
	}
	return func() { l.unwatch(w, e.now()) }, nil
}

// Delete implements engine.Engine.
func (e *Engine) Delete(ctx context.Context, n engine.Name) error {
	s, err := e.shard(ctx, n)
	if err != nil {
		return explain("delete", n, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return explain("delete", n, engine.ErrClosed)
	}
	if l := s.logs[n]; l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		e.remove(s, n, l)
	}
	return nil
}

// Health implements engine.Engine: only a closed Engine is not healthy.
func (e *Engine) Health(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := &e.shards[0]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return engine.ErrClosed
	}
	return nil
}

// Close implements engine.Engine. It frees all logs. It never waits, and closes
// also when ctx has ended.
func (e *Engine) Close(context.Context) error {
	for i := range e.shards {
		e.shards[i].close()
	}
	e.nodes.close()
	return nil
}

func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.logs {
		l.mu.Lock()
		l.end(engine.ErrClosed)
		l.mu.Unlock()
	}
	s.logs = nil
}

func (e *Engine) now() time.Duration { return time.Since(e.start) }

// shard checks what every call checks first.
func (e *Engine) shard(ctx context.Context, n engine.Name) (*shard, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := n.Validate(); err != nil {
		return nil, err
	}
	return &e.shards[maphash.Comparable(e.seed, n)%uint64(len(e.shards))], nil
}

// find returns n's log. By the time the caller locks it, it may have ended.
func (e *Engine) find(ctx context.Context, n engine.Name) (*log, error) {
	s, err := e.shard(ctx, n)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	l, closed := s.logs[n], s.closed
	s.mu.RUnlock()
	switch {
	case closed:
		return nil, engine.ErrClosed
	case l == nil:
		return nil, engine.ErrNoChannel
	}
	if now := e.now(); l.isIdle(now) {
		s.mu.Lock()
		e.expire(s, n, l, now)
		s.mu.Unlock()
	}
	return l, nil
}

// expire removes l if its IdleTTL has passed, unless it ended meanwhile (another
// log may have its name then). s is locked, l is not.
func (e *Engine) expire(s *shard, n engine.Name, l *log, now time.Duration) (removed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil || !l.idle(now) {
		return false
	}
	e.remove(s, n, l)
	return true
}

// remove ends l and lets every log made later start above it. The name is free
// only once the floor is raised. s and l are locked.
func (e *Engine) remove(s *shard, n engine.Name, l *log) {
	above := l.top() + 1
	for floor := e.floor.Load(); floor < above && !e.floor.CompareAndSwap(floor, above); {
		floor = e.floor.Load()
	}
	l.end(engine.ErrNoChannel)
	delete(s.logs, n)
}

func explain(op string, n engine.Name, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("engine/memory: %s %q: %w", op, n.String(), err)
}
