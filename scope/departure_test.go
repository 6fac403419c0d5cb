package scope_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// TestDeploy proves rules 1, 2, 12 and 21: a node with 10,000 tabs gives way to another.
// They come back spread evenly over the window asked for, whether Shutdown has as long or
// not, and hear every value once and in order; so does whoever waits for the rest of what
// its client process was told. No socket is open: 10,000 of both ends are more than a
// process may have here. internal/apptest.TestDeploy is the same over sockets.
func TestDeploy(t *testing.T) {
	t.Parallel()
	const (
		share, channels = 50, 10 // one of so many tabs has a client process
		window          = 30 * time.Second
	)
	for _, c := range []struct {
		name           string
		tabs           int
		within, served time.Duration // Shutdown's time, and what of it readers are served for
	}{
		{"with time enough", 10_000, time.Minute, window},
		{"with less", 2000, 12 * time.Second, 9 * time.Second},
		{"with none", 2000, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := newNodes(t, 2, scope.SiteConfig{DrainOver: window, MaxSessions: c.tabs})
				old, next := nodes.kits[0], nodes.kits[1]
				var rooms, olds []*scope.Handle
				for i := range channels {
					rooms = append(rooms, next.channel(scope.Spec{Name: fmt.Sprint("room", i)}))
					olds = append(olds, old.channel(scope.Spec{Name: fmt.Sprint("room", i)}))
				}
				crowd := newCrowd(t, old.site)
				said := 0
				say := func() {
					said++
					for _, room := range rooms {
						next.put(room, fmt.Sprint(said))
					}
				}
				for i := range c.tabs {
					room := olds[i%channels]
					if i%share > 0 {
						crowd.join(newTab(t, old.site, "", nil, room), fmt.Sprint("room", i%channels))
						continue
					}
					p := old.process(fmt.Sprint(i))
					mine := old.private(p, scope.Spec{Name: "mine"})
					crowd.join(newTab(t, old.site, fmt.Sprint(i), p, mine, room), fmt.Sprint("room", i%channels))
					old.put(mine, "1")
				}
				say()
				crowd.live(time.Second)

				crowd.site = func() *scope.Site { return next.site }
				begin := crowd.now()
				ctx, cancel := context.WithTimeout(context.Background(), c.within)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- old.site.Shutdown(ctx) }()
				for crowd.now() < begin+window+5*time.Second {
					say()
					crowd.live(3 * time.Second)
				}
				if err := <-done; (err != nil) != (c.within == 0) {
					t.Fatal("Shutdown:", err)
				}
				var ends, arrivals []time.Duration
				for i, m := range crowd.members {
					if m.heard != said || len(m.opened) != 2 || m.turned != 0 {
						t.Fatalf("tab %d heard %d of %d on %d event streams", i, m.heard, said, len(m.opened))
					}
					if i%share == 0 {
						wantOwn(t, m)
					} else if len(m.others) > 0 {
						t.Fatalf("tab %d heard %v", i, m.others)
					}
					ends, arrivals = append(ends, m.ends[0]-begin), append(arrivals, m.opened[1]-begin)
				}
				wantEven(t, "returns", arrivals, time.Second, time.Second+window+2*step, 0.3)
				mean := float64(c.tabs) / window.Seconds()
				if n := most(arrivals, time.Second); float64(n) > mean+6*math.Sqrt(mean) { // six times what chance spreads them
					t.Errorf("%d came back within a second", n)
				}
				if c.served > 0 {
					wantEven(t, "ends", ends, 0, c.served, 0.3)
					if n := most(ends, step); n > c.tabs/90*13/10 {
						t.Errorf("%d were sent away at once", n)
					}
				}
			})
		})
	}
}

// wantOwn: what a tab with a client process heard besides, in order.
func wantOwn(t *testing.T, m *member) {
	t.Helper()
	var names []string
	for _, e := range m.others {
		names = append(names, e.name)
	}
	if got := strings.Join(names, " "); got != "mine comet:closed comet:gone" {
		t.Fatalf("a tab with a process heard %s", got)
	}
}

