package channel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// Two instances on one engine, each with its prefix: news says, and app follows.
type instances struct {
	t         *testing.T
	engine    engine.Engine
	news, app *scope.Site
}

// inInstances runs test in a bubble, with the goroutines of both ended after it.
func inInstances(t *testing.T, e engine.Engine, test func(t *testing.T, i instances)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		i := instances{
			t: t, engine: e,
			news: scope.NewSite(scope.SiteConfig{Engine: e, Prefix: "news"}),
			app:  scope.NewSite(scope.SiteConfig{Engine: e, Prefix: "app"}),
		}
		test(t, i)
		for _, site := range []*scope.Site{i.app, i.news} {
			if err := site.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
}

// says makes a channel of news; what it returns sends to it.
func (i instances) says(name string, size int) (*channel.Channel[int], func(values ...int)) {
	i.t.Helper()
	sender, stream := channel.Push[int]()
	ch, err := channel.Create(i.news, stream, channel.Config{Name: name, Size: size})
	if err != nil {
		i.t.Fatal(err)
	}
	return ch, func(values ...int) {
		i.t.Helper()
		for _, v := range values {
			if err := sender.Send(context.Background(), v); err != nil {
				i.t.Fatal(err)
			}
		}
	}
}

func (i instances) follow(config channel.FollowConfig) *channel.Following[int] {
	i.t.Helper()
	config.Prefix = "news"
	f, err := channel.Follow[int](context.Background(), i.app, config)
	if err != nil {
		i.t.Fatal(err)
	}
	return f
}

// has reads all that is there now.
func has(t *testing.T, f *channel.Following[int], want ...int) (last engine.Position) {
	t.Helper()
	var got []int
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		v, err := f.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		got, last = append(got, v.Value), v.Position
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	return last
}

// TestFollowBegins proves rule 17 in Go: where a following begins, in Go as on a page.
func TestFollowBegins(t *testing.T) {
	inInstances(t, memory.New(), func(t *testing.T, i instances) {
		_, say := i.says("chat", 10)
		say(1, 2, 3, 4, 5)
		one, three := i.follow(channel.FollowConfig{Name: "chat"}), i.follow(channel.FollowConfig{Name: "chat", History: 3})
		all, now := i.follow(channel.FollowConfig{Name: "chat", History: 100}), i.follow(channel.FollowConfig{Name: "chat", FromNow: true})
		at := has(t, one, 5)
		has(t, three, 3, 4, 5)
		has(t, all, 1, 2, 3, 4, 5)
		has(t, now)
		say(6)
		after := i.follow(channel.FollowConfig{Name: "chat", After: at})
		for _, f := range []*channel.Following[int]{one, three, all, now, after} {
			has(t, f, 6)
		}
		own, err := channel.Follow[int](context.Background(), i.news, channel.FollowConfig{Prefix: "news", Name: "chat", History: 2})
		if err != nil {
			t.Fatal(err)
		}
		has(t, own, 5, 6)
	})
}

// TestFollowNewest: the value comes first, and what a newer one replaced is no hole.
func TestFollowNewest(t *testing.T) {
	inInstances(t, memory.New(), func(t *testing.T, i instances) {
		sender, stream := channel.Push[int]()
		must(channel.CreateNewest(i.news, stream, channel.NewestConfig{Name: "level"}))
		early := i.follow(channel.FollowConfig{Name: "level", Newest: true})
		for v := range 5 {
			_ = sender.Send(context.Background(), v)
		}
		has(t, early, 4)
		has(t, i.follow(channel.FollowConfig{Name: "level", Newest: true}), 4)
		_ = sender.Send(context.Background(), 5)
		has(t, early, 5)
	})
}

// TestFollowOfNothing: a channel that is not there is an error or is waited for, and
// then heard from its first value; neither makes the log.
func TestFollowOfNothing(t *testing.T) {
	inInstances(t, memory.New(), func(t *testing.T, i instances) {
		_, err := channel.Follow[int](context.Background(), i.app, channel.FollowConfig{Prefix: "news", Name: "chat"})
		mustBe(t, "not there", err, channel.ErrNotFound, engine.ErrNoChannel)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err = channel.Follow[int](ctx, i.app, channel.FollowConfig{Prefix: "news", Name: "chat", Wait: true})
		cancel()
		mustBe(t, "never there", err, context.DeadlineExceeded)

		var waiting sync.WaitGroup
		waiting.Go(func() { has(t, i.follow(channel.FollowConfig{Name: "chat", FromNow: true, Wait: true}), 1, 2, 3) })
		waiting.Go(func() {
			_, err := channel.Follow[int](context.Background(), i.app, channel.FollowConfig{Prefix: "news", Name: "never", Wait: true})
			mustBe(t, "Shutdown while waiting", err, channel.ErrShutdown)
		})
		time.Sleep(10 * time.Second)
		_, say := i.says("chat", 7) // no spec of another's stands in the way
		say(1, 2, 3)
		time.Sleep(5 * time.Second)
		if err := i.app.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		waiting.Wait()
		_, err = channel.Follow[int](context.Background(), i.app, channel.FollowConfig{Prefix: "news", Name: "chat"})
		mustBe(t, "after Shutdown", err, channel.ErrShutdown)
	})
}

// TestFollowHoles proves rule 1 in Go: what is not to be had is said, once and in its
// place, with where it goes on.
func TestFollowHoles(t *testing.T) {
	inInstances(t, memory.New(), func(t *testing.T, i instances) {
		hole := func(f *channel.Following[int], reason string, after engine.Position) *channel.HoleError {
			t.Helper()
			v, err := f.Next(context.Background())
			var h *channel.HoleError
			if !errors.As(err, &h) || h.Reason != reason || h.After != after || h.Channel != "chat" || h.Resume.IsZero() {
				t.Fatalf("got %v, %+v, want a hole, reason %s, after %v", v, err, reason, after)
			}
			return h
		}
		_, say := i.says("chat", 5)
		say(1, 2)
		slow := i.follow(channel.FollowConfig{Name: "chat", History: 2})
		at := has(t, slow, 1, 2)
		say(3, 4, 5, 6, 7, 8, 9)
		tight := i.follow(channel.FollowConfig{Name: "chat", History: 2, Size: 2})
		has(t, slow, 3, 4, 5, 6, 7, 8, 9) // this node's ring is the larger one
		late := i.follow(channel.FollowConfig{Name: "chat", After: at})
		h := hole(late, "trimmed", at)
		if late.Err() != nil {
			t.Fatal("a hole ended it:", late.Err())
		}
		has(t, late, 5, 6, 7, 8, 9)
		has(t, i.follow(channel.FollowConfig{Name: "chat", After: h.Resume}), 5, 6, 7, 8, 9)

		say(10, 11)
		var h2 *channel.HoleError
		if v, err := tight.Next(context.Background()); !errors.As(err, &h2) || h2.Reason != "trimmed" {
			t.Fatalf("got %v, %v of what a ring of two let go", v, err)
		}
		has(t, tight, 10, 11)

		foreign := engine.Position{Epoch: "other", Seq: 3}
		reset := i.follow(channel.FollowConfig{Name: "chat", After: foreign})
		hole(reset, "reset", foreign)
		has(t, reset, 7, 8, 9, 10, 11)
		future := at
		future.Seq += 1000
		ahead := i.follow(channel.FollowConfig{Name: "chat", After: future})
		hole(ahead, "future", future)
		has(t, ahead, 7, 8, 9, 10, 11)
	})
}

// TestFollowEnds: after the log's last value, after Close, and after Shutdown there is
// a final error; a loop ends with it.
func TestFollowEnds(t *testing.T) {
	inInstances(t, memory.New(), func(t *testing.T, i instances) {
		ch, say := i.says("chat", 10)
		say(1, 2, 3)
		f, closed, other := i.follow(channel.FollowConfig{Name: "chat", History: 3}), i.follow(channel.FollowConfig{Name: "chat"}), i.follow(channel.FollowConfig{Name: "chat"})
		var waits sync.WaitGroup
		waits.Go(func() {
			has(t, other, 3)
			_, err := other.Next(context.Background())
			mustBe(t, "the log ended while waiting", err, channel.ErrClosed, engine.ErrNoChannel)
		})
		closed.Close()
		closed.Close()
		_, err := closed.Next(context.Background())
		mustBe(t, "Close", err, channel.ErrClosed)
		mustBe(t, "Err", closed.Err(), channel.ErrClosed)
		time.Sleep(2 * time.Second)
		ch.Close() // of an engine that is not shared the log goes
		waits.Wait()
		ended(t, f.Done())
		var got []string
		for v, err := range f.All(context.Background()) {
			if err != nil {
				mustBe(t, "the end", err, channel.ErrClosed, engine.ErrNoChannel)
				got = append(got, "end")
				continue
			}
			got = append(got, fmt.Sprint(v.Value))
		}
		if fmt.Sprint(got) != "[1 2 3 end]" {
			t.Fatal(got)
		}
		_, say = i.says("more", 10)
		say(1)
		g := i.follow(channel.FollowConfig{Name: "more"})
		if err := i.app.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		_, err = g.Next(context.Background())
		mustBe(t, "Shutdown", err, channel.ErrShutdown)
	})
}

// TestFollowStream: a following is the source of a channel; what cannot be read, or
// is missing, ends it or is passed over, as the program says.
func TestFollowStream(t *testing.T) {
	inInstances(t, memory.New(), func(t *testing.T, i instances) {
		sender, stream := channel.Push[any]()
		source := must(channel.Create(i.news, stream, channel.Config{Name: "mixed", Size: 10}))
		for _, v := range []any{1, "two", 3} {
			_ = sender.Send(context.Background(), v)
		}
		strict := must(channel.Create(i.app, i.follow(channel.FollowConfig{Name: "mixed", History: 3}).Stream(nil), channel.Config{Name: "strict"}))
		var skipped []error
		lenient := must(channel.Create(i.app, i.follow(channel.FollowConfig{Name: "mixed", History: 3}).Stream(func(err error) error {
			skipped = append(skipped, err)
			return nil
		}), channel.Config{Name: "lenient"}))
		synctest.Wait()
		values := func(ch *channel.Channel[int]) []int {
			v, _, err := ch.Recent(context.Background(), 10)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if got := values(strict); !slices.Equal(got, []int{1}) || strict.Err() == nil {
			t.Errorf("strict: %v, %v", got, strict.Err())
		}
		if got := values(lenient); !slices.Equal(got, []int{1, 3}) || lenient.Err() != nil || len(skipped) != 1 {
			t.Errorf("lenient: %v, %v, skipped %v", got, lenient.Err(), skipped)
		}
		f := i.follow(channel.FollowConfig{Name: "mixed", History: 2})
		v, err := f.Next(context.Background())
		if err == nil || v.Position.IsZero() {
			t.Errorf("a value that is none: %+v, %v", v, err)
		}
		has(t, f, 3)
		source.Close()
		synctest.Wait()
		mustBe(t, "the source's log ended", lenient.Err(), channel.ErrClosed)
	})
}

// TestFollowUnderChaos is rule 1 over a feed that loses, doubles, delays and reorders:
// every value once and in order.
func TestFollowUnderChaos(t *testing.T) {
	for seed := range int64(20) {
		inInstances(t, enginetest.Chaos(memory.New(), seed, enginetest.DefaultFaults), func(t *testing.T, i instances) {
			_, say := i.says("chat", 1000)
			say(1)
			f := i.follow(channel.FollowConfig{Name: "chat"})
			var saying sync.WaitGroup
			defer saying.Wait()
			saying.Go(func() {
				for v := range 300 {
					say(v + 2)
					time.Sleep(time.Duration(v%7) * time.Millisecond)
				}
			})
			for want := 1; want <= 301; want++ {
				v, err := f.Next(context.Background())
				if err != nil || v.Value != want {
					t.Fatalf("seed %d: got %v, %v, want %d", seed, v, err, want)
				}
			}
		})
	}
}

// TestFollowIsChecked: what makes no sense is told by Follow.
func TestFollowIsChecked(t *testing.T) {
	site := newSite(t)
	ctx := context.Background()
	for _, c := range []channel.FollowConfig{
		{Name: "c", History: 1, FromNow: true},
		{Name: "c", Newest: true, After: engine.Position{Epoch: "e"}},
		{Name: "c", History: -1},
		{Name: "c", Size: -1},
		{Name: "c", History: 11, Size: 10},
	} {
		_, err := channel.Follow[int](ctx, site, c)
		mustBe(t, fmt.Sprintf("%+v", c), err, channel.ErrBadConfig)
	}
	_, err := channel.Follow[int](ctx, site, channel.FollowConfig{})
	mustBe(t, "no name", err, channel.ErrBadName)
	_, err = channel.Follow[chan int](ctx, site, channel.FollowConfig{Name: "c"})
	mustBe(t, "no JSON", err, channel.ErrBadConfig)
	_, err = channel.Follow[int](ctx, nil, channel.FollowConfig{Name: "c"})
	mustBe(t, "no site", err, channel.ErrBadConfig)
}
