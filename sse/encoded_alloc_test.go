//go:build !race

package sse_test

import (
	"testing"

	"github.com/ocsigo/comet/sse"
)

// Under the race detector a sync.Pool forgets at random, so this is without.

// An encoded batch that has grown costs no allocation once its frames were
// compressed, whatever is the stream's own.
func TestEncodedBatchAllocates(t *testing.T) {
	eachCoding(t, func(t *testing.T, c coding) {
		f := mustFrame(t, "chat", messages(t, 1, 600)[0])
		own, id := messages(t, 1, 2000)[0], []byte("c1.2a")
		e := c.make(t).NewEncoder()
		var b sse.Batch
		fill := func() {
			b.ResetFor(e)
			b.Frame(id, f)
			b.Event(id, "unread", own)
			b.Event(id, "unread", []byte("3"))
			b.Bytes()
		}
		for range 10 { // pools fill
			fill()
		}
		if n := testing.AllocsPerRun(1000, fill); n != 0 {
			t.Errorf("a batch allocates %v times, want 0", n)
		}
	})
}
