package sse

import "unicode/utf8"

// decode is the standard's "UTF-8 decode" without the byte order mark: each
// maximal sequence that is no character becomes one U+FFFD, as in a browser.
// (Go's own conversions differ: a rune loop gives one for each byte,
// bytes.ToValidUTF8 one for each run.) Valid text is returned as it is.
//
// A part of a stream cut at CR, LF, colon or space decodes to what it is in the
// decoded stream: those bytes occur in no longer sequence.
func decode(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	decoded := make([]byte, 0, len(text)+len(text)/2)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			n = truncated(text)
		}
		decoded = utf8.AppendRune(decoded, r)
		text = text[n:]
	}
	return decoded
}

// truncated is how many bytes at the start of invalid text began a character
// that does not go on; at least 1.
func truncated(text []byte) int {
	n := 1
	for n < len(text) && !utf8.FullRune(text[:n+1]) {
		n++
	}
	return n
}
