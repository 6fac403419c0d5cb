package memory

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/ring"
)

// log is one channel's log. The entry with ordinal o of the ring has the sequence
// base + 1 + o; base is the genesis.
type log struct {
	epoch string
	base  uint64
	spec  engine.Spec

	mu       sync.RWMutex // orders the channel; sinks are called under it
	entries  *ring.Ring[record]
	watchers []*watcher
	ids      ids
	used     time.Duration // when IdleTTL began to count
	ended    error         // ErrNoChannel or ErrClosed once it is over
}

// record is what differs between the entries of a log.
type record struct {
	data []byte
	at   int64 // Unix nanoseconds
}

// watcher gives each Watch an identity of its own, even with the same sink.
type watcher struct{ sink engine.Sink }

func newLog(epoch string, base uint64, spec engine.Spec, now time.Duration) *log {
	return &log{
		epoch:   epoch,
		base:    base,
		spec:    spec,
		entries: ring.New[record](spec.Size, spec.MaxBytes),
		used:    now,
	}
}

func (l *log) position(seq uint64) engine.Position {
	return engine.Position{Epoch: l.epoch, Seq: seq}
}

func (l *log) top() uint64 { return l.base + l.entries.Next() }

func (l *log) entry(ordinal uint64) engine.Entry {
	r, _ := l.entries.At(ordinal)
	seq := l.base + 1 + ordinal
	return engine.Entry{Position: l.position(seq), Prev: seq - 1, Data: r.data, At: time.Unix(0, r.at)}
}

// touch starts IdleTTL anew and returns the tail.
func (l *log) touch(now time.Duration) engine.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = now
	return l.position(l.top())
}

func (l *log) isIdle(now time.Duration) bool {
	if l.spec.IdleTTL == 0 {
		return false // the common case, without the lock
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.idle(now)
}

// idle needs l locked.
func (l *log) idle(now time.Duration) bool {
	return l.spec.IdleTTL > 0 && len(l.watchers) == 0 && now-l.used >= l.spec.IdleTTL
}

// end needs l locked.
func (l *log) end(cause error) {
	l.ended = cause
	for _, w := range l.watchers {
		w.sink.Dirty(cause)
	}
	l.watchers, l.ids = nil, ids{}
	l.entries.Reset()
}

// append stores all items or none. The clock that expires says now, the one on the
// wall says at.
func (l *log) append(items []engine.Item, at time.Time, now time.Duration, maxIDs int) ([]engine.Position, error) {
	copies := make([][]byte, len(items)) // before the lock: it is the slow part
	for i, item := range items {
		copies[i] = append(make([]byte, 0, len(item.Data)), item.Data...)
	}
	positions := make([]engine.Position, len(items))

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return nil, l.ended
	}
	l.ids.expire(now)
	if err := l.ids.room(items, maxIDs); err != nil {
		return nil, err
	}
	l.used = now
	for i, item := range items {
		seq, known := l.ids.find(item.ID)
		if !known {
			seq = l.push(record{data: copies[i], at: at.UnixNano()})
			l.ids.add(item.ID, seq, now)
		}
		positions[i] = l.position(seq)
	}
	return positions, nil
}

func (l *log) push(r record) (seq uint64) {
	ordinal := l.entries.Next()
	l.entries.Push(r, len(r.data))
	if len(l.watchers) > 0 {
		entry := l.entry(ordinal)
		for _, w := range l.watchers {
			w.sink.Offer(entry)
		}
	}
	return l.base + 1 + ordinal
}

func (l *log) read(after engine.Position, max int) (engine.Batch, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ended != nil {
		return engine.Batch{}, l.ended
	}
	top := l.top()
	if after.Epoch != l.epoch || after.Tag != 0 || after.Seq < l.base || after.Seq > top {
		return engine.Batch{}, fmt.Errorf("%w: after %q, the log goes from %v to %v", engine.ErrEpoch, after, l.position(l.base), l.position(top))
	}
	from := after.Seq - l.base
	if first := l.entries.First(); from < first {
		if !l.spec.Newest {
			return engine.Batch{}, fmt.Errorf("%w: after %v, the oldest kept is %v", engine.ErrTrimmed, after, l.position(l.base+1+first))
		}
		from = first
	}
	n := l.entries.Next() - from
	more := max > 0 && n > uint64(max)
	if more {
		n = uint64(max)
	}
	batch := l.batch(from, from+n)
	batch.More = more
	return batch, nil
}

func (l *log) last(k int) (engine.Batch, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ended != nil {
		return engine.Batch{}, l.ended
	}
	next := l.entries.Next()
	k = min(max(k, 0), l.entries.Len())
	return l.batch(next-uint64(k), next), nil
}

func (l *log) tail() (engine.Position, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ended != nil {
		return engine.Position{}, l.ended
	}
	return l.position(l.top()), nil
}

// batch needs l locked and both ordinals kept.
func (l *log) batch(from, to uint64) engine.Batch {
	b := engine.Batch{Top: l.position(l.top())}
	if from < to {
		b.Entries = make([]engine.Entry, 0, to-from)
	}
	for o := from; o < to; o++ {
		b.Entries = append(b.Entries, l.entry(o))
	}
	return b
}

func (l *log) watch(sink engine.Sink) (*watcher, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return nil, l.ended
	}
	w := &watcher{sink}
	l.watchers = append(l.watchers, w)
	return w, nil
}

// unwatch starts IdleTTL anew: the log was in use until now.
func (l *log) unwatch(w *watcher, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.watchers, w); i >= 0 {
		l.watchers = slices.Delete(l.watchers, i, i+1)
		l.used = now
	}
}
