package harness

import (
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
)

// idle connects a tenth of the streams, then all, and takes the slopes between: what
// a server costs without readers is not a reader's.
func (b *bench) idle() error {
	tenth := max(b.n/10, 1)
	if _, err := b.connect(tenth); err != nil {
		return err
	}
	few, err := b.memory()
	if err != nil {
		return err
	}
	cpu, err := b.connect(b.n)
	if err != nil {
		return err
	}
	all, err := b.memory()
	if err != nil {
		return err
	}
	more := b.n - tenth
	b.report(Connect, micros(cpu, more))
	b.report(RSSSlope, float64(all.RSS-few.RSS)/float64(more))
	b.report(HeapSlope, float64(all.Heap-few.Heap)/float64(more))
	b.report(Goroutines, float64(all.Goroutines-few.Goroutines)/float64(more))
	b.few, b.tenth = few, tenth
	return nil
}

// used is the slope of RSS once the streams were used.
func (b *bench) used() error {
	now, err := b.memory()
	if err != nil {
		return err
	}
	b.report(RSSAfter, float64(now.RSS-b.few.RSS)/float64(b.n-b.tenth))
	return nil
}

// connect opens streams until there are n, and returns the server's CPU time for
// the streams alone, without their pages.
func (b *bench) connect(n int) (time.Duration, error) {
	requests, err := pages(b.Child, b.row, b.crowd.Size(), n)
	if err != nil {
		return 0, err
	}
	before, err := b.cpu()
	if err != nil {
		return 0, err
	}
	if err := b.crowd.Connect(requests, patience); err != nil {
		return 0, err
	}
	if err := b.crowd.Linger(settle / 8); err != nil {
		return 0, err
	}
	after, err := b.cpu()
	b.requests = append(b.requests, requests...)
	return after - before, err
}

func (b *bench) memory() (control.Reply, error) {
	if err := b.crowd.Linger(settle); err != nil {
		return control.Reply{}, err
	}
	return b.Do(control.Command{Op: "memory"})
}
