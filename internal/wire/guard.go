package wire

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// A guard keeps the promises made to a Source's owner: Gone is called exactly
// once, and no panic of a Source goes further than its event stream.
type guard struct {
	Source // its Gone is called by end, and by nobody else
	o      *Options
	over   atomic.Bool
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
	g.o.Logger.Error("wire: panic in event stream", "panic", r, "stack", string(debug.Stack()))
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