// TestDrainServes: who was not sent away yet hears on, from this node and, for longer
// than a lease, of a process that another one has; sessions are looked after; a newcomer
// is told to come back soon, for another node takes it; and who hears a process of this
// one, which has nothing more to say, leaves first.
func TestDrainServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2, scope.SiteConfig{DrainOver: 2 * time.Minute})
		var locked atomic.Bool
		for _, k := range c.kits {
			k.bind(scope.Hooks{Allow: func(_ context.Context, _ scope.Reader, channel string) error {
				if channel == "secret" && locked.Load() {
					return errors.New("no")
				}
				return nil
			}})
		}
		chat := c.kits[1].channel(scope.Spec{Name: "chat"})
		same := c.kits[0].channel(scope.Spec{Name: "chat"})
		crowd := newCrowd(t, c.kits[0].site)
		for range 200 {
			crowd.join(newTab(t, c.kits[0].site, "", nil, same), "chat")
		}
		var theirs []*scope.Handle
		var relayed []*member
		for range 20 {
			there := c.kits[1].process("s")
			mine := c.kits[1].private(there, scope.Spec{Name: "mine"})
			theirs, relayed = append(theirs, mine), append(relayed, crowd.join(newTab(t, c.kits[1].site, "s", there, mine), "mine"))
		}
		secret := c.kits[0].channel(scope.Spec{Name: "secret"})
		c.kits[1].channel(scope.Spec{Name: "secret"})
		var refused []*member
		for range 20 {
			refused = append(refused, crowd.join(newTab(t, c.kits[0].site, "", nil, same, secret), "chat"))
		}
		here := c.kits[0].process("t")
		first := crowd.join(newTab(t, c.kits[0].site, "t", here, c.kits[0].private(here, scope.Spec{Name: "a"}), same), "chat")
		crowd.live(time.Second)

		crowd.site = func() *scope.Site { return c.kits[1].site }
		begin := crowd.now()
		done := c.drain(0)
		said := 0
		for crowd.now() < begin+3*time.Minute {
			switch said++; said {
			case 20:
				locked.Store(true)
			case 40:
				wantShutOut(t, refused)
			}
			c.kits[1].put(chat, fmt.Sprint(said))
			for _, mine := range theirs {
				c.kits[1].put(mine, fmt.Sprint(said))
			}
			crowd.live(time.Second)
			if said == 60 {
				late := newTab(t, c.kits[1].site, "", nil, chat)
				late.site = c.kits[0].site
				if wait := retryOf(t, late.connect().bytes()); !late.ended || wait > 3*time.Second {
					t.Fatalf("a newcomer was told to come back after %v", wait)
				}
				if err := c.kits[0].site.Health(context.Background()); !errors.Is(err, scope.ErrShutdown) {
					t.Fatal("a node that drains is ready:", err)
				}
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for i, m := range crowd.members {
			if m.heard != said {
				t.Fatalf("tab %d heard %d of %d; %v", i, m.heard, said, m.ends)
			}
			if len(m.ends) != 1 {
				t.Fatalf("tab %d was sent away %d times", i, len(m.ends))
			}
		}
		if first.ends[0]-begin > time.Second {
			t.Errorf("a tab with a process of the node left after %v", first.ends[0]-begin)
		}
		if last := slices.MaxFunc(relayed, func(a, b *member) int { return cmp.Compare(a.ends[0], b.ends[0]) }); last.ends[0]-begin < 2*lease {
			t.Errorf("none was relayed for long: %v", last.ends[0]-begin)
		}
	})
}

// wantShutOut: 20 s after Allow began to say no everybody has heard it, also who was not
// sent away yet.
func wantShutOut(t *testing.T, refused []*member) {
	t.Helper()
	stayed := 0
	for _, m := range refused {
		if len(of(m.others, "comet:closed")) != 1 {
			t.Errorf("a reader still hears what Allow refuses: %v", m.others)
		}
		if len(m.ends) == 0 {
			stayed++
		}
	}
	if stayed == 0 {
		t.Error("all were sent away before")
	}
}

