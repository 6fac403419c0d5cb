package memory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
)

var ctx = context.Background()

var chat = engine.Name{Prefix: "app", Channel: "chat"}

func ensure(t testing.TB, e engine.Engine, n engine.Name, s engine.Spec) engine.Position {
	t.Helper()
	info, err := e.Ensure(ctx, n, s)
	if err != nil {
		t.Fatal(err)
	}
	return info.Tail
}

func send(t testing.TB, e engine.Engine, n engine.Name, items ...engine.Item) []engine.Position {
	t.Helper()
	positions, err := e.Append(ctx, n, items...)
	if err != nil {
		t.Fatal(err)
	}
	return positions
}

func item(id, data string) engine.Item { return engine.Item{ID: id, Data: []byte(data)} }

func want(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func Example() {
	e := memory.New()
	defer e.Close(ctx)
	info, _ := e.Ensure(ctx, chat, engine.Spec{Size: 2})
	seen := info.Tail // what a page keeps
	e.Append(ctx, chat, item("", "one"), item("", "two"))
	batch, err := e.Read(ctx, chat, seen, 10)
	for _, entry := range batch.Entries {
		fmt.Printf("%s\n", entry.Data)
	}
	fmt.Println(err)
	e.Append(ctx, chat, item("", "three"))
	_, err = e.Read(ctx, chat, seen, 10)
	fmt.Println(errors.Is(err, engine.ErrTrimmed))
	// Output:
	// one
	// two
	// <nil>
	// true
}

func TestCapsAndConfig(t *testing.T) {
	want := engine.Caps{Durability: engine.None, MaxEntry: 1 << 20, ContiguousSeq: true, ReliableFeed: true}
	if got := memory.New().Caps(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := memory.New(memory.Config{MaxEntry: 5}).Caps().MaxEntry; got != 5 {
		t.Errorf("MaxEntry %d", got)
	}
	for _, c := range []memory.Config{{MaxEntry: -1}, {MaxIDs: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: no panic", c)
				}
			}()
			memory.New(c)
		}()
	}
}

// Rule 4: one short epoch for all channels of an engine, and another for the next.
func TestEpoch(t *testing.T) {
	e := memory.New()
	a, b := ensure(t, e, chat, engine.Spec{}), ensure(t, e, engine.Name{Channel: "b"}, engine.Spec{})
	if a.Epoch != b.Epoch || !regexp.MustCompile(`^[0-9a-z]{8}$`).MatchString(a.Epoch) {
		t.Errorf("epochs %q and %q", a.Epoch, b.Epoch)
	}
	if a.Seq != 0 || a.Tag != 0 {
		t.Errorf("the first genesis is %#v", a)
	}
	if c := ensure(t, memory.New(), chat, engine.Spec{}); c.Epoch == a.Epoch {
		t.Errorf("two engines of epoch %q", c.Epoch)
	}
}

// Rule 14: a name reborn is a reset. Here every old position is ErrEpoch, never
// ErrTrimmed, whatever lived and died under other names meanwhile.
func TestRebornStartsAbove(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	e := memory.New()
	names := []engine.Name{{Channel: "a"}, {Channel: "b"}, {Channel: "c"}}
	dead := map[engine.Name][]engine.Position{}
	for range 300 {
		n := names[rng.IntN(len(names))]
		live := []engine.Position{ensure(t, e, n, engine.Spec{Size: 3})}
		for range rng.IntN(8) {
			live = append(live, send(t, e, n, item("", "x"))...)
			for _, old := range dead[n] {
				if _, err := e.Read(ctx, n, old, 0); !errors.Is(err, engine.ErrEpoch) {
					t.Fatalf("after %v of an earlier life: %v, want ErrEpoch", old, err)
				}
			}
		}
		if rng.IntN(2) == 0 {
			if err := e.Delete(ctx, n); err != nil {
				t.Fatal(err)
			}
			dead[n] = append(dead[n], live...)
		}
	}
}

