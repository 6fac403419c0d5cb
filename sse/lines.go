package sse

import (
	"bytes"
	"io"
	"slices"
)

// lines cuts a stream into lines ended by CR, LF or CRLF. A line that ends in
// CR is complete at once: the LF that may follow is taken off the next read,
// so nobody waits for it.
type lines struct {
	src     io.Reader
	buf     []byte // what was read
	start   int    // buf[:start] was returned
	scanned int    // buf[start:start+scanned] has no line end
	afterCR bool   // an LF at start belongs to the line before
	err     error  // the source's error, once it has given one
}

// next returns the next line without its end, valid until fill is called. If no
// whole line was read yet it returns what there is of it, and false.
func (l *lines) next() (line []byte, ok bool) {
	if l.afterCR && l.start < len(l.buf) {
		if l.buf[l.start] == '\n' {
			l.start++
		}
		l.afterCR = false
	}
	unread := l.buf[l.start:]
	i := indexEnd(unread[l.scanned:])
	if i < 0 {
		l.scanned = len(unread)
		return unread, false
	}
	i += l.scanned
	l.start += i + 1
	l.scanned = 0
	l.afterCR = unread[i] == '\r'
	return unread[:i], true
}

// indexEnd is the place of the first CR or LF in b, or -1. It looks for both in
// a window at a time: to look for one up to the end, before every line that the
// other ends, would take time quadratic in the lines.
func indexEnd(b []byte) int {
	const window = 512
	for from := 0; from < len(b); from += window {
		part := b[from:min(from+window, len(b))]
		lf := bytes.IndexByte(part, '\n')
		if lf >= 0 {
			part = part[:lf]
		}
		if cr := bytes.IndexByte(part, '\r'); cr >= 0 {
			return from + cr
		}
		if lf >= 0 {
			return from + lf
		}
	}
	return -1
}

// fill reads once more. The source's error is returned after all that came
// with it was taken.
func (l *lines) fill() error {
	if l.err != nil {
		return l.err
	}
	l.makeRoom()
	// As bufio does: a source that keeps giving nothing is broken.
	for range 100 {
		var n int
		n, l.err = l.src.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		if n > 0 {
			return nil
		}
		if l.err != nil {
			return l.err
		}
	}
	l.err = io.ErrNoProgress
	return l.err
}

// makeRoom moves the unfinished line to the front, and doubles a buffer it fills.
func (l *lines) makeRoom() {
	l.buf = l.buf[:copy(l.buf, l.buf[l.start:])]
	l.start = 0
	if len(l.buf) == cap(l.buf) {
		l.buf = slices.Grow(l.buf, max(readSize, len(l.buf)))
	}
}