// TestDrainHurries: when a Shutdown has no time any more, all who are left are sent away
// at once, into what is left of the window.
func TestDrainHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tabs, window = 2000, time.Minute
		c := newNodes(t, 2, scope.SiteConfig{DrainOver: window})
		var log bytes.Buffer
		c.kits[0].bind(scope.Hooks{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		chat := c.kits[0].channel(scope.Spec{Name: "chat"})
		c.kits[1].channel(scope.Spec{Name: "chat"})
		crowd := newCrowd(t, c.kits[0].site)
		for range tabs {
			crowd.join(newTab(t, c.kits[0].site, "", nil, chat), "chat")
		}
		crowd.live(step)
		crowd.site = func() *scope.Site { return c.kits[1].site }
		begin := crowd.now()
		ctx, cancel := context.WithCancel(context.Background())
		done := c.drain(0)
		crowd.live(20 * time.Second)
		cancel()
		if err := c.kits[0].site.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		crowd.live(2 * step)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		crowd.live(window)
		var arrivals []time.Duration
		early := 0
		for _, m := range crowd.members {
			arrivals = append(arrivals, m.opened[1]-begin)
			if m.ends[0]-begin < 20*time.Second {
				early++
			}
		}
		wantEven(t, "returns", arrivals, time.Second, time.Second+window+2*step, 0.3)
		if early < tabs/4 || early > tabs*2/5 {
			t.Errorf("%d of %d had left after a third of the window", early, tabs)
		}
		if line := log.String(); !strings.Contains(line, "streams=2000 drain_over=1m0s pace=1m0s") {
			t.Errorf("the log: %s", line)
		}
	})
}

// TestDrainAlone: where nobody else can carry readers on, they are served to the last,
// and told at once when to come back, spread over the window; so are those who come to
// early. Without a window asked for 1000 come back a second.
func TestDrainAlone(t *testing.T) {
	for _, c := range []struct {
		asked, want time.Duration
		tabs        int
	}{
		{time.Minute, time.Minute, 2000},
		{0, 5 * time.Second, 5000},
		{0, 2 * time.Second, 1500},
		{time.Second, time.Second, 1000},
	} {
		t.Run(fmt.Sprint(c.asked, " ", c.tabs), func(t *testing.T) {
			inBubble(t, scope.SiteConfig{DrainOver: c.asked}, func(t *testing.T, k kit) {
				chat := k.channel(scope.Spec{Name: "chat"})
				var tabs []*tab
				for range c.tabs {
					tb := newTab(t, k.site, "", nil, chat).connect()
					tb.hear()
					tabs = append(tabs, tb)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- k.site.Shutdown(ctx) }()
				synctest.Wait()
				var waits, early []time.Duration
				for _, tb := range tabs {
					waits = append(waits, retryOf(t, tb.mustBeOver(true)))
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				wantEven(t, "told", waits, time.Second, time.Second+c.want, 0.35)
				time.Sleep(c.want / 2)
				for _, tb := range tabs {
					early = append(early, retryOf(t, tb.connect().mustBeOver(true)))
				}
				wantEven(t, "told early ones", early, time.Second, max(time.Second+c.want/2, min(2*time.Second, c.want)+time.Second), 0.35)
			})
		})
	}
}

// TestDrainOnItsOwn: a slow departure is over when all have left by themselves.
func TestDrainOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2, scope.SiteConfig{DrainOver: 10 * time.Minute})
		chat := c.kits[0].channel(scope.Spec{Name: "chat"})
		var tabs []*tab
		for range 50 {
			tabs = append(tabs, newTab(t, c.kits[0].site, "", nil, chat).connect())
		}
		begin := time.Now()
		done := c.drain(0)
		time.Sleep(time.Second)
		for _, tb := range tabs {
			tb.cut()
		}
		if err := <-done; err != nil || time.Since(begin) > 2*time.Second {
			t.Fatal(err, time.Since(begin))
		}
	})
}

// TestDrainConfig: what makes no sense is a panic at start that names the remedy.
func TestDrainConfig(t *testing.T) {
	for says, config := range map[string]scope.SiteConfig{
		"MaxStreamRate is -1: use at least 1, or 0 for no bound":                   {MaxStreamRate: -1},
		"MaxStreamAge is 1s: use 10s to 720h0m0s, or 0 for no bound":               {MaxStreamAge: time.Second},
		"MaxStreamAge is 721h0m0s: use 10s to":                                     {MaxStreamAge: 721 * time.Hour},
		"MaxStreamAge is -1ns: use 10s to":                                         {MaxStreamAge: -1},
		"DrainOver is 500ms: use 1s to 10m0s, or 0 for 1000 readers a second":      {DrainOver: 500 * time.Millisecond},
		"DrainOver is 11m0s: use 1s to 10m0s":                                      {DrainOver: 11 * time.Minute},
		"DrainOver is -1s: use 1s to 10m0s, or 0 for 1000 readers a second\nMaxAd": {DrainOver: -time.Second, MaxAddressStreams: -1},
	} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, says) {
					t.Errorf("said %q, want %q", said, says)
				}
			}()
			scope.NewSite(config)
		}()
	}
}
