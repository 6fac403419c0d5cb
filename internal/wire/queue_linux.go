package wire

import (
	"runtime"
	"sync"
)

// yieldEvery is after how many runs a worker lets the process's other goroutines
// go first: a request must not wait for a whole fan-out.
const yieldEvery = 4

// maxRun is how many streams a worker takes at a time: few enough to leave some
// to the others, and enough that a fan-out is not all locking.
const maxRun = 8

// queues hold the streams that are due a turn, and start the workers that give
// it: at most one a queue, and only while there is something to do. There are
// as many as the process has processors, so that they share neither work nor
// lock; but a worker without work takes that of others.
type queues []queue

type queue struct {
	mu          sync.Mutex
	first, last *taken
	working     bool
	work        func() // the worker, as a func value: push must not allocate

	_ [24]byte // a cache line each
}

func newQueues() queues {
	all := make(queues, runtime.GOMAXPROCS(0))
	for i := range all {
		all[i].work = func() { all.work(i) }
	}
	return all
}

// push puts s, which is in no queue, at the end of one. It does not block.
func (all queues) push(s *taken) {
	q := &all[int(s.sock.number)%len(all)]
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first == nil {
		q.first = s
	} else {
		q.last.next = s
	}
	q.last = s
	if !q.working {
		q.working = true
		go q.work()
	}
}

// pop takes the first streams out of q, by next; nil: it is empty.
func (q *queue) pop() *taken {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first == nil {
		return nil
	}
	run, end := q.first, q.first
	for n := 1; n < maxRun && end.next != nil; n++ {
		end = end.next
	}
	q.first, end.next = end.next, nil
	return run
}

// work is the worker of queue i. The buffers are its own: an idle stream has
// none.
func (all queues) work(i int) {
	buf := takeBuffers()
	defer buf.release()
	for n := 1; ; n++ {
		run := all.next(i)
		if run == nil {
			return
		}
		for run != nil {
			s := run
			run, s.next = s.next, nil // after its turn it may be in a queue again
			if s.turn(buf, nil) {
				all.push(s)
			}
		}
		if n%yieldEvery == 0 {
			runtime.Gosched()
		}
	}
}

// next are the streams that worker i is to give a turn: its own queue's first,
// else another's. At nil the worker must leave; a push starts its successor.
func (all queues) next(i int) *taken {
	for {
		for k := range all {
			if s := all[(i+k)%len(all)].pop(); s != nil {
				return s
			}
		}
		if all[i].dismiss() {
			return nil
		}
	}
}

// dismiss lets q's worker go, unless q has work after all.
func (q *queue) dismiss() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working = q.first != nil
	return !q.working
}
