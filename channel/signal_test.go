package channel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

func set[T any](t *testing.T, s *channel.Signal[T], v T) {
	t.Helper()
	if err := s.Set(t.Context(), v); err != nil {
		t.Fatal(err)
	}
}

// TestSignal proves rules 2, 6 and 19: a page gets the value and then the changes,
// without a hole; of many it hears the newest, and none that changes nothing.
func TestSignal(t *testing.T) {
	for name, private := range map[string]bool{"site": false, "process": true} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			p := newProcess(t, site)
			var o scope.Owner = site
			if private {
				o = p
			}
			level := must(channel.CreateSignal(o, 1, channel.NewestConfig{Name: "level"}))
			if v := must(level.Value(t.Context())); v != 1 {
				t.Fatal(v)
			}
			v, after, err := level.Sample(t.Context())
			if v != 1 || err != nil {
				t.Fatal(v, err)
			}
			set(t, level, 2) // between the page and its event stream
			pg := newPage(t, site, p, after)
			pg.want(t, "level 2")
			set(t, level, 2)
			if heard := pg.now(); len(heard) > 0 {
				t.Fatal("a value that did not change was sent:", heard)
			}
			for i := 3; i <= 50; i++ {
				set(t, level, i)
			}
			if heard := hearUntil(pg, "level 50"); len(heard) > 2 { // one may have been read already
				t.Fatal("of changes that came together it heard", heard)
			}
			if err := level.Update(t.Context(), func(old int) (int, error) { return old + 1, nil }); err != nil {
				t.Fatal(err)
			}
			pg.want(t, "level 51")
			no := errors.New("no")
			mustBe(t, "Update", level.Update(t.Context(), func(int) (int, error) { return 0, no }), no)
			if v := must(level.Value(t.Context())); v != 51 {
				t.Fatal(v)
			}
			level.Close()
			<-level.Done()
			mustBe(t, "Err", level.Err(), channel.ErrClosed)
			mustBe(t, "Set", level.Set(t.Context(), 1), channel.ErrClosed)
		})
	}
}

// hearUntil hears up to the event that is last.
func hearUntil(pg *page, last string) (heard []string) {
	for len(heard) == 0 || heard[len(heard)-1] != last {
		more := pg.hear(1)
		if len(more) == 0 {
			return heard
		}
		heard = append(heard, more...)
	}
	return heard
}

// TestSignalHeardWithItsValue: without Sample a page hears the value first.
func TestSignalHeardWithItsValue(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	shared := must(channel.CreateSignal(site, "a", channel.NewestConfig{Name: "shared", Encoding: channel.Text}))
	own := must(channel.CreateSignal(p, "", channel.NewestConfig{Name: "own", Encoding: channel.Text}))
	pg := newPage(t, site, p, shared, own)
	heard := strings.Join(pg.hear(2), ";")
	if heard != "shared a;own" && heard != "own;shared a" {
		t.Fatal(heard)
	}
}

// TestSignalOfATabAway proves rules 9 and 19: nothing is read while the tab is
// away, and then the newest value alone, or none that the tab has.
func TestSignalOfATabAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := scope.NewSite()
		defer site.Shutdown(context.Background())
		p := must(site.NewProcess("session"))
		level := must(channel.CreateSignal(p, 1, channel.NewestConfig{Name: "level"}))
		pg := must(open(site, p, level))
		defer pg.leave()
		pg.want(t, "level 1")
		pg.leave()
		for i := range 10 {
			set(t, level, i)
		}
		if err := pg.connect(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		pg.want(t, "level 9")
		pg.leave()
		set(t, level, 10)
		set(t, level, 9)
		if err := pg.connect(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if heard := pg.now(); len(heard) > 0 {
			t.Fatal("what the tab has was sent again:", heard)
		}
		set(t, level, 11)
		synctest.Wait()
		pg.want(t, "level 11")
		pg.leave()
	})
}

// TestUpdateLosesNothing proves rule 19: concurrent updates follow each other, and
// every reader's last value is the last.
func TestUpdateLosesNothing(t *testing.T) {
	const writers, each = 8, 50
	site := newSite(t)
	sum := must(channel.CreateSignal(site, 0, channel.NewestConfig{Name: "sum"}))
	_, after, err := sum.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pg := newPage(t, site, nil, after)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				if err := sum.Update(context.Background(), func(n int) (int, error) { return n + 1, nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	want := fmt.Sprintf("sum %d", writers*each)
	if heard := hearUntil(pg, want); len(heard) == 0 || heard[len(heard)-1] != want {
		t.Fatal(heard)
	}
}

// A forgetful engine's log is found empty once.
type forgetful struct {
	engine.Engine
	forget atomic.Bool
}

func (f *forgetful) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	b, err := f.Engine.Last(ctx, n, k)
	if f.forget.Swap(false) {
		b.Entries = nil
	}
	return b, err
}

// TestSignalSurvivesItsLog proves rule 19: a signal always has a value, also when
// the engine has lost it; and what another node has set is not overwritten.
func TestSignalSurvivesItsLog(t *testing.T) {
	log := &forgetful{Engine: memory.New()}
	site := newSite(t, scope.SiteConfig{Engine: log})
	name := engine.Name{Channel: "level"}
	must(log.Ensure(t.Context(), name, engine.Spec{Size: 1, MaxBytes: scope.DefaultMaxBytes, Newest: true}))
	must(log.Append(t.Context(), name, engine.Item{Data: []byte("7")}))
	level := must(channel.CreateSignal(site, 1, channel.NewestConfig{Name: "level"}))
	if v := must(level.Value(t.Context())); v != 7 {
		t.Fatalf("the value of another node became %d", v)
	}
	log.forget.Store(true)
	if v := must(level.Value(t.Context())); v != 7 {
		t.Fatal(v)
	}
}

// TestUpdatePanics: a change that panics lets go of the signal.
func TestUpdatePanics(t *testing.T) {
	site := newSite(t)
	s := must(channel.CreateSignal(site, 0))
	func() {
		defer func() { recover() }()
		s.Update(t.Context(), func(int) (int, error) { panic("boom") })
	}()
	set(t, s, 1)
}

func TestSignalErrors(t *testing.T) {
	site := newSite(t)
	must(channel.CreateSignal(site, 1, channel.NewestConfig{Name: "level"}))
	for _, c := range []struct {
		err  error
		is   error
		says string
	}{
		{second(channel.CreateSignal(site, 1, channel.NewestConfig{Name: "level"})), channel.ErrNameTaken, "level"},
		{second(channel.CreateSignal(site, 1, channel.NewestConfig{}, channel.NewestConfig{})), channel.ErrBadConfig, "merge"},
		{second(channel.CreateSignal(site, make(chan int))), channel.ErrBadConfig, "chan int"},
		{second(channel.CreateSignal[error](site, nil)), channel.ErrBadConfig, "error"},
		{second(channel.CreateSignal(nil, 1)), channel.ErrBadConfig, "owner"},
		{second(channel.CreateSignal((*scope.ClientProcess)(nil), 1)), channel.ErrNoProcess, "nil"},
	} {
		if !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%v, want %v that says %q", c.err, c.is, c.says)
		}
	}
	if _, err := channel.CreateSignal(site, "\xff", channel.NewestConfig{Name: "text", Encoding: channel.Text}); err == nil {
		t.Error("a value that cannot be carried was taken")
	}
	must(channel.CreateSignal(site, "fine", channel.NewestConfig{Name: "text", Encoding: channel.Text}))
}
