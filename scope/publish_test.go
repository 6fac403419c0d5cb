package scope_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// faulty is an engine elsewhere whose appends go wrong as a test says.
type faulty struct {
	*memory.Engine

	mu sync.Mutex
	// fault says what comes of append number n (from 0) of so many items: how many
	// of them are stored, how many of these are told, and the error. nil: all is
	// well.
	fault   func(n, items int) (stored, told int, err error)
	hang    bool // appends wait for their context
	slow    time.Duration
	batches []int
}

func newFaulty() *faulty { return &faulty{Engine: memory.New()} }

func (f *faulty) Caps() engine.Caps {
	c := f.Engine.Caps()
	c.Shared, c.Durability = true, engine.Quorum
	return c
}

func (f *faulty) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	call, fault, hang, slow := len(f.batches), f.fault, f.hang, f.slow
	f.batches = append(f.batches, len(items))
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", engine.ErrUnknown, ctx.Err())
	}
	time.Sleep(slow)
	if fault == nil {
		return f.Engine.Append(context.Background(), n, items...)
	}
	stored, told, err := fault(call, len(items))
	positions, failed := f.Engine.Append(context.Background(), n, items[:stored]...)
	if failed != nil {
		return nil, failed
	}
	return positions[:told], err
}

func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faulty) calls() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.batches)
}

// stored returns what the log of chat has.
func (f *faulty) stored(t *testing.T) []string {
	t.Helper()
	batch, err := f.Last(context.Background(), engine.Name{Channel: "chat"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, e := range batch.Entries {
		values = append(values, string(e.Data))
	}
	return values
}

// A press is a channel on a faulty engine, and senders that were begun in order.
type press struct {
	t      *testing.T
	engine *faulty
	site   *scope.Site
	feed   *scope.Feed
	chat   *scope.Handle
	work   sync.WaitGroup
}

func inPress(t *testing.T, config scope.SiteConfig, test func(t *testing.T, p *press)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &press{t: t, engine: newFaulty()}
		config.Engine = p.engine
		p.site = scope.NewSite(config)
		var err error
		if p.chat, err = scope.Register(p.site, scope.Spec{Name: "chat", Size: 5000}); err != nil {
			t.Fatal(err)
		}
		p.feed = p.chat.Feed()
		test(t, p)
		if err := p.site.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		p.work.Wait()
	})
}

// send begins to put values, each after the one before has entered, and returns
// what will be said of them.
func (p *press) send(ctx context.Context, values ...string) (errs []error, done func()) {
	errs = make([]error, len(values))
	var wg sync.WaitGroup
	for i, v := range values {
		wg.Add(1)
		p.work.Go(func() {
			defer wg.Done()
			errs[i] = p.feed.Put(ctx, []byte(v))
		})
		synctest.Wait()
	}
	return errs, wg.Wait
}

func (p *press) want(values ...string) {
	p.t.Helper()
	if got := p.engine.stored(p.t); fmt.Sprint(got) != fmt.Sprint(values) {
		p.t.Fatalf("the log has %q, want %q", got, values)
	}
}

func allNil(errs []error) bool {
	return !slices.ContainsFunc(errs, func(err error) bool { return err != nil })
}

// TestPublishThroughFaults proves rule 20: whatever an engine answers, in whatever
// order, each value is in the log once and in the order in which it was sent.
func TestPublishThroughFaults(t *testing.T) {
	for _, seed := range seeds(t, 60) {
		inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
			r, pauses := rand.New(rand.NewPCG(seed, 4)), rand.New(rand.NewPCG(seed, 5))
			p.engine.fault = func(n, items int) (stored, told int, err error) {
				if n > 40 || n > 8 && n%2 == 0 { // no more than PublishWithin in all
					return items, items, nil
				}
				part := r.IntN(items + 1)
				switch r.IntN(5) {
				case 0:
					return 0, 0, engine.ErrUnavailable
				case 1: // some are known to be stored
					return part, part, engine.ErrUnavailable
				case 2: // some are stored, and nobody knows
					return part, r.IntN(part + 1), engine.ErrUnknown
				case 3: // all, and the answer is lost
					return items, 0, fmt.Errorf("driver: %w: %w", engine.ErrUnknown, context.DeadlineExceeded)
				}
				return items, items, nil
			}
			var all []string
			var waits []func()
			var failed [][]error
			for i := range 10 {
				values := numbers(i*10+1, i*10+10)
				errs, wait := p.send(context.Background(), values...)
				all, waits, failed = append(all, values...), append(waits, wait), append(failed, errs)
				time.Sleep(time.Duration(pauses.IntN(200)) * time.Millisecond)
			}
			for i, wait := range waits {
				if wait(); !allNil(failed[i]) {
					t.Fatalf("COMET_SEED=%d: %v", seed, failed[i])
				}
			}
			if got := p.engine.stored(t); !slices.Equal(got, all) {
				t.Fatalf("COMET_SEED=%d: the log has %q, sent was %q", seed, got, all)
			}
		})
	}
}

