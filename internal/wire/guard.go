package wire

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/sse"
)

// A guard keeps the promises made to a Source's owner: Gone is called exactly
// once, and no panic of a Source goes further than its event stream.
type guard struct {
	Source  // its Gone is called by end, and by nobody else
	o       *Options
	encoder *sse.Encoder // of what is written; nil: it is written as it is
	over    atomic.Bool
}

// collect fills b with what the source has to say now, and gives it as it is to
// be written. At io.EOF that is the last of it.
func (g *guard) collect(b *sse.Batch) (data []byte, more bool, err error) {
	b.ResetFor(g.encoder)
	more, err = g.Collect(b, g.o.Budget)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if err == io.EOF {
		b.End()
	}
	return b.Bytes(), more, err
}

// wrote tells a source that wants to know.
func (g *guard) wrote(after time.Duration) {
	if t, ok := g.Source.(Timed); ok {
		t.Wrote(after)
	}
}

// end calls Gone, the first time only.
func (g *guard) end(cause error) {
	if g.over.Swap(true) {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			g.panicked(r)
		}
	}()
	g.Gone(cause)
}

// panicked makes a cause of what recover returned. It is called from the
// deferred function, where the stack is still that of the panic.
func (g *guard) panicked(r any) error {
	g.o.Logger.Error("comet: panic in an event stream", "panic", r, "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %v", ErrPanic, r)
}

// endIfDropped calls Gone when the garbage collector finds that fasthttp let go
// of response without running it. fasthttp tells nobody: it forgets a response
// that a timeout handler overtook, and the first of two hijacks. Nothing that g
// reaches may hold response; Start hands out such a reference, so the one who
// calls Start stops the cleanup first.
func endIfDropped[T any](response *T, g *guard) runtime.Cleanup {
	return runtime.AddCleanup(response, func(g *guard) {
		// Gone may take locks; the cleanups of others wait for this function.
		go g.end(fmt.Errorf("%w: the server dropped the response", ErrNotStarted))
	}, g)
}
