package wheel

import "math/bits"

const (
	slotBits = 6
	slots    = 1 << slotBits // as many as a word has bits
)

// levels is the hierarchy. With time at now, a timer sits at the level of the
// highest digit (in base 64) in which when and now differ, in the slot of when's
// digit there. Hence in each level only slots after now's are occupied, and the
// first occupied slot of the lowest occupied level is the next to be reached.
type levels []*level

type level struct {
	occupied uint64 // bit s: slots[s] is not empty
	slots    [slots]list
}

// place says where a timer is: nowhere (0), due, or in a level's slot.
type place uint16

const placeDue place = 1 << 15

func slotPlace(n, s int) place          { return place(1 + n*slots + s) }
func (p place) none() bool              { return p == 0 }
func (p place) due() bool               { return p == placeDue }
func (p place) slot() (level, slot int) { return int(p-1) / slots, int(p-1) % slots }

// insert needs t.when > now.
func (ls *levels) insert(now uint64, t *Timer) {
	n := (bits.Len64(now^t.when) - 1) / slotBits
	for len(*ls) <= n {
		*ls = append(*ls, new(level))
	}
	l, s := (*ls)[n], int(t.when>>(n*slotBits))%slots
	l.slots[s].push(t, slotPlace(n, s))
	l.occupied |= 1 << s
}

func (ls levels) unlink(t *Timer) {
	n, s := t.at.slot()
	l := ls[n]
	l.slots[s].unlink(t)
	if l.slots[s].empty() {
		l.occupied &^= 1 << s
	}
}

// first returns the tick at which the next occupied slot is reached: the time of
// its timers in level 0, the earliest they can have above. never if there is none.
func (ls levels) first(now uint64) uint64 {
	for n, l := range ls {
		if l.occupied != 0 {
			shift := n * slotBits
			passed := now >> shift &^ (slots - 1) << shift
			return passed | uint64(bits.TrailingZeros64(l.occupied))<<shift
		}
	}
	return never
}

// cascade empties the slot that first named, with time now at tick: timers of
// that very tick become due, the others move down.
func (ls *levels) cascade(tick uint64, due *list) {
	for _, l := range *ls {
		if l.occupied == 0 {
			continue
		}
		s := bits.TrailingZeros64(l.occupied)
		l.occupied &^= 1 << s
		for t := l.slots[s].head; t != nil; t = l.slots[s].head {
			l.slots[s].unlink(t)
			if t.when == tick {
				due.push(t, placeDue)
			} else {
				ls.insert(tick, t)
			}
		}
		return
	}
}

func (ls levels) clear() {
	for _, l := range ls {
		for l.occupied != 0 {
			s := bits.TrailingZeros64(l.occupied)
			l.occupied &^= 1 << s
			l.slots[s].clear()
		}
	}
}

// list is a doubly linked list in the order of pushing, through the timers.
type list struct{ head, tail *Timer }

func (l *list) empty() bool { return l.head == nil }

func (l *list) push(t *Timer, at place) {
	t.at, t.prev, t.next = at, l.tail, nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
}

func (l *list) unlink(t *Timer) {
	if t.prev == nil {
		l.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.at, t.prev, t.next = 0, nil, nil
}

func (l *list) clear() {
	for l.head != nil {
		l.unlink(l.head)
	}
}
