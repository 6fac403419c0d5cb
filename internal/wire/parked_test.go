package wire

import (
	"runtime"
	"testing"
)

// Wake costs no allocation, neither where a writer is to be started nor where
// one is at work or none will ever be.
func TestWakeDoesNotAllocate(t *testing.T) {
	p := &parked{}
	p.write = func() { p.state.Store(idle) }
	fromIdle := testing.AllocsPerRun(1000, func() {
		p.wake()
		for p.state.Load() != idle {
			runtime.Gosched()
		}
	})
	if fromIdle >= 1 { // the runtime may have to make a goroutine now and then
		t.Errorf("from idle: %v allocations", fromIdle)
	}
	for _, state := range []uint32{running, rerun, closed} {
		p.state.Store(state)
		if n := testing.AllocsPerRun(1000, p.wake); n > 0 {
			t.Errorf("in state %d: %v allocations", state, n)
		}
	}
}

// What a wake does to the state, whatever the state is.
func TestWakeStates(t *testing.T) {
	for _, c := range []struct {
		from, to uint32
		starts   bool
	}{
		{idle, running, true},
		{running, rerun, false},
		{rerun, rerun, false},
		{closed, closed, false},
	} {
		writers := make(chan struct{}, 1)
		p := &parked{write: func() { writers <- struct{}{} }}
		p.state.Store(c.from)
		p.wake()
		if got := p.state.Load(); got != c.to {
			t.Errorf("from state %d to %d, want %d", c.from, got, c.to)
		}
		if c.starts {
			<-writers
		}
	}
}

// Buffers that one huge event made are not kept for those that follow.
func TestHugeBuffersAreNotPooled(t *testing.T) {
	huge := &buffers{out: make([]byte, 0, maxPooled+1)}
	huge.release()
	for range 100 {
		if takeBuffers() == huge {
			t.Fatal("huge buffers came back from the pool")
		}
	}
}
