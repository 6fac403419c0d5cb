package middleware

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/scope"
)

// hanging is a storage whose Get does not return before released is closed.
type hanging struct {
	fiber.Storage
	released chan struct{}
}

func (h *hanging) Get(string) ([]byte, error) {
	<-h.released
	return nil, nil
}

// built returns a Comet in a bubble, whose site is shut down at the end of f.
func built(t *testing.T, cfg Config, f func(t *testing.T, m *comet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Site = scope.NewSite()
		cfg.Logger = slog.New(slog.DiscardHandler)
		m, err := build(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f(t, m)
		if err := m.site.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An event stream is opened within ten seconds or not at all (rule 13), and what
// was asked too late is not told as gone: the browser comes back (rule 12).
func TestOpeningIsBounded(t *testing.T) {
	var asked context.Context
	wait := time.Duration(0)
	cfg := Config{Storage: new(hanging), Allow: func(ctx context.Context, _ scope.Reader, _ string) error {
		asked = ctx
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		return ctx.Err()
	}}
	built(t, cfg, func(t *testing.T, m *comet) {
		h, err := scope.Register(m.site, scope.Spec{Name: "chat"})
		if err != nil {
			t.Fatal(err)
		}
		link, err := m.site.Link(t.Context(), nil, 0, h)
		if err != nil {
			t.Fatal(err)
		}
		open := func(d time.Duration) (time.Duration, error) {
			start := time.Now()
			wait = d
			events, err := m.open(scope.Request{Query: link.Query})
			if err == nil {
				events.Gone(nil)
			}
			return time.Since(start), err
		}
		if took, err := open(9 * time.Second); err != nil || took != 9*time.Second {
			t.Errorf("in 9 s: %v after %v", err, took)
		}
		if asked.Err() == nil {
			t.Error("the context outlives the call")
		}
		if took, err := open(time.Hour); !errors.Is(err, context.DeadlineExceeded) || took != maxOpening {
			t.Errorf("in an hour: %v after %v", err, took)
		}
	})
}

// A storage that hangs holds the heartbeat no longer than its context, costs a
// bounded number of goroutines, and logs nobody out; when it answers again, so
// does Comet (rule 13).
func TestAliveHeedsItsContext(t *testing.T) {
	storage := new(hanging)
	built(t, Config{Storage: storage}, func(t *testing.T, m *comet) {
		storage.released = make(chan struct{}) // of the bubble
		for range 3 * maxAsking {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			if !m.alive(ctx, "s") || time.Since(start) != time.Second {
				t.Errorf("an answer after %v that the storage did not give", time.Since(start))
			}
			cancel()
		}
		if n := len(m.asking); n != maxAsking {
			t.Errorf("%d goroutines wait for the storage, want %d", n, maxAsking)
		}
		close(storage.released)
		synctest.Wait()
		if n := len(m.asking); n != 0 {
			t.Errorf("%d goroutines stay behind", n)
		}
		if m.alive(t.Context(), "s") {
			t.Error("the storage has no such session, and is not believed")
		}
	})
}

// exploding is a storage whose Get panics.
type exploding struct{ fiber.Storage }

func (exploding) Get(string) ([]byte, error) { panic("on purpose") }

// A storage that panics is a storage that fails: neither a logout nor a crash.
func TestAliveSurvivesAPanic(t *testing.T) {
	built(t, Config{Storage: exploding{}}, func(t *testing.T, m *comet) {
		if !m.alive(t.Context(), "s") {
			t.Error("a panic logged somebody out")
		}
		if n := len(m.asking); n != 0 {
			t.Errorf("%d places stay taken", n)
		}
	})
}
