package scope_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// TestFollowRewound proves rule 1 for a following whose store lost what it had
// acknowledged: one hole, reason reset, and then the log as it is.
func TestFollowRewound(t *testing.T) {
	for _, next := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := &lossy{Engine: memory.New()}
			site := scope.NewSite(scope.SiteConfig{Engine: log})
			put := func(values ...string) {
				for _, v := range values {
					if _, err := log.Append(context.Background(), engine.Name{Channel: "chat"}, engine.Item{Data: []byte(v)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			put(numbers(1, 5)...)
			f, err := site.Follow(context.Background(), scope.FollowSpec{Name: "chat", History: 5})
			if err != nil {
				t.Fatal(err)
			}
			read := func() (got []string) {
				for {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					data, _, err := f.Next(ctx)
					cancel()
					var hole *scope.HoleError
					switch {
					case errors.As(err, &hole):
						got = append(got, hole.Reason)
					case err != nil:
						return got
					default:
						got = append(got, string(data))
					}
				}
			}
			if got := read(); fmt.Sprint(got) != fmt.Sprint(numbers(1, 5)) {
				t.Fatal(got)
			}
			log.rewind(3)
			put("new 4", "new 5")
			log.reconnect()
			want := []string{"reset", "1", "2", "3", "new 4", "new 5"}
			if next {
				put("new 6")
				want = append(want, "new 6")
			}
			time.Sleep(time.Minute) // the probe's
			if got := read(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("next %v: got %q, want %q", next, got, want)
			}
			if err := site.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := f.Next(context.Background()); !errors.Is(err, scope.ErrShutdown) {
				t.Fatal(err)
			}
		})
	}
}
