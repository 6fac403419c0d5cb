package wire

import (
	"sync"

	"github.com/ocsigo/comet/sse"
)

// buffers are what a writer needs while it writes: the batch, and the same
// framed, so that one write carries it all.
type buffers struct {
	batch sse.Batch
	out   []byte
}

// maxPooled bounds what a pooled buffer keeps: one huge event must not make
// every later writer hold its size.
const maxPooled = 256 << 10

var bufferPool = sync.Pool{New: func() any { return new(buffers) }}

func takeBuffers() *buffers { return bufferPool.Get().(*buffers) }

func (b *buffers) release() {
	if cap(b.out) > maxPooled || b.batch.Cap() > maxPooled {
		return
	}
	b.batch.Reset()
	bufferPool.Put(b)
}
