package scope_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
)

// TestHerd proves rules 12 and 13: a herd at the start is admitted at the rate and no
// faster, all of it and soon, also while others keep coming; who is attached notices
// nothing.
func TestHerd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate, herd int
		stream     int // newcomers a second besides
	}{
		{rate: 100, herd: 5000},
		{rate: 500, herd: 10_000},
		{rate: 100, herd: 3000, stream: 30},
		{rate: 1, herd: 40},
	} {
		t.Run(fmt.Sprintf("%d at %d a second and %d more", c.herd, c.rate, c.stream), func(t *testing.T) {
			inBubble(t, scope.SiteConfig{MaxStreamRate: c.rate}, func(t *testing.T, k kit) {
				var log bytes.Buffer
				k.bind(scope.Hooks{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				chat := k.channel(scope.Spec{Name: "chat", Size: 1000})
				crowd := newCrowd(t, k.site)
				before := crowd.join(newTab(t, k.site, "", nil, chat), "chat")
				crowd.live(2 * time.Second)
				begin := crowd.now()
				page := newTab(t, k.site, "", nil, chat)
				for range c.herd {
					crowd.join(page.duplicate(), "chat")
				}
				// At nine tenths of the rate, less what others take; and the turns that chance takes.
				bound := time.Duration(float64(c.herd)/(0.8*float64(c.rate)-float64(c.stream))*float64(time.Second))*5/4 + 10*time.Second
				said := 0
				for crowd.now() < begin+bound {
					said++
					k.put(chat, fmt.Sprint(said))
					for range c.stream {
						if crowd.now() < begin+bound*2/3 {
							crowd.join(page.duplicate(), "chat")
						}
					}
					crowd.live(time.Second)
					if before.heard != said || len(before.ends) > 0 {
						t.Fatalf("who was attached heard %d of %d", before.heard, said)
					}
				}
				var admitted, turns []int
				var opened []time.Duration
				for i, m := range crowd.members[1:] {
					if len(m.opened) != 1 {
						t.Fatalf("tab %d of the herd was let in %d times and turned away %d times within %v", i, len(m.opened), m.turned, bound)
					}
					opened, turns = append(opened, m.opened[0]-begin), append(turns, m.turned)
				}
				for s := time.Duration(1); s < bound; s += time.Second {
					admitted = append(admitted, most(slices.Clone(opened), s))
					if n := admitted[len(admitted)-1]; float64(n) > float64(c.rate)*(s.Seconds()+1)+1 {
						t.Fatalf("%d were let in within %v", n, s)
					}
					if s > 20*time.Second {
						break
					}
				}
				if most, sum := slices.Max(turns), total(turns); most > 12 || sum > 3*len(turns) {
					t.Errorf("turned away %d times, one of them %d times", sum, most)
				}
				if said := log.String(); c.stream == 0 && (strings.Count(said, "level=WARN") != 1 || !strings.Contains(said, fmt.Sprint("rate=", c.rate))) {
					t.Errorf("the log: %s", said)
				}
				crowd.live(time.Duration(c.herd/c.rate) * time.Second)
				crowd.join(page.duplicate(), "chat")
				if n := crowd.members[len(crowd.members)-1].turned; n > 0 {
					t.Error("after the herd a newcomer is turned away")
				}
				if c.stream == 0 && !strings.Contains(log.String(), fmt.Sprint("turned_away=", total(turns))) {
					t.Errorf("the log: %s", &log)
				}
			})
		})
	}
}

func total(numbers []int) (sum int) {
	for _, n := range numbers {
		sum += n
	}
	return sum
}

// TestEndlessHerd: a herd that is longer than anybody is told to wait for is let in at
// the rate, and nobody starves.
func TestEndlessHerd(t *testing.T) {
	t.Parallel()
	const rate, herd = 5, 4000 // 13 minutes, at most five of them are told
	inBubble(t, scope.SiteConfig{MaxStreamRate: rate}, func(t *testing.T, k kit) {
		chat := k.channel(scope.Spec{Name: "chat"})
		crowd := newCrowd(t, k.site)
		crowd.step = 100 * time.Millisecond
		page := newTab(t, k.site, "", nil, chat)
		for range herd {
			crowd.join(page.duplicate(), "chat")
		}
		crowd.live(30 * time.Minute)
		turns := 0
		for _, m := range crowd.members {
			if len(m.opened) != 1 {
				t.Fatalf("one was let in %d times, and turned away %d times", len(m.opened), m.turned)
			}
			turns = max(turns, m.turned)
		}
		if turns > 40 {
			t.Errorf("one was turned away %d times", turns)
		}
	})
}

// TestAdmit: who is not admitted costs nothing, whatever the reason; a limit of the
// address takes no token.
func TestAdmit(t *testing.T) {
	inBubble(t, scope.SiteConfig{MaxStreamRate: 2, MaxAddressStreams: 1}, func(t *testing.T, k kit) {
		page := newTab(t, k.site, "", nil, k.channel(scope.Spec{Name: "chat"}))
		s, err := k.site.OpenStream(t.Context(), scope.Request{Query: page.query, Address: "1.2.3.4"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Gone(nil)
		for range 10 {
			if wait, ok := k.site.Admit("", "1.2.3.4"); ok || wait < time.Second || wait > 3*time.Second {
				t.Fatal(wait, ok)
			}
		}
		for i := range 3 {
			wait, ok := k.site.Admit("", "other")
			if ok != (i < 2) || ok != (wait == 0) {
				t.Fatal(i, wait, ok)
			}
		}
		time.Sleep(600 * time.Millisecond)
		if _, ok := k.site.Admit("", "other"); !ok {
			t.Error("the bucket does not fill again")
		}
	})
}

// TestTurnedAwayKeepsItsProcess proves rule 10: a client process does not expire while
// its tab is told to stay away, though that is longer than ConnectWithin; when it then
// does not come, it does.
func TestTurnedAwayKeepsItsProcess(t *testing.T) {
	const tabs = 200 // more than three minutes, at one a second
	inBubble(t, scope.SiteConfig{MaxStreamRate: 1, MaxProcesses: tabs + 1, MaxSessionStreams: tabs}, func(t *testing.T, k kit) {
		crowd := newCrowd(t, k.site)
		crowd.step = 50 * time.Millisecond
		for range tabs {
			p := k.process("s")
			mine := k.private(p, scope.Spec{Name: "mine"})
			k.put(mine, "1")
			crowd.join(newTab(t, k.site, "s", p, mine), "mine")
		}
		lazy := k.process("s")
		asks := newTab(t, k.site, "s", lazy, k.private(lazy, scope.Spec{Name: "mine"}))
		wait, ok := k.site.Admit(asks.query, "")
		if ok || wait < 3*time.Minute {
			t.Fatal(wait, ok)
		}
		crowd.live(wait + 59*time.Second)
		if lazy.Err() != nil {
			t.Error("it expired before its tab was due:", lazy.Err())
		}
		crowd.live(2 * time.Second)
		if !errors.Is(lazy.Err(), scope.ErrProcessGone) {
			t.Error("it lives on though its tab did not come:", lazy.Err())
		}
		for i, m := range crowd.members {
			if m.heard != 1 || len(m.others) > 0 {
				t.Fatalf("tab %d, let in at %v, heard %d values and %v", i, m.opened, m.heard, m.others)
			}
		}
	})
}
