package sse

import "hash/crc32"

// An Encoder is what one event stream keeps of its content coding between two
// batches: no buffer and no window, only whether it has begun and what gzip's
// trailer is to say. Its event stream's batches take turns with it: see
// [Batch.ResetFor].
type Encoder struct {
	compressor *Compressor
	begun      bool
	crc, size  uint32 // of all text so far
}

// NewEncoder begins an event stream.
func (c *Compressor) NewEncoder() *Encoder { return &Encoder{compressor: c} }

// add counts text that is part of the stream.
func (e *Encoder) add(text []byte) {
	if e.compressor.format == &gzip {
		e.crc = crc32.Update(e.crc, crc32.IEEETable, text)
		e.size += uint32(len(text))
	}
}