// TestPublishThroughAnElection: what is sent while an engine elects, for nearly
// PublishWithin, is stored when that is over, and not acknowledged before.
func TestPublishThroughAnElection(t *testing.T) {
	inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
		begin := time.Now()
		p.engine.fault = func(_, items int) (int, int, error) {
			if time.Since(begin) < 9600*time.Millisecond {
				return 0, 0, engine.ErrUnavailable
			}
			return items, items, nil
		}
		errs, wait := p.send(context.Background(), numbers(1, 300)...)
		p.want()
		if wait(); !allNil(errs) {
			t.Fatal(errs)
		}
		if took := time.Since(begin); took < 9600*time.Millisecond || took > 10*time.Second {
			t.Errorf("acknowledged after %v", took)
		}
		p.want(numbers(1, 300)...)
		if n := len(p.engine.calls()); n > 40 {
			t.Errorf("%d appends in ten seconds: the pauses do not grow", n)
		}
	})
}

// TestPublishGathers: what is sent while an append is under way is the next one, by
// at most 128 values and 1 MiB.
func TestPublishGathers(t *testing.T) {
	inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
		p.engine.slow = time.Second
		errs, wait := p.send(context.Background(), numbers(1, 200)...)
		if wait(); !allNil(errs) {
			t.Fatal(errs)
		}
		if got := fmt.Sprint(p.engine.calls()); got != "[1 128 71]" {
			t.Errorf("appends of %s values", got)
		}
		p.want(numbers(1, 200)...)
		large := strings.Repeat("x", 400<<10)
		errs, wait = p.send(context.Background(), large, large, large, large, large)
		if wait(); !allNil(errs) {
			t.Fatal(errs)
		}
		if got := fmt.Sprint(p.engine.calls()); got != "[1 128 71 1 2 2]" {
			t.Errorf("appends of %s values", got)
		}
	})
}

// TestPublishGivesUp: after PublishWithin a sender hears the error, which tells
// whether the value may be there; those behind it go on.
func TestPublishGivesUp(t *testing.T) {
	for _, c := range []struct {
		name    string
		unknown bool
	}{{"unavailable", false}, {"unknown", true}} {
		t.Run(c.name, func(t *testing.T) {
			inPress(t, scope.SiteConfig{PublishWithin: 4 * time.Second}, func(t *testing.T, p *press) {
				begin := time.Now()
				p.engine.fault = func(n, items int) (int, int, error) {
					switch {
					case time.Since(begin) > 5*time.Second:
						return items, items, nil
					case c.unknown && n == 1:
						return 0, 0, engine.ErrUnknown
					}
					return 0, 0, engine.ErrUnavailable
				}
				first, waitFirst := p.send(context.Background(), "1")
				time.Sleep(3 * time.Second)
				second, waitSecond := p.send(context.Background(), "2")
				waitFirst()
				if took := time.Since(begin); took < 4*time.Second || took > 4200*time.Millisecond {
					t.Errorf("gave up after %v", took)
				}
				if err := first[0]; !errors.Is(err, engine.ErrUnavailable) || errors.Is(err, engine.ErrUnknown) != c.unknown {
					t.Error(err)
				}
				if waitSecond(); !allNil(second) {
					t.Error(second)
				}
				p.want("2")
			})
		})
	}
}

// TestPublishPatiently: a source that is read waits for an engine that is away for as
// long as it certainly has nothing of the value, else for 90 s.
func TestPublishPatiently(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
			h, err := scope.Register(p.site, scope.Spec{Name: "read", Patient: true})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			p.engine.fault = func(n, items int) (int, int, error) {
				switch {
				case time.Since(begin) > time.Hour:
					return items, items, nil
				case unknown && n == 0:
					return 0, 0, engine.ErrUnknown
				}
				return 0, 0, engine.ErrUnavailable
			}
			err = h.Feed().Put(context.Background(), []byte("v"))
			took := time.Since(begin)
			if unknown && (!errors.Is(err, engine.ErrUnknown) || took < 90*time.Second || took > 95*time.Second) || !unknown && (err != nil || took < time.Hour) {
				t.Errorf("unknown %v: %v after %v", unknown, err, took)
			}
		})
	}
}

// TestPublishAtOnce: with a negative PublishWithin nothing is tried twice.
func TestPublishAtOnce(t *testing.T) {
	inPress(t, scope.SiteConfig{PublishWithin: -1}, func(t *testing.T, p *press) {
		answers := []error{engine.ErrUnavailable, engine.ErrUnknown, nil}
		p.engine.fault = func(n, items int) (int, int, error) {
			if answers[n] != nil {
				return 0, 0, answers[n]
			}
			return items, items, nil
		}
		begin := time.Now()
		for _, want := range answers {
			if err := p.feed.Put(context.Background(), []byte("v")); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v", took)
		}
		p.want("v")
	})
}

