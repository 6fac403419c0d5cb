// Package wheel keeps many coarse timers behind one timer of the runtime.
//
// A heartbeat for each of 100,000 event streams is 100,000 timers that nearly
// always are moved or stopped before they fire. Starting, moving and stopping one
// costs O(1) here and, but for the start, no allocation; the runtime sees a single
// timer, armed only while something is pending, and one goroutine a tick that has
// something to do.
//
// The timers sit in a hierarchy of wheels as in Varghese and Lauck, "Hashed and
// Hierarchical Timing Wheels" (1987): level 0 has a slot for each of the next 64
// ticks, level n a slot for each of the next 64 spans of 64^n ticks. When time
// reaches a slot above level 0, its timers move to the levels below.
package wheel

import (
	"math"
	"sync"
	"time"
)

// Wheel fires timers in steps of its tick. Its methods and those of its timers
// may be called from any goroutine, also from a timer's function (except Close).
type Wheel struct {
	tick  time.Duration
	start time.Time // tick 0

	mu      sync.Mutex
	idle    sync.Cond // signalled when running ends
	now     uint64    // ticks that are done; every pending timer is after it
	levels  levels
	due     list        // taken out of the levels, their functions not yet called
	pending int         // timers in levels and due
	runtime *time.Timer // nil until first used
	armed   uint64      // tick for which runtime is armed, never when it is not
	running bool        // one goroutine is in run
	closed  bool
}

const never = math.MaxUint64

// Timer calls a function when its time has come, once for each time it is started.
// Only a Wheel makes Timers.
type Timer struct {
	wheel      *Wheel
	f          func()
	when       uint64 // tick at which it fires
	at         place
	prev, next *Timer
}

// New returns a Wheel whose timers fire at most one tick late. It panics when
// tick is not positive.
func New(tick time.Duration) *Wheel {
	if tick <= 0 {
		panic("wheel: New needs a tick above 0")
	}
	w := &Wheel{tick: tick, start: time.Now(), armed: never}
	w.idle.L = &w.mu
	return w
}

// NewTimer returns a stopped timer, for Reset to start. A function that uses its
// own Timer needs this one, since it may be called before After returned.
//
// The functions of a Wheel are called one after the other on its goroutine: f must
// not block, or it delays all others, and must not panic, or the program ends.
func (w *Wheel) NewTimer(f func()) *Timer {
	return &Timer{wheel: w, f: f}
}

// After calls f, which keeps to what NewTimer says, once: not before d has passed
// and at most one tick later. On a closed Wheel f is never called.
func (w *Wheel) After(d time.Duration, f func()) *Timer {
	t := w.NewTimer(f)
	t.Reset(d)
	return t
}

// Reset moves t, pending or not, to d from now, and reports whether it was
// pending. f is not called again before a call that is under way has returned.
func (t *Timer) Reset(d time.Duration) bool {
	w := t.wheel
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.remove(t)
	if !w.closed {
		w.add(t, d)
	}
	return was
}

// Stop reports whether it prevented the call of f. After false, f was called, is
// being called, or had been stopped before.
func (t *Timer) Stop() bool {
	w := t.wheel
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.remove(t)
	if w.pending == 0 {
		w.disarm()
	}
	return was
}

// Close stops all timers and waits for the function being called to return:
// after Close none is called, and nothing of the Wheel runs. It must not be called
// from a timer's function. A second Close only waits.
func (w *Wheel) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.levels.clear()
	w.due.clear()
	w.pending = 0
	w.disarm()
	for w.running {
		w.idle.Wait()
	}
}

func (w *Wheel) remove(t *Timer) (was bool) {
	if t.at.none() {
		return false
	}
	if t.at.due() {
		w.due.unlink(t)
	} else {
		w.levels.unlink(t)
	}
	w.pending--
	return true
}

func (w *Wheel) add(t *Timer, d time.Duration) {
	elapsed := time.Since(w.start)
	if w.pending == 0 && !w.running {
		w.now = max(w.now, uint64(elapsed/w.tick))
	}
	t.when = max(w.ceil(elapsed, d), w.now+1)
	w.levels.insert(w.now, t)
	w.pending++
	if first := w.levels.first(w.now); first < w.armed && !w.running {
		w.arm(first, elapsed)
	}
}

// ceil returns the first tick at or after elapsed + d.
func (w *Wheel) ceil(elapsed, d time.Duration) uint64 {
	d = min(max(d, 0), math.MaxInt64-elapsed)
	ticks := (elapsed + d) / w.tick
	if ticks*w.tick < elapsed+d {
		ticks++
	}
	return uint64(ticks)
}

func (w *Wheel) arm(tick uint64, elapsed time.Duration) {
	w.armed = tick
	d := time.Duration(math.MaxInt64)
	if tick <= math.MaxInt64/uint64(w.tick) {
		d = time.Duration(tick)*w.tick - elapsed
	}
	if w.runtime == nil {
		w.runtime = time.AfterFunc(d, w.run)
		return
	}
	w.runtime.Reset(d)
}

func (w *Wheel) disarm() {
	if w.armed != never {
		w.runtime.Stop()
		w.armed = never
	}
}

// run calls what is due, on the goroutine of the runtime's timer, and arms that
// for the rest. A runtime timer that fired just before it was stopped or moved
// finds nothing due, or another goroutine running, and both are harmless.
func (w *Wheel) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running || w.closed {
		return
	}
	w.running = true
	w.armed = never
	for w.advance() {
		w.fire()
	}
	w.running = false
	w.idle.Broadcast()
	if first := w.levels.first(w.now); first != never {
		w.arm(first, time.Since(w.start))
	}
}

// advance moves time on to now, and reports whether something is due.
func (w *Wheel) advance() bool {
	now := uint64(time.Since(w.start) / w.tick)
	for first := w.levels.first(w.now); first <= now; first = w.levels.first(w.now) {
		w.now = first
		w.levels.cascade(first, &w.due)
	}
	w.now = max(w.now, now)
	return !w.due.empty()
}

// fire takes one timer after the other and the lock in between, so that a timer
// may be stopped until its own turn.
func (w *Wheel) fire() {
	for !w.due.empty() {
		t := w.due.head
		w.due.unlink(t)
		w.pending--
		w.mu.Unlock()
		t.f()
		w.mu.Lock()
	}
}
