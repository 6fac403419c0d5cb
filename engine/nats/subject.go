package nats

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/ocsigo/comet/engine"
)

const hexDigits = "0123456789ABCDEF"

// token returns s as one token of a subject: the characters A-Z, a-z, 0-9, the
// hyphen and the underscore stand for themselves, any other byte is "=" and two hex
// digits, and the empty string is "=" alone. No two strings have the same.
func token(s string) string {
	if s == "" {
		return "="
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// key is how a log's name ends every subject about it.
func key(n engine.Name) string { return token(n.Prefix) + "." + token(n.Channel) }

// random returns n random characters of 0-9 and a-z.
func random(n int) string {
	var b [16]byte
	rand.Read(b[:])
	s := strconv.FormatUint(binary.BigEndian.Uint64(b[:])>>1, 36) + strconv.FormatUint(binary.BigEndian.Uint64(b[8:])>>1, 36)
	for len(s) < n {
		s += "0"
	}
	return s[len(s)-n:]
}

func randomTag() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return max(binary.BigEndian.Uint32(b[:]), 1)
}

func base36(n uint64) string { return strconv.FormatUint(n, 36) }
