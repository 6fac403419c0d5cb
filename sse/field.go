package sse

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// unsafeBytes would end a line (CR, LF), or make browsers disagree (NUL: an id
// with one is ignored by the standard, and ends the stream in Firefox).
const unsafeBytes = "\r\n\x00"

func isUnsafe(c byte) bool { return c == '\r' || c == '\n' || c == 0 }

// checkText says why text cannot be the value of an id or event line.
func checkText(what, text string) error {
	if i := strings.IndexAny(text, unsafeBytes); i >= 0 {
		return fmt.Errorf("sse: the %s %.64q has %q at byte %d: CR, LF and NUL are not allowed, since they end a line or the event; remove or encode them", what, text, text[i], i)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("sse: the %s %.64q is not valid UTF-8: a reader would see another %s; encode it", what, text, what)
	}
	return nil
}

// appendField appends one field line. What checkText refuses for its bytes
// becomes U+FFFD, so the line cannot end early whatever the value.
func appendField[T string | []byte](b []byte, field string, value T) []byte {
	b = append(b, field...)
	if len(value) > 0 {
		b = append(b, ' ')
	}
	for i := range len(value) {
		if isUnsafe(value[i]) {
			return append(appendReplaced(b, value), '\n')
		}
	}
	b = append(b, value...)
	return append(b, '\n')
}

func appendReplaced[T string | []byte](b []byte, value T) []byte {
	for i := range len(value) {
		if c := value[i]; isUnsafe(c) {
			b = utf8.AppendRune(b, utf8.RuneError)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// appendLines appends text as lines of one field, one for each line of text:
// n line ends make n+1 lines, so that joining them with LF gives the text back.
//
// It looks for LF first and for CR within what LF bounds, never for both at
// once to the end: the time stays linear in text made of CRs alone.
func appendLines(b []byte, field string, text []byte) []byte {
	for {
		segment, rest, ended := bytes.Cut(text, []byte{'\n'})
		if ended {
			segment = bytes.TrimSuffix(segment, []byte{'\r'})
		}
		for cr := true; cr; {
			var line []byte
			line, segment, cr = bytes.Cut(segment, []byte{'\r'})
			b = appendLine(b, field, line)
		}
		if !ended {
			return b
		}
		text = rest
	}
}

// appendLine appends a field line whose value is known to have no line end.
func appendLine(b []byte, field string, value []byte) []byte {
	b = append(b, field...)
	if len(value) > 0 {
		b = append(b, ' ')
		b = append(b, value...)
	}
	return append(b, '\n')
}

// appendRetry appends a retry line: whole milliseconds, rounded up, so that a
// wait asked for is never written as none.
func appendRetry(b []byte, d time.Duration) []byte {
	d = max(d, 0)
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond != 0 {
		ms++
	}
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, ms, 10)
	return append(b, '\n')
}
