// Package ring is a bounded log of entries addressed by ordinals.
//
// An ordinal is the absolute count of pushes before an entry: the first entry
// ever pushed has ordinal 0, and no ordinal is used twice. A reader that keeps
// the ordinal it wants next can therefore tell, at any later time, whether the
// entry is still kept (At), was evicted (ordinal < First) or is yet to come
// (ordinal >= Next).
package ring

// Ring keeps the newest entries, at most size of them and at most maxBytes
// bytes of them, and evicts the oldest first. Both bounds are exact.
//
// Memory grows with what is kept, by doubling, up to size slots; it does not
// shrink. An evicted slot is zeroed, so that nothing evicted is kept from the
// garbage collector.
//
// A Ring has no lock: whoever owns it guards it. The zero Ring is not usable,
// New makes one.
type Ring[E any] struct {
	slots       []slot[E] // length 0 or a power of two: slot of an ordinal = ordinal modulo length
	first, next uint64
	size        int
	maxBytes    int // 0 = not bounded by bytes
	bytes       int
}

type slot[E any] struct {
	entry E
	bytes int
}

// New returns an empty Ring that keeps at most size entries and maxBytes bytes.
// A maxBytes of 0 sets no bound on bytes. It panics when size < 1 or
// maxBytes < 0.
func New[E any](size, maxBytes int) *Ring[E] {
	if size < 1 || maxBytes < 0 {
		panic("ring: New needs a size of at least 1 and a maxBytes of at least 0 (0 = no bound)")
	}
	return &Ring[E]{size: size, maxBytes: maxBytes}
}

// Push appends e, which counts for bytes bytes, under the ordinal Next, and
// returns how many entries it evicted. The byte bound knows no exception: an
// entry larger than it evicts all others and itself, and still uses up its
// ordinal. Push panics when bytes < 0.
func (r *Ring[E]) Push(e E, bytes int) (evicted int) {
	if bytes < 0 {
		panic("ring: Push of a negative number of bytes")
	}
	if r.Len() == r.size {
		r.evict()
		evicted++
	}
	if r.Len() == len(r.slots) {
		r.grow()
	}
	*r.slot(r.next) = slot[E]{entry: e, bytes: bytes}
	r.next++
	r.bytes += bytes
	for r.maxBytes > 0 && r.bytes > r.maxBytes {
		r.evict()
		evicted++
	}
	return evicted
}

// First returns the ordinal of the oldest entry kept; it equals Next when the
// ring is empty.
func (r *Ring[E]) First() uint64 { return r.first }

// Next returns the ordinal that the next Push gets.
func (r *Ring[E]) Next() uint64 { return r.next }

// Len returns the number of entries kept.
func (r *Ring[E]) Len() int { return int(r.next - r.first) }

// Bytes returns the sum of the bytes of the entries kept.
func (r *Ring[E]) Bytes() int { return r.bytes }

// At returns the entry with this ordinal, and false when it is not kept: either
// evicted or not pushed yet.
func (r *Ring[E]) At(ordinal uint64) (e E, ok bool) {
	if ordinal < r.first || ordinal >= r.next {
		return e, false
	}
	return r.slot(ordinal).entry, true
}

// Search returns the ordinal of the oldest entry kept for which f is true, or
// Next when there is none. It is a binary search: once true for an entry, f must
// be true for every newer one.
func (r *Ring[E]) Search(f func(E) bool) uint64 {
	low, high := r.first, r.next
	for low < high {
		middle := low + (high-low)/2
		if f(r.slot(middle).entry) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// DropOldest evicts the oldest entry; it does nothing to an empty ring.
func (r *Ring[E]) DropOldest() {
	if r.Len() > 0 {
		r.evict()
	}
}

// Skip is Reset that also uses up one ordinal, so that a reader which had read
// everything finds that it missed something.
func (r *Ring[E]) Skip() {
	r.next++
	r.Reset()
}

// Reset drops every entry and the memory they used. Ordinals go on from where
// they were: what was kept counts as evicted.
func (r *Ring[E]) Reset() {
	r.slots, r.first, r.bytes = nil, r.next, 0
}

func (r *Ring[E]) slot(ordinal uint64) *slot[E] {
	return &r.slots[ordinal&uint64(len(r.slots)-1)]
}

func (r *Ring[E]) evict() {
	s := r.slot(r.first)
	r.bytes -= s.bytes
	*s = slot[E]{}
	r.first++
}

// grow doubles the slots. It is called only below size entries, so the last
// doubling ends at the power of two at or above size.
func (r *Ring[E]) grow() {
	grown := Ring[E]{slots: make([]slot[E], max(2*len(r.slots), 1))}
	for o := r.first; o < r.next; o++ {
		*grown.slot(o) = *r.slot(o)
	}
	r.slots = grown.slots
}
