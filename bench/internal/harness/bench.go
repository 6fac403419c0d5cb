package harness

import (
	"fmt"
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
	"github.com/ocsigo/comet/bench/internal/load"
)

// patience is how long one step of one case may take. What takes longer counts as
// stuck.
const patience = 30 * time.Second

// settle is how long a server is left alone before its memory, or its work after
// the last delivery, is counted.
const settle = 400 * time.Millisecond

// A bench is one server and its crowd of n streams.
type bench struct {
	*Child
	row      Row
	n        int
	crowd    *load.Crowd
	requests []load.Request
	report   func(metric string, value float64)

	few   control.Reply // the memory with a tenth of the streams
	tenth int
}

// Run measures one row with n streams in one process, all cases one after the
// other, and gives each figure to report. The first case that fails ends it, for
// what comes after a lost delivery cannot be trusted.
func Run(binary string, row Row, n int, report func(metric string, value float64)) error {
	return start(binary, row, n, report, cases(row))
}

// Profile writes a CPU profile of a server in the first case of the row in which
// something is published to n streams: paced values of 64 B, or private messages.
// The case is run several times, for a profile has only a hundred samples a second.
func Profile(binary string, row Row, n int, path string) error {
	profile := func(path string) func(*bench) error {
		return func(b *bench) error {
			_, err := b.Do(control.Command{Op: "profile", Path: path})
			return err
		}
	}
	steps := []step{cases(row)[0], {"start", profile(path)}}
	for range 6 {
		steps = append(steps, cases(row)[1])
	}
	return start(binary, row, n, func(string, float64) {}, append(steps, step{"stop", profile("")}))
}

// start has a new server and a new crowd go through steps.
func start(binary string, row Row, n int, report func(metric string, value float64), steps []step) error {
	child, err := Start(binary, row)
	if err != nil {
		return err
	}
	defer child.Stop()
	crowd, err := load.New(load.Options{Addr: child.Addr, Channels: row.hears(), Doubles: child.Doubles})
	if err != nil {
		return err
	}
	defer crowd.Close()
	b := &bench{Child: child, row: row, n: n, crowd: crowd, report: report}
	for _, s := range steps {
		if err := s.run(b); err != nil {
			return fmt.Errorf("%s with %d streams, %s: %w", row.ID(), n, s.name, err)
		}
	}
	return nil
}

type step struct {
	name string
	run  func(*bench) error
}

// cases are those of a row's mode.
func cases(row Row) []step {
	idle := step{"idle", (*bench).idle}
	paced := []step{pacedSmall, {"paced 1 KiB", func(b *bench) error { return b.paced(1024, Paced1K, Paced1KP50, Paced1KP99) }}}
	back := []step{
		{"after fan-out", (*bench).used},
		{"reconnect", (*bench).reconnect},
	}
	switch row.Mode {
	case Site:
		return append(append(append([]step{idle}, paced...), flatOut...), back...)
	case Many:
		return append(append([]step{idle}, paced...), flatOut...)
	case Private:
		return []step{idle, {"private", (*bench).private}}
	}
	return []step{idle, pacedSmall}
}

var pacedSmall = step{"paced 64 B", func(b *bench) error { return b.paced(64, Paced64, Paced64P50, Paced64P99) }}

var flatOut = []step{
	{"flat out 64 B", func(b *bench) error { return b.rounds(64, 1, fanOuts(b.n), Flat64) }},
	{"flat out 1 KiB", func(b *bench) error { return b.rounds(1024, 1, fanOuts(b.n), Flat1K) }},
	{"bursts of 64 B", func(b *bench) error { return b.rounds(64, 10, max(fanOuts(b.n)/3, 4), Burst64) }},
	{"bursts of 1 KiB", func(b *bench) error { return b.rounds(1024, 10, max(fanOuts(b.n)/3, 4), Burst1K) }},
}

// fanOuts is how many values make a case: about 100,000 deliveries.
func fanOuts(n int) int { return min(max(100_000/n, 10), 50) }

// measure publishes, reads until all is delivered, and returns the server's CPU
// time for it.
func (b *bench) measure(deliveries int, commands ...control.Command) (time.Duration, error) {
	before, err := b.cpu()
	if err != nil {
		return 0, err
	}
	b.crowd.Start(deliveries)
	for i, c := range commands {
		if err := b.Send(c); err != nil {
			return 0, err
		}
		if err := b.crowd.Await(deliveries*(i+1)/len(commands), patience); err != nil {
			return 0, err
		}
		if _, err := b.Receive(patience); err != nil {
			return 0, err
		}
	}
	if err := b.crowd.Linger(settle / 8); err != nil {
		return 0, err
	}
	after, err := b.cpu()
	return after - before, err
}

func (b *bench) cpu() (time.Duration, error) {
	r, err := b.Do(control.Command{Op: "cpu"})
	return r.CPU, err
}

func micros(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
