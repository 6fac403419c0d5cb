package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxEpoch = 16

	// MaxPosition is the longest text of a Position in bytes: an epoch of 16, a
	// sequence of 13 and a tag of 7 digits with their two dots.
	MaxPosition = maxEpoch + 1 + 13 + 1 + 7
)

// ErrBadPosition is wrapped by what ParsePosition returns for text that is not a
// position, and by what AppendText returns for a Position that has no text.
var ErrBadPosition = errors.New("engine: bad position")

// Position is a place in one channel's log: an entry, or the log's genesis, the
// place before its first entry. The zero Position is no place in any log; every
// Read after it is ErrEpoch.
//
// Positions of one channel are compared (equal, or by Seq within one Epoch) and
// never calculated with.
type Position struct {
	// Epoch names one life of the log: 1 to 16 of the characters 0-9 and a-z.
	Epoch string
	// Seq strictly increases in one channel and epoch, with gaps on some engines.
	Seq uint64
	// Tag is the engine's fingerprint of the entry, 0 where it makes none. It
	// tells an entry from another that a failover put under the same Seq.
	Tag uint32
}

// IsZero reports whether p is the zero Position.
func (p Position) IsZero() bool { return p == Position{} }

// String returns the canonical text of p: "epoch.seq", or "epoch.seq.tag" when
// the tag is not 0, seq and tag in base 36 without leading zeros. Its characters
// are 0-9, a-z and the dot, so it needs no escaping in a URL, a header or an
// event stream. ParsePosition reads it back. The zero Position is "", any other
// with a bad epoch is "(bad position)"; ParsePosition takes neither.
func (p Position) String() string {
	b, err := p.AppendText(make([]byte, 0, MaxPosition))
	switch {
	case err == nil:
		return string(b)
	case p.IsZero():
		return ""
	default:
		return "(bad position)"
	}
}

// AppendText appends the text that String describes to b. A Position whose Epoch
// is not 1 to 16 characters of 0-9 and a-z has none: ErrBadPosition, b unchanged.
func (p Position) AppendText(b []byte) ([]byte, error) {
	if !validEpoch(p.Epoch) {
		return b, fmt.Errorf("%w: epoch %.40q, want 1 to %d characters of 0-9 and a-z", ErrBadPosition, p.Epoch, maxEpoch)
	}
	b = append(b, p.Epoch...)
	b = append(b, '.')
	b = strconv.AppendUint(b, p.Seq, 36)
	if p.Tag != 0 {
		b = append(b, '.')
		b = strconv.AppendUint(b, uint64(p.Tag), 36)
	}
	return b, nil
}

// MarshalText is AppendText to nothing, so that a Position in a JSON document is
// a string. A field that may be the zero Position needs the option omitzero.
func (p Position) MarshalText() ([]byte, error) {
	return p.AppendText(nil)
}

// UnmarshalText is ParsePosition. On an error p is unchanged.
func (p *Position) UnmarshalText(text []byte) error {
	q, err := ParsePosition(string(text))
	if err != nil {
		return err
	}
	*p = q
	return nil
}

// ParsePosition reads the text of a Position. It takes canonical text only, so
// that ParsePosition(s) succeeding means s is the String of the result: no upper
// case, no leading zeros, no sign, no space, no tag of 0, nothing after. Anything
// else is ErrBadPosition. It never panics. The result shares s's memory.
func ParsePosition(s string) (Position, error) {
	bad := func(reason string) (Position, error) {
		return Position{}, fmt.Errorf("%w: %.40q: %s", ErrBadPosition, s, reason)
	}
	if len(s) > MaxPosition {
		return bad("longer than " + strconv.Itoa(MaxPosition) + " bytes")
	}
	epoch, rest, dotted := strings.Cut(s, ".")
	if !dotted {
		return bad(`want "epoch.seq" or "epoch.seq.tag"`)
	}
	if !validEpoch(epoch) {
		return bad("the epoch is not 1 to 16 characters of 0-9 and a-z")
	}
	digits, tagDigits, tagged := strings.Cut(rest, ".")
	seq, ok := parseBase36(digits, 64)
	if !ok {
		return bad("the sequence is not a canonical base 36 number of 64 bits")
	}
	var tag uint64
	if tagged {
		if tag, ok = parseBase36(tagDigits, 32); !ok || tag == 0 {
			return bad("the tag is not a canonical base 36 number of 32 bits above 0")
		}
	}
	return Position{Epoch: epoch, Seq: seq, Tag: uint32(tag)}, nil
}

func validEpoch(s string) bool {
	return len(s) >= 1 && len(s) <= maxEpoch && allBase36(s)
}

func allBase36(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// parseBase36 takes only what strconv.AppendUint writes: strconv.ParseUint alone
// would also take upper case and leading zeros.
func parseBase36(s string, bits int) (n uint64, ok bool) {
	if !allBase36(s) || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 36, bits)
	return n, err == nil
}
