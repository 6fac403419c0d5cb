package wheel_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/internal/wheel"
)

const tick = 100 * time.Millisecond

// Fires at the first tick that is not before d, however many levels away.
func TestFiresAtTheNextTick(t *testing.T) {
	for _, c := range []struct{ offset, d, want time.Duration }{
		{0, 0, tick},
		{0, -time.Hour, tick},
		{0, 1, tick},
		{0, tick, tick},
		{0, tick + 1, 2 * tick},
		{30 * time.Millisecond, 0, 70 * time.Millisecond},
		{30 * time.Millisecond, 70 * time.Millisecond, 70 * time.Millisecond},
		{30 * time.Millisecond, tick, 170 * time.Millisecond},
		{0, 63 * tick, 63 * tick},
		{0, 64 * tick, 64 * tick},
		{0, 65 * tick, 65 * tick},
		{63 * tick, tick, tick},
		{63*tick + 1, tick, 2*tick - 1},
		{0, 64 * 64 * tick, 64 * 64 * tick},
		{50 * time.Millisecond, time.Hour, time.Hour + 50*time.Millisecond},
		{time.Hour, 30 * 24 * time.Hour, 30 * 24 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := wheel.New(tick)
			defer w.Close()
			time.Sleep(c.offset)
			began := time.Now()
			fired := make(chan time.Duration, 2)
			w.After(c.d, func() { fired <- time.Since(began) })
			if got := <-fired; got != c.want {
				t.Errorf("%v after %v fired after %v, want %v", c.d, c.offset, got, c.want)
			}
			time.Sleep(100 * tick)
			if len(fired) != 0 {
				t.Error("fired twice")
			}
		})
	}
}

func TestLongestDurationNeverFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tick := range []time.Duration{1, time.Second, math.MaxInt64} {
			w := wheel.New(tick)
			time.Sleep(time.Second)
			timer := w.After(math.MaxInt64, func() { t.Error("fired") })
			time.Sleep(time.Hour)
			if !timer.Stop() {
				t.Error("not pending")
			}
			w.Close()
		}
	})
}

// Each of thousands of timers, started at random times and moved at random, fires
// not before it should and at most one tick later.
func TestRandomTimers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		random := func() time.Duration { // evenly over the magnitudes
			return time.Duration(rng.Int64N(int64(time.Millisecond) << rng.IntN(24)))
		}
		w := wheel.New(tick)
		defer w.Close()
		type job struct {
			timer   *wheel.Timer
			due     time.Time
			stopped bool
			fired   int
		}
		var mu sync.Mutex // guards the jobs
		jobs := make([]*job, 3000)
		for i := range jobs {
			j := &job{}
			d := random()
			j.due = time.Now().Add(d)
			j.timer = w.After(d, func() {
				mu.Lock()
				defer mu.Unlock()
				j.fired++
				if late := time.Since(j.due); late < 0 || late > tick {
					t.Errorf("fired %v late", late)
				}
			})
			jobs[i] = j
			mu.Lock()
			if other := jobs[rng.IntN(i+1)]; other.fired == 0 {
				switch rng.IntN(4) {
				case 0:
					d := random()
					other.due = time.Now().Add(d)
					if was := other.timer.Reset(d); was == other.stopped {
						t.Errorf("Reset = %v of a timer that stopped = %v", was, other.stopped)
					}
					other.stopped = false
				case 1:
					if was := other.timer.Stop(); was == other.stopped {
						t.Errorf("Stop = %v of a timer that stopped = %v", was, other.stopped)
					}
					other.stopped = true
				}
			}
			mu.Unlock()
			if rng.IntN(4) == 0 {
				time.Sleep(random() / 1000)
				synctest.Wait()
			}
		}
		time.Sleep(time.Hour * 24)
		synctest.Wait()
		for _, j := range jobs {
			if want := map[bool]int{true: 0, false: 1}[j.stopped]; j.fired != want {
				t.Fatalf("fired %d times, stopped %v", j.fired, j.stopped)
			}
		}
	})
}

// Timers of one tick are called in the order in which they were started.
func TestOneTickInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(tick)
		defer w.Close()
		var got []int
		for i := range 10 {
			w.After(tick, func() { got = append(got, i) })
		}
		time.Sleep(tick)
		synctest.Wait()
		if len(got) != 10 || !slices.IsSorted(got) {
			t.Fatal(got)
		}
	})
}

func TestStopAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(tick)
		defer w.Close()
		var fired atomic.Int64
		timer := w.After(tick, func() { fired.Add(1) })
		if !timer.Stop() || timer.Stop() {
			t.Fatal("Stop is not true, then false")
		}
		if timer.Reset(5*tick) || !timer.Reset(3*tick) {
			t.Fatal("Reset is not false, then true")
		}
		time.Sleep(3*tick - 1)
		synctest.Wait()
		if fired.Load() != 0 {
			t.Fatal("fired early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if fired.Load() != 1 || timer.Stop() {
			t.Fatalf("fired %d times", fired.Load())
		}
		timer.Reset(tick)
		time.Sleep(tick)
		synctest.Wait()
		if fired.Load() != 2 {
			t.Fatalf("fired %d times", fired.Load())
		}
	})
}

