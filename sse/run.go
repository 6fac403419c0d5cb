package sse

// A run is what an encoded batch collects of the stream's own text: ids, small
// events, comments. It stands in the buffer as it is, after room for the head
// of an uncompressed block, and is sealed by writing that head, or by putting
// compressed blocks in its place.

// own makes sure that what is appended now belongs to a run.
func (b *Batch) own() {
	if b.enc == nil || b.run > 0 {
		return
	}
	f := b.enc.compressor.format
	if !b.enc.begun {
		b.enc.begun = true
		b.buf = append(b.buf, f.header...)
	}
	b.buf = append(b.buf, f.prefix...)
	b.buf = append(b.buf, make([]byte, f.room)...)
	b.run = len(b.buf)
}

// share appends the frame as the block that it is for all event streams or,
// where there is none, to the run.
func (b *Batch) share(f *Frame) {
	block := f.block(b.enc.compressor)
	if block == nil {
		b.buf = append(b.buf, f.text...)
		return
	}
	b.seal(true)
	b.enc.add(f.text)
	b.buf = append(b.buf, block...)
}

// seal ends the run, if there is one, and tells whether it stays uncompressed.
// More says that a block follows it.
func (b *Batch) seal(more bool) (plain bool) {
	if b.run == 0 {
		return false
	}
	c, text, head := b.enc.compressor, b.buf[b.run:], b.run-b.enc.compressor.format.room
	b.run = 0
	b.enc.add(text)
	switch {
	case len(text) >= minRun && b.compress(head, text):
		if more && c.format.prefix != "" {
			b.own()
			b.seal(true)
		}
		return false
	case len(text) > c.format.limit:
		b.split(head, text, more)
	default:
		c.format.appendHead(b.buf[:head], len(text), more)
	}
	return true
}

// compress puts text compressed in the place of the run whose head is at head,
// if that is smaller.
func (b *Batch) compress(head int, text []byte) bool {
	c := b.enc.compressor
	b.scratch = c.compress(b.scratch[:0], text)
	if !c.format.pays(len(b.scratch), len(text)) {
		return false
	}
	b.buf = append(b.buf[:head], b.scratch...)
	return true
}

// split makes of text, which is too long for one uncompressed block, several.
func (b *Batch) split(head int, text []byte, more bool) {
	f := b.enc.compressor.format
	b.scratch = append(b.scratch[:0], text...)
	b.buf = b.buf[:head]
	for rest := b.scratch; len(rest) > 0; {
		piece := rest[:min(len(rest), f.limit)]
		rest = rest[len(piece):]
		b.buf = f.appendHead(b.buf, len(piece), more || len(rest) > 0)
		b.buf = append(b.buf, piece...)
	}
}
