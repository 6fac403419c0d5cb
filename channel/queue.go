package channel

// What waits in front of an unlimited channel or a clone's head is bounded by
// both.
const (
	defaultWaiting      = 1000
	defaultWaitingBytes = 8 << 20
)

// A waiting is a marshalled value on its way, and the encoding that wrote it.
// Its data is shared by sibling heads and never written to.
type waiting struct {
	data []byte
	enc  Encoding
}

// A queue holds what waits for one head, oldest first, bounded in values and in
// bytes. A value larger than the bytes allowed may wait alone: whether it is
// too large to send is the channel's to say. Its owner locks.
type queue struct {
	maxValues, maxBytes int
	items               []waiting
	first               int // index of the oldest in items
	bytes               int
}

func newQueue(maxValues, maxBytes int) queue {
	return queue{maxValues: maxValues, maxBytes: maxBytes}
}

func (q *queue) len() int { return len(q.items) - q.first }

// push reports false, and takes nothing, when there is no room. It moves the
// values down only when most of the slice is read, so that a push costs the
// same however many wait.
func (q *queue) push(w waiting) bool {
	if n := q.len(); n >= q.maxValues || n > 0 && q.bytes+len(w.data) > q.maxBytes {
		return false
	}
	if len(q.items) == cap(q.items) && q.first > q.len() {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, w)
	q.bytes += len(w.data)
	return true
}

func (q *queue) pop() (waiting, bool) {
	if q.len() == 0 {
		return waiting{}, false
	}
	w := q.items[q.first]
	q.items[q.first] = waiting{}
	q.first++
	q.bytes -= len(w.data)
	if q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	}
	return w, true
}

func (q *queue) drop() { q.items, q.first, q.bytes = nil, 0, 0 }

// clone returns a queue of the same values that goes its own way.
func (q *queue) clone() queue {
	c := newQueue(q.maxValues, q.maxBytes)
	c.items = append(c.items, q.items[q.first:]...)
	c.bytes = q.bytes
	return c
}
