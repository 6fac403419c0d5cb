// Package mailbox is one private channel's memory: what waits to be sent, and
// what was sent but may have to be sent again.
//
// A Box is Eliom's bounded queue of a client process, with two differences:
// its bound is exact, and what was sent is kept besides, under the number that
// the process gave it, until newer entries push it out. Over its bound the
// unsent entries are dropped and one final Full takes their place; nothing more
// is taken then (rule 7).
//
// A Box has no lock: the process that owns it guards it.
package mailbox

import (
	"errors"

	"github.com/ocsigo/comet/internal/ring"
)

// ErrFull is what Put answers when the entry did not fit: the box is final now.
var ErrFull = errors.New("mailbox is full")

// ErrFinished is what Put answers after a final entry.
var ErrFinished = errors.New("mailbox is finished")

// Kind tells what an entry is. All but Data are final.
type Kind uint8

// The kinds of entries.
const (
	Data Kind = iota
	Full
	Closed
	End
)

// An Entry is one thing to be told. Number is 0 until it was sent.
type Entry struct {
	Number uint64
	Kind   Kind
	Data   []byte
	Reason string // of a final entry
}

// Box holds the unsent and the sent entries of one channel.
type Box struct {
	size, maxBytes int
	unsent         []Entry // from head on
	head           int
	unsentBytes    int
	sent           ring.Ring[Entry]
	discarded      uint64
	final          bool // the last entry, sent or not, is final
}

// New returns an empty box for at most size unsent entries of at most maxBytes
// bytes together; as much is kept of what was sent.
func New(size, maxBytes int) *Box {
	return &Box{size: size, maxBytes: maxBytes, sent: *ring.New[Entry](size+1, maxBytes)}
}

// Put adds data to the unsent entries; the box owns it from then on. When it
// does not fit, all unsent entries are replaced by one Full and the error is
// ErrFull; after any final entry it is ErrFinished.
func (b *Box) Put(data []byte) error {
	if b.final {
		return ErrFinished
	}
	if b.Unsent() >= b.size || b.unsentBytes+len(data) > b.maxBytes {
		b.Fail(Full, "overflow")
		return ErrFull
	}
	b.push(Entry{Data: data})
	return nil
}

// Finish puts a final entry behind the unsent ones. It does nothing after
// another final entry.
func (b *Box) Finish(kind Kind, reason string) {
	if !b.final {
		b.push(Entry{Kind: kind, Reason: reason})
		b.final = true
	}
}

// Fail drops the unsent entries and puts a final entry in their place. It does
// nothing after a final entry that was sent.
func (b *Box) Fail(kind Kind, reason string) {
	if b.final && b.Unsent() == 0 {
		return
	}
	b.unsent, b.head, b.unsentBytes = nil, 0, 0
	b.push(Entry{Kind: kind, Reason: reason})
	b.final = true
}

func (b *Box) push(e Entry) {
	if b.head > 0 && len(b.unsent) == cap(b.unsent) {
		n := copy(b.unsent, b.unsent[b.head:])
		clear(b.unsent[n:])
		b.unsent, b.head = b.unsent[:n], 0
	}
	b.unsent = append(b.unsent, e)
	b.unsentBytes += len(e.Data)
}

// Unsent returns the number of entries that wait.
func (b *Box) Unsent() int { return len(b.unsent) - b.head }

// Waiting returns the number of values that wait: the unsent entries but a final one.
func (b *Box) Waiting() int {
	n := b.Unsent()
	if b.final && n > 0 {
		n--
	}
	return n
}

// Final reports whether nothing more can be put.
func (b *Box) Final() bool { return b.final }

// Take moves the oldest unsent entry to the sent ones, under number, which
// must be higher than any before.
func (b *Box) Take(number uint64) (Entry, bool) {
	if b.Unsent() == 0 {
		return Entry{}, false
	}
	e := b.unsent[b.head]
	b.unsent[b.head] = Entry{}
	b.head++
	b.unsentBytes -= len(e.Data)
	if b.Unsent() == 0 {
		b.unsent, b.head = b.unsent[:0], 0
	}
	e.Number = number
	b.keep(e)
	return e, true
}

// keep adds e to the sent entries and notes what that pushes out. A final entry
// pushes out nothing.
func (b *Box) keep(e Entry) {
	for e.Kind == Data {
		oldest, ok := b.sent.At(b.sent.First())
		if !ok || b.sent.Len() < b.size && b.sent.Bytes()+len(e.Data) <= b.maxBytes {
			break
		}
		b.discarded = oldest.Number
		b.sent.DropOldest()
	}
	b.sent.Push(e, len(e.Data))
}

// After returns the oldest sent entry whose number is higher than number.
func (b *Box) After(number uint64) (Entry, bool) {
	return b.sent.At(b.sent.Search(func(e Entry) bool { return e.Number > number }))
}

// Lose gives up a reader that misses some of what was sent: everything is
// dropped, and what is left is a final Full, sent under number.
func (b *Box) Lose(number uint64, reason string) {
	b.unsent, b.head, b.unsentBytes = nil, 0, 0
	b.sent.Reset()
	b.discarded, b.final = 0, true
	b.sent.Push(Entry{Number: number, Kind: Full, Reason: reason}, 0)
}

// Newest returns the number of the newest entry that was sent, 0 for none.
func (b *Box) Newest() uint64 {
	if b.sent.Len() == 0 {
		return b.discarded
	}
	e, _ := b.sent.At(b.sent.Next() - 1)
	return e.Number
}

// Discarded returns the number of the newest sent entry that is no longer
// kept, 0 for none: a reader that has heard less has a hole.
func (b *Box) Discarded() uint64 { return b.discarded }
