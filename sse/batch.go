package sse

import "time"

// A Batch is what is pending for one event stream, to be written in one write.
// Each call appends one whole block, blank line included, so a Batch always
// ends where an event may begin.
//
// It is text as it is, unless [Batch.ResetFor] has it encoded.
//
// The zero Batch is empty and ready. It copies what it is given and keeps its
// buffer over [Batch.Reset]: once it has grown to its working size, Frame, Event
// and Retry do not allocate. It is not for concurrent use.
//
// A Batch has no errors to return: ids and names are for the caller to check.
// In one that was not checked, each CR, LF and NUL is written as U+FFFD; it
// never becomes a line of its own.
type Batch struct {
	buf    []byte
	events int

	enc     *Encoder // nil: identity
	run     int      // where the run begins in buf; 0: there is none
	scratch []byte
}

// Frame appends an event made before, under this id. An empty or nil id writes
// no id line, so the reader's last event id stays.
func (b *Batch) Frame(id []byte, f *Frame) {
	b.begin(id)
	if b.enc != nil {
		b.share(f)
		return
	}
	b.buf = append(b.buf, f.text...)
}

// Event appends an event made on the spot: one that has a single reader, and
// so no use for a [Frame]. An empty or nil id writes no id line; an empty name
// leaves the event unnamed. Data may be anything.
func (b *Batch) Event(id []byte, name string, data []byte) {
	b.begin(id)
	alone := b.enc != nil && len(data) >= minRun
	if alone {
		b.seal(false)
		b.own()
	}
	b.buf = appendBody(b.buf, name, data)
	b.buf = append(b.buf, '\n')
	if alone && b.seal(false) {
		b.buf = append(b.buf, b.enc.compressor.format.flush...)
	}
}

func (b *Batch) begin(id []byte) {
	b.events++
	b.own()
	if len(id) > 0 {
		b.buf = appendField(b.buf, "id:", id)
	}
}

// Retry appends a block that sets how long the client waits before it
// reconnects, and no event. It is written in whole milliseconds, rounded up; a
// negative d as 0. (Chromium 156 obeys any value, Firefox 153 waits at least
// 500 ms.)
func (b *Batch) Retry(d time.Duration) {
	b.own()
	b.buf = appendRetry(b.buf, d)
	b.buf = append(b.buf, '\n')
}

// Comment appends a block of comment, one line for each line of text. Readers
// ignore it; scripts in a browser cannot see it.
func (b *Batch) Comment(text string) {
	b.own()
	b.buf = appendLines(b.buf, ":", []byte(text))
	b.buf = append(b.buf, '\n')
}

// Len is the batch's length in bytes, with all that was added since [Batch.Bytes]
// was called last uncompressed but for frames.
func (b *Batch) Len() int { return len(b.buf) }

// Events is how many events the batch holds: its calls of Frame and Event.
func (b *Batch) Events() int { return b.events }

// Bytes is the batch as it is to be written. It is valid until the next call of
// another method that changes the batch, and is not to be modified. An encoded
// batch compresses here what is its stream's own; what is added afterwards
// is encoded after it.
func (b *Batch) Bytes() []byte {
	if b.seal(false) {
		b.buf = append(b.buf, b.enc.compressor.format.flush...)
	}
	return b.buf
}

// Cap is the memory that the batch keeps over a Reset, in bytes: who pools
// batches can drop large ones by it.
func (b *Batch) Cap() int { return cap(b.buf) + cap(b.scratch) }

// Reset empties the batch and keeps its buffer. It is text again.
func (b *Batch) Reset() { b.ResetFor(nil) }

// ResetFor empties the batch and has it go on with the event stream of e: what
// it is given is encoded from here on. Batches of one event stream are to be
// written in the order in which they were filled, one at a time, and none left
// out. A nil e leaves the batch text.
func (b *Batch) ResetFor(e *Encoder) {
	b.buf = b.buf[:0]
	b.events = 0
	b.enc = e
	b.run = 0
}

// End appends what says to a reader that the event stream is complete: gzip's
// trailer. In text and in zstd there is nothing to say.
func (b *Batch) End() {
	if b.enc == nil {
		return
	}
	if !b.enc.begun {
		b.own() // for the header
	}
	b.seal(false)
	b.buf = b.enc.compressor.format.appendEnd(b.buf, b.enc.crc, b.enc.size)
}
