package harness

import (
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
)

// pace is the time between two values, for each stream: several times what a
// delivery takes.
const pace = 30 * time.Microsecond

// paced publishes a value at a time, each when the last one is long delivered. In
// the mode Many all channels have their turn.
func (b *bench) paced(size int, cpu, p50, p99 string) error {
	c := control.Command{
		Op: "publish", Count: fanOuts(b.n), Size: size,
		Every: max(time.Duration(b.n)*pace, 20*time.Millisecond),
		Each:  b.row.Mode == Many, Channels: b.row.Channels,
	}
	warm := c
	warm.Count = 2
	if _, err := b.measure(2*b.n, warm); err != nil {
		return err
	}
	deliveries := c.Count * b.n
	used, err := b.measure(deliveries, c)
	if err != nil {
		return err
	}
	b.report(cpu, micros(used, deliveries))
	b.report(p50, millis(b.crowd.Latency(0.50)))
	b.report(p99, millis(b.crowd.Latency(0.99)))
	return nil
}

// rounds publishes burst values at once, and again as soon as every stream has
// read them.
func (b *bench) rounds(size, burst, rounds int, cpu string) error {
	c := control.Command{Op: "publish", Count: burst, Size: size}
	if _, err := b.measure(burst*b.n, c); err != nil {
		return err
	}
	commands := make([]control.Command, rounds)
	for i := range commands {
		c.Channel = i % max(b.row.Channels, 1)
		commands[i] = c
	}
	deliveries := rounds * burst * b.n
	used, err := b.measure(deliveries, commands...)
	if err != nil {
		return err
	}
	b.report(cpu, micros(used, deliveries))
	return nil
}

// private publishes one value to each stream's own channel, round after round.
func (b *bench) private() error {
	c := control.Command{Op: "publish", Count: b.n, Size: 64, Each: true, Channels: b.n}
	if _, err := b.measure(b.n, c); err != nil {
		return err
	}
	commands := make([]control.Command, min(max(20_000/b.n, 2), 10))
	for i := range commands {
		commands[i] = c
	}
	messages := len(commands) * b.n
	used, err := b.measure(messages, commands...)
	if err != nil {
		return err
	}
	b.report(PrivateOne, micros(used, messages))
	return nil
}