// TestPublishIsBounded proves rule 13: what waits for an engine that does not answer
// is bounded by channel and by Site, and one value more is refused at once.
func TestPublishIsBounded(t *testing.T) {
	for _, c := range []struct {
		name   string
		config scope.SiteConfig
		value  string
		room   int
		says   string
	}{
		{"values of a channel", scope.SiteConfig{}, "v", 1000, "a channel has room for 1000"},
		{"bytes of a channel", scope.SiteConfig{}, strings.Repeat("x", 1<<20), 8, "a channel has room for"},
		{"values of the Site", scope.SiteConfig{PublishWaiting: 7}, "v", 7, "PublishWaiting"},
		{"bytes of the Site", scope.SiteConfig{PublishWaitingBytes: 25}, "0123456789", 2, "PublishWaitingBytes"},
		{"one is never too many", scope.SiteConfig{PublishWaitingBytes: 5}, "0123456789", 1, "PublishWaitingBytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inPress(t, c.config, func(t *testing.T, p *press) {
				p.engine.set(func() { p.engine.hang = true })
				values := slices.Repeat([]string{c.value}, c.room)
				errs, wait := p.send(context.Background(), values...)
				begin := time.Now()
				err := p.feed.Put(context.Background(), []byte(c.value))
				if !errors.Is(err, engine.ErrUnavailable) || !strings.Contains(err.Error(), c.says) || time.Since(begin) > 0 {
					t.Errorf("one more: %v after %v", err, time.Since(begin))
				}
				time.Sleep(2 * time.Second)
				p.engine.set(func() { p.engine.hang = false })
				if wait(); len(values) > 0 && !errors.Is(errors.Join(errs...), engine.ErrUnknown) && !allNil(errs) {
					t.Error(errs)
				}
				if err := p.feed.Put(context.Background(), []byte(c.value)); err != nil { // the room is there again
					t.Error(err)
				}
			})
		})
	}
}

// TestPublishContext: a value whose sender gives up while it waits is not stored; one
// that is under way may be, and the sender is told so.
func TestPublishContext(t *testing.T) {
	inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
		p.engine.slow = 2 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		errs, wait := p.send(ctx, "under way", "waits")
		rest, waitRest := p.send(context.Background(), "after")
		wait()
		if err := errs[0]; !errors.Is(err, engine.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error("under way:", err)
		}
		if err := errs[1]; errors.Is(err, engine.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error("waiting:", err)
		}
		if err := p.feed.Put(ctx, []byte("never")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, engine.ErrUnknown) {
			t.Error("ended before:", err)
		}
		if waitRest(); !allNil(rest) {
			t.Error(rest)
		}
		p.want("under way", "after")
	})
}

// TestPublishTooLargeTogether: an engine that finds a batch too large is given its
// values one by one, and only the one at fault is refused.
func TestPublishTooLargeTogether(t *testing.T) {
	inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
		p.engine.slow = time.Second
		p.engine.fault = func(n, items int) (int, int, error) {
			if items > 1 || n == 4 {
				return 0, 0, engine.ErrTooLarge
			}
			return items, items, nil
		}
		errs, wait := p.send(context.Background(), "1", "2", "3", "4")
		wait()
		if !errors.Is(errs[2], scope.ErrTooLarge) || errs[0] != nil || errs[1] != nil || errs[3] != nil {
			t.Errorf("%v after appends of %v values", errs, p.engine.calls())
		}
		p.want("1", "2", "4")
	})
}

// TestPublishEnds: what is sent before a Close is stored; a Shutdown does not wait
// for an engine that hangs, and tells each sender what is known.
func TestPublishEnds(t *testing.T) {
	inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
		p.engine.slow = time.Second
		errs, wait := p.send(context.Background(), "1", "2")
		p.chat.Close()
		if err := p.feed.Put(context.Background(), []byte("3")); !errors.Is(err, scope.ErrClosed) {
			t.Error(err)
		}
		if wait(); !allNil(errs) {
			t.Error(errs)
		}
		p.want("1", "2")
	})
	inPress(t, scope.SiteConfig{}, func(t *testing.T, p *press) {
		p.engine.hang = true
		errs, wait := p.send(context.Background(), "under way", "waits")
		begin := time.Now()
		if err := p.site.Shutdown(context.Background()); err != nil || time.Since(begin) > time.Second {
			t.Errorf("Shutdown: %v after %v", err, time.Since(begin))
		}
		wait()
		if err := errs[0]; !errors.Is(err, scope.ErrClosed) || !errors.Is(err, engine.ErrUnknown) {
			t.Error("under way:", err)
		}
		if err := errs[1]; !errors.Is(err, scope.ErrClosed) || errors.Is(err, engine.ErrUnknown) {
			t.Error("waiting:", err)
		}
	})
}

// TestPublishHere: the engine in this process is called once by whoever sends, and
// costs no goroutine.
func TestPublishHere(t *testing.T) {
	k := newKit(t)
	feed := k.channel(scope.Spec{Name: "c"}).Feed()
	data := []byte("v")
	before := runtime.NumGoroutine()
	defer func() {
		if now := runtime.NumGoroutine(); now > before {
			t.Errorf("%d goroutines, %d before", now, before)
		}
	}()
	if n := testing.AllocsPerRun(1000, func() { _ = feed.Put(context.Background(), data) }); n > 5 {
		t.Errorf("a value costs %v allocations", n)
	}
}
