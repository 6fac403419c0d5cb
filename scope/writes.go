package scope

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// writes is the histogram of the times that writes took. count has all of them, the
// rest only those that the peer kept waiting. A write is counted when it is over, for a
// bucket must never lose one to another.
type writes struct {
	count atomic.Uint64

	mu   sync.Mutex
	slow uint64
	late [len(WriteBounds) + 1]uint64 // the last: beyond them all
	sum  time.Duration
}

// Wrote is told, before the next Collect, that the peer took what was last collected
// only after a time. What it takes at once nobody has to tell of. It does not block.
func (s *EventStream) Wrote(after time.Duration) {
	s.mu.Lock()
	s.writing = false
	s.mu.Unlock()
	w := &s.site.writes
	w.mu.Lock()
	defer w.mu.Unlock()
	bucket := 0
	for bucket < len(WriteBounds) && after > WriteBounds[bucket] {
		bucket++
	}
	w.count.Add(1)
	w.late[bucket]++
	w.slow++
	w.sum += after
}

// written counts the batch before, if there was one that nobody waited for. It needs
// s.mu.
func (s *EventStream) written() {
	if s.writing {
		s.writing = false
		s.writes++
	}
}

func (w *writes) read() Writes {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.count.Load()
	r := Writes{Count: all, Sum: w.sum, Buckets: make([]uint64, len(WriteBounds))}
	within := all - w.slow
	for i := range r.Buckets {
		within += w.late[i]
		r.Buckets[i] = within
	}
	return r
}

// causeOf names why the event stream ended.
func (s *EventStream) causeOf(cause error) string {
	switch named := s.site.getHooks().Cause; {
	case cause == nil && s.stopping:
		return "sent_away"
	case cause == nil, errors.Is(cause, ErrOver): // or it never began: there was nothing to come back to
		return "end"
	case named != nil:
		return named(cause)
	}
	return "other"
}
