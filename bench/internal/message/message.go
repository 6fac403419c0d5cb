// Package message is what the servers publish and the client checks: text that
// says of itself which channel it is of, which value of that channel it is, and
// when it was published.
//
// A message is ~CHANNEL~SEQUENCE~NANOSECONDS~ and dots up to its size. It has no
// blank, quote or line end, so that it means the same as an event's data and
// inside a JSON string.
package message

import (
	"bytes"
	"strconv"
)

// Min is the least size of a message, in bytes.
const Min = 48

// A Message is one value of one channel.
type Message struct {
	Channel int
	Seq     int64 // the channel's first is 1
	At      int64 // when it was published, in Unix nanoseconds
}

const mark = '~'

// Append appends m to dst, padded to size bytes, or Min if that is more.
func (m Message) Append(dst []byte, size int) []byte {
	end := len(dst) + max(size, Min)
	dst = append(dst, mark)
	dst = strconv.AppendInt(dst, int64(m.Channel), 10)
	dst = append(dst, mark)
	dst = strconv.AppendInt(dst, m.Seq, 10)
	dst = append(dst, mark)
	dst = strconv.AppendInt(dst, m.At, 10)
	dst = append(dst, mark)
	for len(dst) < end {
		dst = append(dst, '.')
	}
	return dst
}

// Next finds the first message in b, and returns what follows its numbers. Found
// is false if there is none.
func Next(b []byte) (m Message, rest []byte, found bool) {
	i := bytes.IndexByte(b, mark)
	if i < 0 {
		return m, nil, false
	}
	channel, b, ok1 := number(b[i+1:])
	seq, b, ok2 := number(b)
	at, b, ok3 := number(b)
	return Message{int(channel), seq, at}, b, ok1 && ok2 && ok3
}

// number reads decimal digits up to a mark.
func number(b []byte) (n int64, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c == mark:
			return n, b[i+1:], i > 0
		case c < '0' || c > '9' || i > 18:
			return 0, nil, false
		}
		n = 10*n + int64(c-'0')
	}
	return 0, nil, false
}
