package scope_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
)

// commandsUntilRefused sends commands until one is refused, and tells how many
// were taken and how soon the next one may be.
func commandsUntilRefused(t *testing.T, most int, command func() error) (taken int, wait time.Duration) {
	t.Helper()
	for ; taken <= most; taken++ {
		if err := command(); err != nil {
			wantRefused(t, err, "busy")
			var refused *scope.CommandError
			errors.As(err, &refused)
			if refused.RetryAfter <= 0 {
				t.Fatalf("%v tells no time", err)
			}
			return taken, refused.RetryAfter
		}
	}
	t.Fatalf("%d commands were taken", taken)
	return 0, 0
}

// TestCommandRates proves rule 13: commands are bounded by client process, by
// session and by network address. Time brings them back, one tab does not use up
// another's, and a process is not evicted for it.
func TestCommandRates(t *testing.T) {
	config := scope.SiteConfig{MaxCommandRate: 2, MaxSessionCommandRate: 3, MaxAddressCommandRate: 5}
	inBubble(t, config, func(t *testing.T, k kit) {
		k.channel(scope.Spec{Name: "c"})
		from := func(tb *tab, address string) func() error {
			return func() error {
				request := scope.Request{Query: tb.query, Reader: tb.reader, Address: address}
				_, err := k.site.Command(context.Background(), request, map[string][]string{"register": {"c"}})
				return err
			}
		}
		one, two := newTab(t, k.site, "s", k.process("s")).connect(), newTab(t, k.site, "s", k.process("s")).connect()
		if n, wait := commandsUntilRefused(t, 100, from(one, "a")); n != 20 || wait != 500*time.Millisecond {
			t.Errorf("a process sent %d commands, and was told to wait %v", n, wait)
		}
		if n, wait := commandsUntilRefused(t, 100, from(two, "b")); n != 10 || wait > time.Second/2 {
			t.Errorf("the session's other process sent %d commands, and was told to wait %v", n, wait)
		}
		three, four := newTab(t, k.site, "u", k.process("u")).connect(), newTab(t, k.site, "v", k.process("v")).connect()
		if n, _ := commandsUntilRefused(t, 100, from(three, "c")); n != 20 {
			t.Errorf("another session sent %d commands", n)
		}
		unknown := func() error { // counts, too
			_, err := k.site.Command(context.Background(), scope.Request{Query: "?", Address: "c"}, nil)
			if refused := new(scope.CommandError); errors.As(err, &refused) && refused.Code == "bad" {
				return nil
			}
			return err
		}
		if n, _ := commandsUntilRefused(t, 100, unknown); n != 29 { // 50, less the 20 and the one over them
			t.Errorf("the address sent %d more", n)
		}
		wantRefused(t, from(four, "c")(), "busy")
		time.Sleep(500 * time.Millisecond)
		if err := from(one, "a")(); err != nil {
			t.Error("after the time that was told:", err)
		}
		time.Sleep(10 * time.Second)
		if n, _ := commandsUntilRefused(t, 100, from(one, "a")); n != 20 {
			t.Errorf("after ten seconds %d commands", n)
		}
		for _, tb := range []*tab{one, two, three, four} {
			tb.hear() // nobody lost its event stream
		}
	})
}

// TestCommandRatesAreForgotten proves rule 13: who sent a command long ago leaves
// nothing.
func TestCommandRatesAreForgotten(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxAddressCommandRate: 1000_000})
	i := 0
	round := func(int) {
		i++
		_, _ = k.site.Command(context.Background(), scope.Request{Query: "?", Address: fmt.Sprint("address ", i)}, nil)
	}
	if grown := heapOf(20_000, round); grown > 30 {
		t.Errorf("each address left %d bytes", grown)
	}
}

// TestLogoutEndsStreamsThatAllowDecided proves rules 8 and 16: where Allow decides
// what is heard, the event streams of a session that ended end within a heartbeat,
// also those of site channels alone, and others do not.
func TestLogoutEndsStreamsThatAllowDecided(t *testing.T) {
	const heartbeat = 2 * time.Second
	for name, logout := range map[string]func(k kit, out *atomic.Bool){
		"told":  func(k kit, _ *atomic.Bool) { k.site.EndSession("ann"); k.site.EndSession("cid") },
		"found": func(_ kit, out *atomic.Bool) { out.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, scope.SiteConfig{Heartbeat: heartbeat}, func(t *testing.T, k kit) {
				var out atomic.Bool
				k.bind(scope.Hooks{
					Allow: func(_ context.Context, r scope.Reader, _ string) error { return nil },
					Alive: func(_ context.Context, session string) bool { return session == "ben" || !out.Load() },
				})
				news := k.channel(scope.Spec{Name: "news"})
				page := newTab(t, k.site, "ann", k.process("ann"), news).connect()
				list, other := newTab(t, k.site, "ann", nil, news).connect(), newTab(t, k.site, "ben", nil, news).connect()
				lone := newTab(t, k.site, "cid", nil, news).connect() // of a session without any process
				for _, tb := range []*tab{page, list, lone, other} {
					tb.hear()
				}
				time.Sleep(time.Second)
				logout(k, &out)
				time.Sleep(heartbeat)
				if gone := of(page.hear(), "comet:gone"); len(gone) != 1 {
					t.Errorf("the page heard gone %d times", len(gone))
				}
				list.hear()
				lone.hear()
				k.put(news, "after the logout")
				if page.stream != nil && len(of(page.hear(), "news")) > 0 || len(of(list.hear(), "news"))+len(of(lone.hear(), "news")) > 0 {
					t.Error("heard after the logout")
				}
				other.want("news", "after the logout")
				list.cut().connect().want("news", "after the logout") // who comes back is asked about anew
			})
		})
	}
}
