//go:build unix

package embedded_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
)

var (
	measuring = flag.Bool("measure", false, "measure appends, latency, replay and memory, and print them")
	many      = flag.Int("channels", 10_000, "how many channels -measure makes to weigh one")
)

// TestMeasure prints what README.md shows:
//
//	go test -run TestMeasure -measure -timeout 30m -v .
func TestMeasure(t *testing.T) {
	if !*measuring {
		t.Skip("only with -measure")
	}
	t.Run("R1 file, embedded", func(t *testing.T) {
		s := natstest.Single(t)
		measure(t, open(t, s, nats.Config{}), open(t, s, nats.Config{}), []int{os.Getpid()})
	})
	t.Run("R3 file, three processes", func(t *testing.T) {
		cluster := natstest.Start(t, 3)
		measure(t, cluster.Open(0, nats.Config{}), cluster.Open(1, nats.Config{}), []int{cluster.PID(0), cluster.PID(1), cluster.PID(2)})
	})
}

func measure(t *testing.T, a, b *nats.Engine, servers []int) {
	for _, publishers := range []int{1, 32} {
		t.Logf("appends of 256 B, %d publishers: %.0f/s", publishers, appends(t, a, publishers))
	}
	p50, p99 := latency(t, a, b)
	t.Logf("Append here to Offer there at 200/s: p50 %v, p99 %v", p50, p99)
	for _, entries := range []int{1000, 20} {
		p50, p99 := replay(t, a, b, entries)
		t.Logf("Read of %d entries: p50 %v, p99 %v", entries, p50, p99)
	}
	weigh(t, a, servers)
}

func appends(t *testing.T, e *nats.Engine, publishers int) float64 {
	const d = 3 * time.Second
	data := bytes.Repeat([]byte("x"), 256)
	var stored atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for i := range publishers {
		n := engine.Name{Prefix: "appends", Channel: fmt.Sprint(publishers, "-", i)}
		ensure(t, e, n, engine.Spec{})
		wg.Go(func() {
			for time.Since(start) < d {
				if _, err := e.Append(t.Context(), n, engine.Item{Data: data}); err != nil {
					t.Error(err)
					return
				}
				stored.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(stored.Load()) / time.Since(start).Seconds()
}

// clock notes when each offer came.
type clock struct{ heard chan time.Time }

func (c clock) Offer(engine.Entry) { c.heard <- time.Now() }
func (c clock) Dirty(error)        {}

func latency(t *testing.T, a, b *nats.Engine) (p50, p99 time.Duration) {
	const messages = 600
	n := engine.Name{Prefix: "latency", Channel: "c"}
	ensure(t, a, n, engine.Spec{})
	c := clock{make(chan time.Time, messages)}
	stop, err := b.Watch(t.Context(), n, c)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	data := bytes.Repeat([]byte("x"), 256)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var took []time.Duration
	for range messages {
		<-tick.C
		start := time.Now()
		if _, err := a.Append(t.Context(), n, engine.Item{Data: data}); err != nil {
			t.Fatal(err)
		}
		took = append(took, (<-c.heard).Sub(start))
	}
	return quantiles(took)
}

func replay(t *testing.T, a, b *nats.Engine, entries int) (p50, p99 time.Duration) {
	n := engine.Name{Prefix: "replay", Channel: strconv.Itoa(entries)}
	genesis := ensure(t, a, n, engine.Spec{})
	for range entries {
		put(t, a, n, strings.Repeat("x", 256))
	}
	var took []time.Duration
	for range 200 {
		start := time.Now()
		batch, err := b.Read(t.Context(), n, genesis, 0)
		if err != nil || len(batch.Entries) != entries {
			t.Fatalf("%d entries, %v", len(batch.Entries), err)
		}
		took = append(took, time.Since(start))
	}
	return quantiles(took)
}

func quantiles(took []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(took)
	return took[len(took)/2].Round(time.Microsecond), took[len(took)*99/100].Round(time.Microsecond)
}

// weigh makes many channels with one entry each, and prints what one costs each
// server in memory.
func weigh(t *testing.T, e *nats.Engine, servers []int) {
	before := resident(t, servers)
	start := time.Now()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(*many); i = next.Add(1) {
				n := engine.Name{Prefix: "many", Channel: strconv.FormatInt(i, 10)}
				if _, err := e.Ensure(t.Context(), n, engine.Spec{}); err != nil {
					t.Error(err)
					return
				}
				if _, err := e.Append(t.Context(), n, engine.Item{Data: bytes.Repeat([]byte("x"), 256)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	after := resident(t, servers)
	t.Logf("%d channels made in %v (%.0f/s), resident per channel and server: %.2f KiB",
		*many, took.Round(time.Millisecond), float64(*many)/took.Seconds(), float64(after-before)/float64(*many)/float64(len(servers))/1024)
}

// resident is the memory of all the processes together, in bytes.
func resident(t *testing.T, pids []int) (bytes int64) {
	t.Helper()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			t.Skip("no /proc here to read memory from")
		}
		pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		bytes += pages * int64(os.Getpagesize())
	}
	return bytes
}