// A function may stop another of the same tick, whose turn has not come.
func TestStopWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(tick)
		defer w.Close()
		began := time.Now()
		second := w.NewTimer(func() { t.Error("fired although stopped") })
		thirdAt := make(chan time.Duration, 2)
		third := w.NewTimer(func() { thirdAt <- time.Since(began) })
		pending := make(chan bool, 2)
		w.After(tick, func() {
			pending <- second.Stop()
			pending <- third.Reset(tick)
		})
		second.Reset(tick)
		third.Reset(tick)
		if second, third := <-pending, <-pending; !second || !third {
			t.Fatal("not pending when due")
		}
		time.Sleep(5 * tick)
		if got := <-thirdAt; got != 2*tick || len(thirdAt) != 0 {
			t.Fatalf("the moved one fired after %v", got)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(tick)
		defer w.Close()
		began := time.Now()
		beats := make(chan time.Duration, 100)
		var beat *wheel.Timer
		beat = w.NewTimer(func() {
			beats <- time.Since(began)
			beat.Reset(15 * time.Second)
		})
		beat.Reset(15 * time.Second)
		time.Sleep(61 * time.Second)
		if len(beats) != 4 {
			t.Fatalf("%d beats", len(beats))
		}
		for i := range 4 {
			if got, want := <-beats, time.Duration(i+1)*15*time.Second; got != want {
				t.Fatalf("a beat at %v, want %v", got, want)
			}
		}
	})
}

func TestResetDoesNotAllocate(t *testing.T) {
	w := wheel.New(tick)
	defer w.Close()
	timer := w.After(time.Hour, func() {})
	d := time.Second
	if n := testing.AllocsPerRun(1000, func() { timer.Reset(d); d += time.Second }); n > 0 {
		t.Fatalf("%v allocations a Reset", n)
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(tick)
		w.After(tick, func() { t.Error("fired after Close") })
		far := w.After(time.Hour, func() { t.Error("fired after Close") })
		w.Close()
		w.Close()
		if far.Stop() || far.Reset(tick) || w.After(tick, func() { t.Error("fired after Close") }).Stop() {
			t.Error("pending after Close")
		}
		time.Sleep(2 * time.Hour)
	})
}

// Close returns only after the function that is being called, and no other of the
// same tick is called then.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(tick)
		var ended atomic.Bool
		began := make(chan struct{})
		w.After(tick, func() {
			close(began)
			time.Sleep(time.Second)
			ended.Store(true)
		})
		w.After(tick, func() { t.Error("fired after Close") })
		<-began
		w.Close()
		if !ended.Load() {
			t.Error("Close did not wait")
		}
		time.Sleep(time.Hour)
	})
}

// A slow function delays the others and loses none.
func TestSlowFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(tick)
		defer w.Close()
		began := time.Now()
		at := make(chan time.Duration, 10)
		w.After(tick, func() { time.Sleep(10 * tick) })
		for i := range 5 {
			w.After(time.Duration(2+i)*tick, func() { at <- time.Since(began) })
		}
		time.Sleep(5 * tick)
		w.After(20*tick, func() { at <- time.Since(began) })
		time.Sleep(30 * tick)
		if len(at) != 6 {
			t.Fatalf("%d fired", len(at))
		}
		for _, want := range []time.Duration{11 * tick, 11 * tick, 11 * tick, 11 * tick, 11 * tick, 25 * tick} {
			if got := <-at; got != want {
				t.Fatalf("fired after %v, want %v", got, want)
			}
		}
	})
}

// Many goroutines start, move and stop at once, in real time; in the end every
// timer was called or stopped, exactly one of the two.
func TestRaces(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := wheel.New(time.Millisecond)
	defer w.Close()
	var called, stopped atomic.Int64
	var wg, calls sync.WaitGroup
	const workers, each = 8, 2000
	calls.Add(workers * each)
	for i := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for range each {
				timer := w.After(time.Duration(rng.IntN(5))*time.Millisecond, func() {
					called.Add(1)
					calls.Done()
				})
				if rng.IntN(2) == 0 && timer.Stop() {
					stopped.Add(1)
					calls.Done()
				}
			}
		})
	}
	wg.Wait()
	calls.Wait()
	if called.Load()+stopped.Load() != workers*each || called.Load() == 0 || stopped.Load() == 0 {
		t.Fatalf("called %d, stopped %d of %d", called.Load(), stopped.Load(), workers*each)
	}
}

func TestBadTickPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	wheel.New(0)
}

const streams = 100_000

// Moving a heartbeat after a write, with 100,000 pending.
func BenchmarkReset(b *testing.B) {
	b.Run("wheel", func(b *testing.B) {
		w := wheel.New(tick)
		defer w.Close()
		timers := make([]*wheel.Timer, streams)
		for i := range timers {
			timers[i] = w.After(15*time.Second, func() {})
		}
		benchmarkReset(b, func(i int) { timers[i].Reset(15 * time.Second) })
	})
	b.Run("runtime", func(b *testing.B) {
		timers := make([]*time.Timer, streams)
		for i := range timers {
			timers[i] = time.AfterFunc(15*time.Second, func() {})
			defer timers[i].Stop()
		}
		benchmarkReset(b, func(i int) { timers[i].Reset(15 * time.Second) })
	})
}

func benchmarkReset(b *testing.B, reset func(i int)) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		reset(i)
		i = (i + 7919) % streams
	}
}

// All heartbeats of 100,000 streams fire once and start themselves again.
func BenchmarkFire(b *testing.B) {
	b.Run("wheel", func(b *testing.B) {
		w := wheel.New(time.Millisecond)
		defer w.Close()
		for b.Loop() {
			var wg sync.WaitGroup
			wg.Add(streams)
			for range streams {
				w.After(time.Millisecond, wg.Done)
			}
			wg.Wait()
		}
	})
	b.Run("runtime", func(b *testing.B) {
		for b.Loop() {
			var wg sync.WaitGroup
			wg.Add(streams)
			for range streams {
				time.AfterFunc(time.Millisecond, wg.Done)
			}
			wg.Wait()
		}
	})
}