// Rule 13: nothing is remembered of dead names.
func TestDeadNamesCostNothing(t *testing.T) {
	e := memory.New()
	churn := func(n int) {
		for i := range n {
			name := engine.Name{Channel: fmt.Sprint("room ", i)}
			ensure(t, e, name, engine.Spec{})
			send(t, e, name, item("id", strings.Repeat("x", 100)))
			if err := e.Delete(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	churn(1000)
	before := heap()
	churn(50_000)
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("50,000 dead names keep %d bytes", grown)
	}
	runtime.KeepAlive(e)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestIdleChannelIsCheap(t *testing.T) {
	const channels = 20_000
	e := memory.New()
	before := heap()
	for i := range channels {
		ensure(t, e, engine.Name{Prefix: "app", Channel: fmt.Sprint("room:", i)}, engine.Spec{})
	}
	each := (heap() - before) / channels
	t.Logf("%d bytes an idle channel", each)
	if each > 600 {
		t.Errorf("%d bytes an idle channel", each)
	}
	runtime.KeepAlive(e)
}

// IDs are known for at least two minutes and at most about four.
func TestIDsExpire(t *testing.T) {
	for _, c := range []struct {
		steps []time.Duration // between the appends
		again bool            // the first ID is new again at the last
	}{
		{[]time.Duration{0}, false},
		{[]time.Duration{2*time.Minute - 1}, false},
		{[]time.Duration{119 * time.Second, time.Second}, false},
		{[]time.Duration{2 * time.Minute, 2*time.Minute - 1}, false},
		{[]time.Duration{2 * time.Minute, 2 * time.Minute}, true},
		{[]time.Duration{4 * time.Minute}, true},
		{[]time.Duration{time.Hour}, true},
		{[]time.Duration{3 * time.Minute, time.Minute, time.Minute}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := memory.New()
			ensure(t, e, chat, engine.Spec{})
			first := send(t, e, chat, item("id", "first"))
			for i, step := range c.steps {
				time.Sleep(step)
				if i < len(c.steps)-1 {
					send(t, e, chat, item(fmt.Sprint(i), "other"))
				}
			}
			if last := send(t, e, chat, item("id", "last")); (last[0] != first[0]) != c.again {
				t.Errorf("after %v: at %v, first at %v", c.steps, last, first)
			}
		})
	}
}

// Rule 13: IDs are bounded, and the bound never makes a duplicate.
func TestIDsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memory.New(memory.Config{MaxIDs: 3})
		genesis := ensure(t, e, chat, engine.Spec{})
		send(t, e, chat, item("a", "A"), item("b", "B"), item("c", "C"))
		_, err := e.Append(ctx, chat, item("", "no ID"), item("d", "D"))
		want(t, err, engine.ErrUnavailable)
		if !engine.Retryable(err) {
			t.Errorf("not retryable: %v", err)
		}
		send(t, e, chat, item("b", "again"), item("", "no ID"))
		batch, err := e.Read(ctx, chat, genesis, 0)
		if err != nil || len(batch.Entries) != 4 {
			t.Errorf("%d entries, %v, want A, B, C and the one without an ID", len(batch.Entries), err)
		}
		time.Sleep(4 * time.Minute)
		send(t, e, chat, item("d", "D"))
	})
}

// A log with a watcher does not expire, however long nothing is said.
func TestWatcherKeepsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memory.New()
		genesis := ensure(t, e, chat, engine.Spec{IdleTTL: time.Minute})
		stop, err := e.Watch(ctx, chat, sink(func(engine.Entry) {}))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if tail, err := e.Tail(ctx, chat); err != nil || tail != genesis {
			t.Errorf("watched: %v, %v", tail, err)
		}
		stop()
		time.Sleep(time.Minute - 1)
		if tail, err := e.Tail(ctx, chat); err != nil || tail != genesis {
			t.Errorf("within IdleTTL of stop: %v, %v", tail, err)
		}
		stop() // a second stop is no use of the log
		time.Sleep(time.Nanosecond)
		_, err = e.Tail(ctx, chat)
		want(t, err, engine.ErrNoChannel)
	})
}

type sink func(engine.Entry)

func (s sink) Offer(e engine.Entry) { s(e) }
func (s sink) Dirty(error)          {}

