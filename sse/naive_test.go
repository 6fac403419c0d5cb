package sse_test

import (
	"math/big"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ocsigo/comet/sse"
)

// naive is what a reader ends up with, by a second implementation of WHATWG
// 9.2.5 and 9.2.6 that shares nothing with the first: it decodes the whole
// stream, then cuts it by regular expressions.
type naive struct {
	events []sse.Event
	last   string
	retry  time.Duration
}

var (
	naiveLine  = regexp.MustCompile(`([^\r\n]*)(?:\r\n|\r|\n)`)
	naiveField = regexp.MustCompile(`^([^:]*)(?:: ?((?s:.*)))?$`)
	naiveRetry = regexp.MustCompile(`^[0-9]+$`)
)

func naiveRead(stream []byte) naive {
	out := naive{retry: sse.DefaultRetry}
	text := strings.TrimPrefix(naiveDecode(stream), "\uFEFF")
	var block sse.Event
	var data []string
	id := ""
	for _, match := range naiveLine.FindAllStringSubmatch(text, -1) {
		if match[1] == "" {
			out.last = id
			if data != nil {
				block.ID, block.Data = id, []byte(strings.Join(data, "\n"))
				out.events = append(out.events, block)
			}
			block, data = sse.Event{}, nil
			continue
		}
		parts := naiveField.FindStringSubmatch(match[1])
		switch value := parts[2]; {
		case parts[1] == "event":
			block.Name = value
		case parts[1] == "data":
			data = append(data, value)
		case parts[1] == "id" && !strings.Contains(value, "\x00"):
			id, block.HasID = value, true
		case parts[1] == "retry" && naiveRetry.MatchString(value):
			block.Retry = naiveMilliseconds(value)
			out.retry = block.Retry
		}
	}
	return out
}

func naiveMilliseconds(digits string) time.Duration {
	n, _ := new(big.Int).SetString(digits, 10)
	n.Mul(n, big.NewInt(int64(time.Millisecond)))
	if !n.IsInt64() {
		return 1<<63 - 1
	}
	return time.Duration(n.Int64())
}

// naivePrefixes holds every proper beginning of every character's UTF-8.
var naivePrefixes = sync.OnceValue(func() map[string]bool {
	prefixes := map[string]bool{}
	for r := rune(utf8.RuneSelf); r <= utf8.MaxRune; r++ {
		if s := string(r); utf8.ValidRune(r) {
			for n := 1; n < len(s); n++ {
				prefixes[s[:n]] = true
			}
		}
	}
	return prefixes
})

// naiveDecode puts one U+FFFD for each longest beginning of a character that
// does not go on, and for each byte that begins none.
func naiveDecode(stream []byte) string {
	if utf8.Valid(stream) {
		return string(stream)
	}
	var out strings.Builder
	for s := string(stream); s != ""; {
		n := 1
		switch r, size := utf8.DecodeRuneInString(s); {
		case r != utf8.RuneError || size == 3:
			n = size
			out.WriteString(s[:n])
		default:
			for n < len(s) && naivePrefixes()[s[:n+1]] {
				n++
			}
			out.WriteString("\uFFFD")
		}
		s = s[n:]
	}
	return out.String()
}
