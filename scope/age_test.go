package scope_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
)

// TestMaxStreamAge proves rule 12: event streams that began together end spread over the
// last fifth of the age, at the latest then, and go on where they were, at once.
func TestMaxStreamAge(t *testing.T) {
	t.Parallel()
	const tabs, age = 2000, 10 * time.Minute
	inBubble(t, scope.SiteConfig{MaxStreamAge: age}, func(t *testing.T, k kit) {
		chat := k.channel(scope.Spec{Name: "chat", Size: 100})
		crowd := newCrowd(t, k.site)
		crowd.step = 50 * time.Millisecond
		for range tabs {
			crowd.join(newTab(t, k.site, "", nil, chat), "chat")
		}
		said := 0
		for crowd.now() < age+10*time.Second {
			said++
			k.put(chat, fmt.Sprint(said))
			crowd.live(10 * time.Second)
		}
		var ends, waits []time.Duration
		for i, m := range crowd.members {
			if m.heard != said || len(m.ends) != 1 || len(m.others) > 0 {
				t.Fatalf("tab %d heard %d of %d values and %v, and was sent away at %v", i, m.heard, said, m.others, m.ends)
			}
			ends, waits = append(ends, m.ends[0]), append(waits, m.waits[0])
		}
		const late = 350 * time.Millisecond // the wheel's tick
		wantEven(t, "ends", ends, age*4/5, age+late, 0.3)
		if n := most(ends, time.Second); n > 3*tabs/120 {
			t.Errorf("%d ended within a second", n)
		}
		wantEven(t, "told", waits, 750*time.Millisecond, 1250*time.Millisecond, 0.3)
	})
}

// TestNoAge: by default an event stream has no age at which it ends; nor does an age
// change the heartbeats.
func TestNoAge(t *testing.T) {
	for _, age := range []time.Duration{0, 24 * time.Hour} {
		inBubble(t, scope.SiteConfig{MaxStreamAge: age}, func(t *testing.T, k kit) {
			tb := newTab(t, k.site, "", nil, k.channel(scope.Spec{Name: "chat"})).connect()
			tb.hear()
			for look := range 12 * 60 {
				time.Sleep(time.Minute)
				if len(of(tb.take(tb.mustBeOver(false)), "comet:hb")) == 0 {
					t.Fatalf("no heartbeat in minute %d", look)
				}
			}
			tb.cut()
			if err := k.site.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