// The offer is made before Append returns, and in the order of the channel.
func TestOffersInsideAppend(t *testing.T) {
	e := memory.New()
	genesis := ensure(t, e, chat, engine.Spec{})
	last := make([]atomic.Uint64, 5)
	for i := range last {
		_, err := e.Watch(ctx, chat, sink(func(entry engine.Entry) {
			if !last[i].CompareAndSwap(entry.Prev, entry.Position.Seq) {
				t.Errorf("watcher %d: %v offered after %d", i, entry.Position, last[i].Load())
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		last[i].Store(genesis.Seq)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				p := send(t, e, chat, item("", "x"))
				for i := range last {
					if got := last[i].Load(); got < p[0].Seq {
						t.Errorf("watcher %d at %d when the append of %v returned", i, got, p[0])
					}
				}
			}
		})
	}
	wg.Wait()
}

// Makers, senders, readers and deleters of the same names at once: the only
// errors are those that the contract has for it, and no read has a hole.
func TestChurn(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	e := memory.New()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range 3000 {
				n := engine.Name{Channel: string(rune('a' + rng.IntN(3)))}
				if err := churn(e, n, rng); err != nil && !errors.Is(err, engine.ErrNoChannel) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func churn(e engine.Engine, n engine.Name, rng *rand.Rand) error {
	switch rng.IntN(10) {
	case 0:
		return e.Delete(ctx, n)
	case 1, 2:
		_, err := e.Ensure(ctx, n, engine.Spec{Size: 10, IdleTTL: time.Microsecond})
		return err
	case 3:
		stop, err := e.Watch(ctx, n, sink(func(engine.Entry) {}))
		if err == nil {
			stop()
		}
		return err
	case 4, 5, 6:
		_, err := e.Append(ctx, n, item("", "x"), item(fmt.Sprint(rng.Uint64()), "y"))
		return err
	}
	tail, err := e.Tail(ctx, n)
	if err != nil {
		return err
	}
	batch, err := e.Read(ctx, n, tail, 0)
	if errors.Is(err, engine.ErrEpoch) || errors.Is(err, engine.ErrTrimmed) {
		return nil // it was deleted, or written, in between
	}
	for _, entry := range batch.Entries {
		if entry.Prev != tail.Seq {
			return fmt.Errorf("a hole: %v with Prev %d after %v", entry.Position, entry.Prev, tail)
		}
		tail = entry.Position
	}
	return err
}

// Rule 13: a closed engine keeps nothing.
func TestCloseFreesLogs(t *testing.T) {
	e := memory.New()
	before := heap()
	ensure(t, e, chat, engine.Spec{})
	stop, err := e.Watch(ctx, chat, sink(func(engine.Entry) {}))
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		send(t, e, chat, item("", strings.Repeat("x", 1<<20)))
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := e.Close(ended); err != nil { // closes also under an ended context
		t.Fatal(err)
	}
	if kept := heap() - before; kept > 1<<20 {
		t.Errorf("%d bytes kept after Close", kept)
	}
	stop()
	runtime.KeepAlive(e)
	runtime.KeepAlive(stop)
}

// What an Append costs besides the copy of its data.
func TestAppendAllocations(t *testing.T) {
	e := memory.New()
	ensure(t, e, chat, engine.Spec{Size: 16})
	it := item("", "hello")
	if n := testing.AllocsPerRun(1000, func() { send(t, e, chat, it) }); n > 4 {
		t.Errorf("%v allocations an Append", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, channels := range []int{1, 1000} {
		b.Run(fmt.Sprint(channels, " channels"), func(b *testing.B) {
			e := memory.New()
			names := make([]engine.Name, channels)
			for i := range names {
				names[i] = engine.Name{Prefix: "app", Channel: fmt.Sprint("room:", i)}
				ensure(b, e, names[i], engine.Spec{})
			}
			it := item("", strings.Repeat("x", 256))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(channels); pb.Next(); i = (i + 1) % channels {
					send(b, e, names[i], it)
				}
			})
		})
	}
}

func BenchmarkReplay1000(b *testing.B) {
	e := memory.New()
	genesis := ensure(b, e, chat, engine.Spec{})
	for range 1000 {
		send(b, e, chat, item("", "x"))
	}
	b.ReportAllocs()
	for b.Loop() {
		if batch, err := e.Read(ctx, chat, genesis, 0); err != nil || len(batch.Entries) != 1000 {
			b.Fatal(err)
		}
	}
}
