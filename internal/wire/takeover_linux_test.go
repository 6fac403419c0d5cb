package wire

import (
	"fmt"
	"testing"
	"time"
	"unsafe"
)

// An idle stream is what there is of its struct, its guard's and its wake's.
func TestIdleSize(t *testing.T) {
	if size := unsafe.Sizeof(taken{}) + unsafe.Sizeof(guard{}) + 16; size > 128 {
		t.Errorf("an idle stream has %d bytes", size)
	}
	if size := unsafe.Sizeof(queue{}); size != 64 {
		t.Errorf("a queue has %d bytes, not a cache line", size)
	}
}

// unmanned makes queues without workers.
func unmanned() queues {
	all := newQueues()
	for i := range all {
		all[i].working = true
	}
	return all
}

// What news do to the state, whatever the state is, and whether the stream is
// queued by them: exactly if nobody has it and there is something to do.
func TestPost(t *testing.T) {
	for _, c := range []struct {
		from, add, to uint32
		queued        bool
	}{
		{0, woken, woken | scheduled, true},
		{0, left, left | scheduled, true},
		{0, writable, 0, false},
		{scheduled, woken, scheduled | woken, false},
		{scheduled, writable, scheduled | writable, false},
		{scheduled | woken, woken, scheduled | woken, false},
		{scheduled | woken, left, scheduled | woken | left, false},
		{waiting, woken, waiting | woken, false},
		{waiting, writable, waiting | writable | scheduled, true},
		{waiting | woken, woken, waiting | woken, false},
		{waiting | woken, writable, waiting | woken | writable | scheduled, true},
		{waiting | woken, late, waiting | woken | late | scheduled, true},
		{waiting, spoke | writable, waiting | spoke | writable | scheduled, true},
		{over, woken, over, false},
		{over, left, over, false},
	} {
		t.Run(fmt.Sprintf("%b+%b", c.from, c.add), func(t *testing.T) {
			s := &taken{sock: descriptor{set: &poller{queues: unmanned()}}}
			s.state.Store(c.from)
			s.post(c.add)
			if got := s.state.Load(); got != c.to {
				t.Errorf("to %b, want %b", got, c.to)
			}
			if queued := s.sock.set.queues[0].pop() == s; queued != c.queued {
				t.Errorf("queued: %v, want %v", queued, c.queued)
			}
		})
	}
}

// The holder leaves when there are no news that matter: a wake does not, where
// something keeps the stream from collecting.
func TestLeave(t *testing.T) {
	for _, c := range []struct {
		state uint32
		next  step
		to    uint32
		left  bool
	}{
		{scheduled, quiet, 0, true},
		{scheduled | woken, quiet, scheduled | woken, false},
		{scheduled | left, quiet, scheduled | left, false},
		{scheduled, stuck, waiting, true},
		{scheduled | woken, stuck, waiting | woken, true},
		{scheduled | woken | writable, stuck, scheduled | woken | writable, false},
		{scheduled | late, stuck, scheduled | late, false},
	} {
		s := &taken{}
		s.state.Store(c.state)
		if left := s.leave(c.next); left != c.left || s.state.Load() != c.to {
			t.Errorf("from %b (%d): left %v to %b, want %v to %b", c.state, c.next, left, s.state.Load(), c.left, c.to)
		}
	}
}

// Streams come out of the queues in the order of their coming, those of other
// queues too, each once and few at a time.
func TestQueues(t *testing.T) {
	all := unmanned()
	const n = 100
	for i := range n {
		all.push(&taken{sock: descriptor{number: int32(i)}})
	}
	seen := map[int32]bool{}
	last := make([]int32, len(all))
	for run := all.next(0); run != nil; run = all.next(0) {
		length := 0
		for s := run; s != nil; s = s.next {
			q := int(s.sock.number) % len(all)
			if seen[s.sock.number] || s.sock.number < last[q] {
				t.Errorf("stream %d came twice, or out of order", s.sock.number)
			}
			seen[s.sock.number], last[q] = true, s.sock.number
			length++
		}
		if length > maxRun {
			t.Errorf("%d streams came out at a time", length)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d streams came out", len(seen), n)
	}
	if all[0].working {
		t.Error("the worker was sent away and counts as working")
	}
}

// News that a time is up may be of a time that was given before: only the
// backlog itself says whether it is.
func TestTimeIsUp(t *testing.T) {
	ours, _ := socketPair(t)
	s := still(t, ours)
	s.backlog = s.newBacklog([]byte("rest"), false)
	for d, want := range map[time.Duration]error{time.Hour: nil, 0: ErrWriteTimeout} {
		s.backlog.within(d)
		s.backlog.timer.Stop()
		s.backlog.rest = []byte("rest")
		if _, err := s.round(nil, nil, late); err != want {
			t.Errorf("late within %v: %v", d, err)
		}
		s.backlog = s.newBacklog(nil, false)
	}
}
