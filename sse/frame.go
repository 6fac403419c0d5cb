package sse

import (
	"bytes"
	"sync/atomic"
)

// A Frame is an event's bytes without what differs from reader to reader: its
// event and data lines, without an id line and without the closing blank line.
// It is made once, by [NewFrame], and never changes: any number of event
// streams may share it at the same time. So they do its compressed form, which
// is made when the first event stream of a [Compressor] asks for it, and kept.
type Frame struct {
	text   []byte // with the closing blank line: all of it that is shared
	blocks [formats]atomic.Pointer[[]byte]
}

// NewFrame makes the frame of an event with this name (empty: unnamed) and
// data. It copies data, so the caller may reuse it. It errors if the name has
// a CR, an LF or a NUL or is not valid UTF-8; data may be anything.
func NewFrame(event string, data []byte) (*Frame, error) {
	if err := checkText("event name", event); err != nil {
		return nil, err
	}
	text := appendBody(make([]byte, 0, frameSize(event, data)), event, data)
	return &Frame{text: append(text, '\n')}, nil
}

// frameSize is exact but for empty lines and CRLFs, which it takes for more
// than they become: frames are kept, so growing by doubling would waste memory.
func frameSize(event string, data []byte) int {
	lines := 1 + bytes.Count(data, []byte{'\n'}) + bytes.Count(data, []byte{'\r'})
	return len("event: \n") + len(event) + len(data) + lines*len("data: \n") + len("\n")
}

// Len is the frame's length in bytes.
func (f *Frame) Len() int { return len(f.text) - len("\n") }

// AppendTo appends the frame's bytes to b.
func (f *Frame) AppendTo(b []byte) []byte { return append(b, f.text[:f.Len()]...) }

// block is the frame's text and blank line as a block of c's; nil where that
// does not pay. Two streams may both make the first one; they keep the same.
func (f *Frame) block(c *Compressor) []byte {
	if len(f.text) < minBlock {
		return nil
	}
	slot := &f.blocks[c.format.slot]
	if made := slot.Load(); made != nil {
		return *made
	}
	var block []byte
	if made := c.compress(nil, f.text); c.format.pays(len(made), len(f.text)) {
		block = bytes.Clone(made)
	}
	if !slot.CompareAndSwap(nil, &block) {
		block = *slot.Load()
	}
	return block
}
