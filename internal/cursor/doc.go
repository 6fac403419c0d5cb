// Package cursor is the text of an event stream's address and of its cursor:
// what stands in the URL, and what every id line carries.
//
// An Address says what a page hears and from where:
//
//	v=1&p=TOKEN.NUMBER&g=GROUP&c=chat@EPOCH.SEQ&c=news@-3&c=price@newest&pull=ask&wait=no&after=CURSOR
//
// A Cursor is an overlay on it (rule 4): only the positions that moved since
// the page was made, and what the address lacks. It begins with the tag of its
// address, without which the indices mean nothing; the items follow, each after a
// '~':
//
//	_TAG                     which address the cursor is of
//	INDEX.SEQ[.TAG]          the address's channel number INDEX, epoch as below
//	NAME@SEQ[.TAG]           a channel that was registered by command
//	*EPOCH                   the epoch of the items that follow
//	!INDEX                   the address's channel INDEX is no longer heard
//	-GENERATION.NUMBER       the address's own process
//	-SLOT.GENERATION.NUMBER.TOKEN  a process attached by command
//	-                        the address's own process is no longer heard
//	!                        alone: the event stream is over
//
// Before the first *EPOCH an item has the epoch of the address's position.
// Numbers are base 36, lower case, without leading zeros. A cursor is printable
// ASCII without blanks, commas or quotes, so that it survives a header and a
// query unchanged, and both parsers are strict: what Append would not have
// written is refused.
package cursor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ocsigo/comet/engine"
)

// MaxLength bounds a cursor's text, in bytes. A longer one is refused unread.
const MaxLength = 1024

// Version is the protocol version that an address names.
const Version = 1

// ErrBadCursor is what ParseCursor's errors wrap.
var ErrBadCursor = errors.New("not a cursor of this event stream")

// ErrBadAddress is what ParseAddress's errors wrap.
var ErrBadAddress = errors.New("not an event stream's address")

// ErrVersion means that the address is of another protocol version.
var ErrVersion = errors.New("address of another protocol version")

const digits = "0123456789abcdefghijklmnopqrstuvwxyz"

// appendNumber appends n to the base 36. Here the base is a constant, which the
// compiler multiplies by where strconv.AppendUint has to divide: every delivery
// writes a number or two.
func appendNumber(b []byte, n uint64) []byte {
	if n < 36 {
		return append(b, digits[n])
	}
	var text [13]byte // of the largest
	i := len(text)
	for ; n > 0; n /= 36 {
		i--
		text[i] = digits[n%36]
	}
	return append(b, text[i:]...)
}

// parseNumber accepts exactly what appendNumber writes.
func parseNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 36, 64)
	if err != nil || strconv.FormatUint(n, 36) != s {
		return 0, fmt.Errorf("%.20q is not a canonical base 36 number", s)
	}
	return n, nil
}

func appendSequence(b []byte, p engine.Position) []byte {
	b = appendNumber(b, p.Seq)
	if p.Tag != 0 {
		b = append(b, '.')
		b = appendNumber(b, uint64(p.Tag))
	}
	return b
}

// parseSequence reads SEQ[.TAG] into p.
func parseSequence(s string, p *engine.Position) error {
	seq, tag, tagged := strings.Cut(s, ".")
	var err error
	if p.Seq, err = parseNumber(seq); err != nil || !tagged {
		return err
	}
	n, err := parseNumber(tag)
	if err != nil || n == 0 || n > 1<<32-1 {
		return fmt.Errorf("%.20q is not a tag", tag)
	}
	p.Tag = uint32(n)
	return nil
}

func validEpoch(s string) bool {
	if len(s) < 1 || len(s) > 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// validGroup reports whether s has the form of a group: up to 32 characters of
// unpadded base64url.
func validGroup(s string) bool {
	return len(s) <= 32 && !strings.ContainsFunc(s, func(c rune) bool {
		return c >= 0x80 || !letterOrDigit(byte(c)) && c != '-' && c != '_'
	})
}

// ValidToken reports whether s has the form of a process's token: 16 to 64
// characters of unpadded base64url.
func ValidToken(s string) bool {
	if len(s) < 16 || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// ValidName reports whether s has the grammar of a channel's name:
// [A-Za-z0-9_][A-Za-z0-9_.:/-]*, at most 128 bytes.
func ValidName(s string) bool {
	if len(s) < 1 || len(s) > 128 || !letterOrDigit(s[0]) && s[0] != '_' {
		return false
	}
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && !strings.ContainsRune("_.:/-", rune(c)) {
			return false
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
