package harness

import (
	"fmt"
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
	"github.com/ocsigo/comet/bench/internal/load"
)

const (
	// Readers is how many there are in the case of the stalled reader.
	Readers = 100
	// toStall is how many values of 1 KiB are published: twice what the kernel
	// takes for a reader that reads nothing.
	toStall = 8000
	// stuck is how long a round may take before the readers count as held up.
	stuck = 5 * time.Second
)

// Stalled publishes to readers of which one, if stalled, never reads, and measures
// what the publisher and the others notice.
func Stalled(binary string, row Row, stalled bool, report func(metric string, value float64)) error {
	child, err := Start(binary, row)
	if err != nil {
		return err
	}
	defer child.Stop()
	crowd, err := load.New(load.Options{Addr: child.Addr, Channels: 1})
	if err != nil {
		return err
	}
	defer crowd.Close()
	requests, err := pages(child, row, 0, Readers)
	if err != nil {
		return err
	}
	reading := Readers
	if stalled {
		requests[0].Stalled = true
		reading--
	}
	if err := crowd.Connect(requests, patience); err != nil {
		return err
	}
	if err := crowd.Linger(settle); err != nil {
		return err
	}
	publish, p99 := PublishFree, PublishFreeP99
	if stalled {
		publish, p99 = PublishStalled, PublishStalledP99
	}
	spent, err := flood(child, crowd, reading)
	if err != nil {
		return fmt.Errorf("%s, one of %d readers stalled: %v: %w", row.Kind, Readers, stalled, err)
	}
	report(publish, micros(spent, toStall))
	report(p99, millis(crowd.Latency(0.99)))
	return nil
}

// flood publishes in bursts of ten, each as soon as the last was read, and returns
// the time that publishing took.
func flood(child *Child, crowd *load.Crowd, reading int) (spent time.Duration, err error) {
	const burst = 10
	crowd.Start(toStall * reading)
	for i := range toStall / burst {
		if err := child.Send(control.Command{Op: "publish", Count: burst, Size: 1024}); err != nil {
			return 0, err
		}
		if err := crowd.Await((i+1)*burst*reading, stuck); err != nil {
			return 0, fmt.Errorf("round %d: %w", i, err)
		}
		r, err := child.Receive(stuck)
		if err != nil {
			return 0, fmt.Errorf("round %d: %w", i, err)
		}
		spent += r.Elapsed
	}
	return spent, nil
}

// Cost publishes to one of many channels that nobody hears.
func Cost(binary string, channels int, report func(metric string, value float64)) error {
	child, err := Start(binary, Row{Kind: "comet", Mode: Site, Channels: channels})
	if err != nil {
		return err
	}
	defer child.Stop()
	const values = 50_000
	c := control.Command{Op: "publish", Count: values, Size: 64}
	if _, err := child.Do(c); err != nil {
		return err
	}
	r, err := child.Do(c)
	if err != nil {
		return err
	}
	report(PublishNS, float64(r.Elapsed.Nanoseconds())/values)
	report(PublishAllocs, float64(r.Allocs)/values-1) // the harness's own: the value's text
	return nil
}
