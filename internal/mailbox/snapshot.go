package mailbox

import "github.com/ocsigo/comet/internal/ring"

// A Snapshot is all that a Box holds. The entries' data is shared with the Box.
type Snapshot struct {
	Size, MaxBytes int
	Discarded      uint64  // as Box.Discarded
	Sent           []Entry // in the order of their numbers
	Unsent         []Entry
	Final          bool
}

// Snapshot returns what the box holds.
func (b *Box) Snapshot() Snapshot {
	s := Snapshot{
		Size: b.size, MaxBytes: b.maxBytes, Discarded: b.discarded, Final: b.final,
		Sent: make([]Entry, 0, b.sent.Len()), Unsent: append([]Entry(nil), b.unsent[b.head:]...),
	}
	for o := b.sent.First(); o < b.sent.Next(); o++ {
		e, _ := b.sent.At(o)
		s.Sent = append(s.Sent, e)
	}
	return s
}

// Restore returns a box that holds what s says. It owns s's entries from then on.
func Restore(s Snapshot) *Box {
	b := &Box{
		size: s.Size, maxBytes: s.MaxBytes, discarded: s.Discarded, final: s.Final, unsent: s.Unsent,
		sent: *ring.New[Entry](s.Size+1, s.MaxBytes),
	}
	for _, e := range s.Unsent {
		b.unsentBytes += len(e.Data)
	}
	for _, e := range s.Sent {
		b.sent.Push(e, len(e.Data))
	}
	return b
}
