package harness

import (
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
)

// missed is how many values are published while all streams are away.
const missed = 10

// reconnect cuts all streams, publishes, and has all of them come back for what
// they missed. Servers that do not replay have no such figure.
func (b *bench) reconnect() error {
	if b.Resume == "" {
		return nil
	}
	requests := again(b.Child, b.crowd, b.requests)
	b.crowd.Cut()
	time.Sleep(settle)
	if _, err := b.Do(control.Command{Op: "publish", Count: missed, Size: 64, Every: 20 * time.Millisecond}); err != nil {
		return err
	}
	time.Sleep(settle)
	before, err := b.cpu()
	if err != nil {
		return err
	}
	b.crowd.Start(missed * b.n)
	if err := b.crowd.Reconnect(requests, patience); err != nil {
		return err
	}
	if err := b.crowd.Await(missed*b.n, patience); err != nil {
		return err
	}
	if err := b.crowd.Linger(settle / 8); err != nil {
		return err
	}
	after, err := b.cpu()
	if err != nil {
		return err
	}
	b.report(Replay, micros(after-before, b.n))
	return nil
}
