package scope

import "encoding/binary"

// What nodes say to each other: a request begins with what is asked, a reply with
// what came of it; fields follow in the order in which both sides know them,
// numbers as varints, texts with their length in front.

// asked is what a request asks of a node.
type asked byte

const (
	askKnock asked = 1 + iota // at a process: for a rank
	askAttach
	askNext
	askLeave
	askStep  // of a command, on a process
	askBoard // of a command, on an event stream
	askEndSession
	askAdopt // a part of a process that is handed over
	askRoll  // who hears a site channel
	askReach // a value for tabs
	askTabs  // how many there are
)

// answered is what came of a request.
type answered byte

const (
	wasDone answered = 1 + iota
	wasGone
	wasSuperseded
	wasAgain // the rank is old: knock again
	wasMoved // to the node that follows
	notNow
)

// A parcel is a request or a reply that is being written.
type parcel []byte

func (p parcel) number(n uint64) parcel { return binary.AppendUvarint(p, n) }

func (p parcel) text(s string) parcel {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

func (p parcel) bytes(b []byte) parcel {
	return append(binary.AppendUvarint(p, uint64(len(b))), b...)
}

func (p parcel) flags(flags ...bool) parcel {
	var b byte
	for i, set := range flags {
		if set {
			b |= 1 << i
		}
	}
	return append(p, b)
}

// An unparcel reads what a parcel wrote. What is missing reads as zero, and bad
// tells that something was.
type unparcel struct {
	rest []byte
	bad  bool
}

func (u *unparcel) number() uint64 {
	n, size := binary.Uvarint(u.rest)
	if size <= 0 {
		u.bad, u.rest = true, nil
		return 0
	}
	u.rest = u.rest[size:]
	return n
}

// count reads the number of things that follow, each of at least one byte.
func (u *unparcel) count() int {
	n := u.number()
	if n > uint64(len(u.rest)) {
		u.bad, u.rest = true, nil
		return 0
	}
	return int(n)
}

// bytes is a part of what is read, and not copied.
func (u *unparcel) bytes() []byte {
	n := u.count()
	b := u.rest[:n:n]
	u.rest = u.rest[n:]
	return b
}

func (u *unparcel) text() string { return string(u.bytes()) }

func (u *unparcel) byte() byte {
	if len(u.rest) == 0 {
		u.bad = true
		return 0
	}
	b := u.rest[0]
	u.rest = u.rest[1:]
	return b
}

func (u *unparcel) flags(flags ...*bool) {
	b := u.byte()
	for i, f := range flags {
		*f = b&(1<<i) != 0
	}
}
