package channel_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// unsure is an engine elsewhere that stores, and whose answers are lost while it is
// told so.
type unsure struct {
	*memory.Engine

	mu   sync.Mutex
	lost int  // answers yet to be lost
	away bool // nothing is taken
}

func (u *unsure) Caps() engine.Caps {
	c := u.Engine.Caps()
	c.Shared = true
	return c
}

func (u *unsure) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.away {
		return nil, engine.ErrUnavailable
	}
	positions, err := u.Engine.Append(ctx, n, items...)
	if err == nil && u.lost > 0 {
		u.lost--
		return nil, engine.ErrUnknown
	}
	return positions, err
}

// TestDuplexRepeated proves rule 18 where the engine's answer is lost: the page is
// asked to send again, and what it repeats under its number is in the channel once.
// Under a number that is free again another value is another.
func TestDuplexRepeated(t *testing.T) {
	e := &unsure{Engine: memory.New()}
	site := newSite(t, scope.SiteConfig{Engine: e, PublishWithin: -1})
	made := 0
	chat := must(channel.CreateDuplex(site, func(_ context.Context, r channel.Received[string]) (said, error) {
		made++ // what accept makes of a repeated value is not what it made before
		return said{By: fmt.Sprint(made), Text: r.Value}, nil
	}, channel.DuplexConfig[string]{Channel: channel.Config{Name: "chat"}}))
	pg := newPage(t, site, newProcess(t, site), chat)
	send := func(n string, values ...string) error {
		_, err := pg.site.Command(t.Context(), pg.request(), map[string][]string{"send": {"chat"}, "value": values, "n": {n}})
		return err
	}
	unknown := func(n string, taken int, values ...string) {
		t.Helper()
		e.lost = 1
		r := wantRefused(t, send(n, values...), "full", "send this again")
		if r.RetryAfter <= 0 || r.Taken != taken {
			t.Fatalf("%+v", r)
		}
	}
	taken := func(n string, values ...string) {
		t.Helper()
		if err := send(n, values...); err != nil {
			t.Fatal(err)
		}
	}
	unknown("1", 0, `"a"`, `"b"`)
	unknown("1", 0, `"a"`, `"b"`)
	taken("1", `"a"`, `"b"`)
	unknown("2", 0, `"same"`)
	taken("2", `"other"`)
	taken("3", `"other"`)
	wantRefused(t, send("5", `"x"`), "conflict", "expected was 4")
	e.lost = 1
	wantRefused(t, send("", `"no number"`), "full", "send this again")
	if err := send("", `"no number"`); err != nil {
		t.Fatal(err)
	}
	pg.want(t, `chat {"by":"1","text":"a"}`, `chat {"by":"4","text":"b"}`, `chat {"by":"5","text":"same"}`,
		`chat {"by":"6","text":"other"}`, `chat {"by":"7","text":"other"}`, `chat {"by":"8","text":"no number"}`, `chat {"by":"9","text":"no number"}`)
}

// TestReadStreamWaitsForTheEngine proves rule 20 for a source that is read: an engine
// that is away for long holds it up, and does not end its channel.
func TestReadStreamWaitsForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &unsure{Engine: memory.New(), away: true}
		site := scope.NewSite(scope.SiteConfig{Engine: e})
		var made atomic.Int32
		count := must(channel.Create(site, channel.From(func(ctx context.Context) (int, error) {
			if made.Load() == 3 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return int(made.Add(1)), nil
		}), channel.Config{Name: "count"}))
		time.Sleep(time.Hour)
		if count.Err() != nil || made.Load() != 1 {
			t.Fatalf("%v after %d values", count.Err(), made.Load())
		}
		e.mu.Lock()
		e.away = false
		e.mu.Unlock()
		time.Sleep(time.Minute)
		if values, _, err := count.Recent(context.Background(), 10); fmt.Sprint(values) != "[1 2 3]" {
			t.Fatal(values, err)
		}
		if err := site.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDuplexWhileTheEngineIsAway proves rule 18: a page is not kept for longer than
// ten seconds, and then asked to send again; so are those behind it.
func TestDuplexWhileTheEngineIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &unsure{Engine: memory.New(), away: true}
		site := scope.NewSite(scope.SiteConfig{Engine: e, PublishWithin: time.Minute})
		chat := must(channel.CreateDuplex(site, channel.AsSent[int], channel.DuplexConfig[int]{Channel: channel.Config{Name: "chat"}}))
		var sending sync.WaitGroup
		for range 20 {
			pg := newPage(t, site, newProcess(t, site), chat)
			sending.Go(func() {
				begin := time.Now()
				wantRefused(t, pg.send("chat", "1"), "full", "send this again")
				if took := time.Since(begin); took > 11*time.Second {
					t.Errorf("answered after %v", took)
				}
			})
		}
		sending.Wait()
		expired, cancel := context.WithCancel(context.Background())
		cancel()
		_ = site.Shutdown(expired) // the pages leave afterwards
	})
}
