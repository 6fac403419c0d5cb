package enginetest_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/memory"
)

// Whatever Chaos does to the feed, it stays within the contract.
func TestChaosConforms(t *testing.T) {
	for _, f := range []enginetest.Faults{
		enginetest.DefaultFaults,
		{Drop: 0.5, Duplicate: 1, Delay: 0.5, MaxDelay: time.Minute, Dirty: 0.5},
		{Drop: 1, Dirty: 1},
	} {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			enginetest.RunInBubble(t, func(t *testing.T) enginetest.Cluster {
				return enginetest.Cluster{Handles: []engine.Engine{enginetest.Chaos(memory.New(), 1, f)}}
			})
		})
	}
}

// log is a sink that notes when it heard what.
type log struct {
	mu    sync.Mutex
	start time.Time
	heard []offer
	dirty []error
}

type offer struct {
	seq uint64
	at  time.Duration
}

func (l *log) Offer(e engine.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, offer{e.Position.Seq, time.Since(l.start)})
}

func (l *log) Dirty(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = append(l.dirty, cause)
}

func (l *log) offers() []offer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

var room = engine.Name{Channel: "c"}

func watched(t *testing.T, seed int64, f enginetest.Faults) (e engine.Engine, l *log, stop func()) {
	t.Helper()
	e = enginetest.Chaos(memory.New(), seed, f)
	if _, err := e.Ensure(ctx, room, engine.Spec{}); err != nil {
		t.Fatal(err)
	}
	l = &log{start: time.Now()}
	stop, err := e.Watch(ctx, room, l)
	if err != nil {
		t.Fatal(err)
	}
	return e, l, stop
}

func send(t *testing.T, e engine.Engine, n int) {
	t.Helper()
	for range n {
		if _, err := e.Append(ctx, room, engine.Item{Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChaosDropsDuplicatesDelaysAndReorders(t *testing.T) {
	run := func(seed int64) (heard []offer) {
		synctest.Test(t, func(t *testing.T) {
			e, l, stop := watched(t, seed, enginetest.DefaultFaults)
			send(t, e, 1000)
			time.Sleep(time.Second)
			heard = l.offers()
			stop()
			if e.Caps().ReliableFeed {
				t.Error("Caps say ReliableFeed")
			}
		})
		return heard
	}
	heard := run(7)
	times := map[uint64]int{}
	var twice, late, overtaken int
	for i, o := range heard {
		if times[o.seq]++; times[o.seq] == 2 {
			twice++
		}
		if o.at > 0 {
			late++
		}
		if i > 0 && o.seq < heard[i-1].seq {
			overtaken++
		}
		if o.at > 20*time.Millisecond {
			t.Errorf("%d came after %v, over MaxDelay", o.seq, o.at)
		}
	}
	if lost := 1000 - len(times); lost < 200 || lost > 400 {
		t.Errorf("%d of 1000 lost, asked for 30 %%", lost)
	}
	if twice < 20 || late < 100 || overtaken < 50 {
		t.Errorf("%d doubled, %d late, %d overtaken", twice, late, overtaken)
	}
	// Delays of one instant may come in any order, so compare sorted.
	bySeq := func(a, b offer) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.at, b.at)) }
	again := run(7)
	slices.SortFunc(heard, bySeq)
	slices.SortFunc(again, bySeq)
	if !slices.Equal(heard, again) {
		t.Error("the same seed gives another feed")
	}
}

func TestChaosAnnouncesDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l, stop := watched(t, 1, enginetest.Faults{Drop: 1, Dirty: 1})
		defer stop()
		send(t, e, 10)
		if len(l.dirty) != 10 || !errors.Is(l.dirty[0], enginetest.ErrChaos) || len(l.heard) != 0 {
			t.Errorf("%d offers, Dirty with %v", len(l.heard), l.dirty)
		}
	})
}

func TestNothingDelayedComesAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(e engine.Engine, stop func()) error{
		"stop":   func(_ engine.Engine, stop func()) error { stop(); return nil },
		"close":  func(e engine.Engine, _ func()) error { return e.Close(ctx) },
		"delete": func(e engine.Engine, _ func()) error { return e.Delete(ctx, room) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, l, stop := watched(t, 1, enginetest.Faults{Delay: 1, MaxDelay: time.Minute})
				send(t, e, 100)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if err := end(e, stop); err != nil {
					t.Fatal(err)
				}
				before := len(l.offers())
				time.Sleep(time.Hour)
				if after := len(l.offers()); before == 0 || before == 100 || after != before {
					t.Errorf("%d offers before the end, %d after", before, after)
				}
				stop()
			})
		})
	}
}

func ExampleChaos() {
	e := enginetest.Chaos(memory.New(), 42, enginetest.Faults{Drop: 1})
	defer e.Close(ctx)
	e.Ensure(ctx, room, engine.Spec{})
	l := &log{start: time.Now()}
	stop, _ := e.Watch(ctx, room, l)
	defer stop()
	e.Append(ctx, room, engine.Item{Data: []byte("hello")})
	batch, _ := e.Last(ctx, room, 1)
	fmt.Println("offered:", len(l.offers()), "in the log:", len(batch.Entries))
	// Output:
	// offered: 0 in the log: 1
}
