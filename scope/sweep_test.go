package scope_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// bind gives the kit's Site its hooks.
func (k kit) bind(h scope.Hooks) {
	k.t.Helper()
	if err := k.site.Bind(h); err != nil {
		k.t.Fatal(err)
	}
}

// TestSlowAllowIsAskedAgain proves rule 16: an Allow that takes a heartbeat at the
// only attach is asked again all the same, and its later no is heard.
func TestSlowAllowIsAskedAgain(t *testing.T) {
	inBubble(t, scope.SiteConfig{Heartbeat: 2 * time.Second}, func(t *testing.T, k kit) {
		var calls atomic.Int32
		k.bind(scope.Hooks{Allow: func(context.Context, scope.Reader, string) error {
			if calls.Add(1) == 1 {
				time.Sleep(2 * time.Second) // a database
				return nil
			}
			return errors.New("revoked")
		}})
		tb := newTab(t, k.site, "", nil, k.channel(scope.Spec{Name: "c"})).connect()
		tb.hear()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		tb.wantNotice("closed", notice{Channel: "c", Reason: "unavailable", Final: true})
	})
}

// TestOneSessionsAnswerHangs proves rules 8 and 13: a session about which nothing
// is ever answered delays no other's logout.
func TestOneSessionsAnswerHangs(t *testing.T) {
	inBubble(t, scope.SiteConfig{Heartbeat: 2 * time.Second}, func(t *testing.T, k kit) {
		hang := make(chan struct{})
		defer close(hang)
		var loggedOut atomic.Bool
		k.bind(scope.Hooks{Alive: func(_ context.Context, session string) bool {
			if session == "slow" {
				<-hang // whatever its context says
			}
			return session != "out" || !loggedOut.Load()
		}})
		slow, out := k.process("slow"), k.process("out")
		newTab(t, k.site, "slow", slow).connect().hear()
		tb := newTab(t, k.site, "out", out).connect()
		tb.hear()
		time.Sleep(10 * time.Second)
		loggedOut.Store(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		tb.wantNotice("gone", notice{Process: out.Token(), Reason: "gone"})
		if slow.Err() != nil {
			t.Fatal("a session was ended of which nothing is known")
		}
	})
}

// TestSessionsDoNotDelayAllow proves rule 16: asking about many sessions, slowly,
// does not keep Allow from being asked.
func TestSessionsDoNotDelayAllow(t *testing.T) {
	inBubble(t, scope.SiteConfig{Heartbeat: 2 * time.Second}, func(t *testing.T, k kit) {
		var forbidden atomic.Bool
		k.bind(scope.Hooks{
			Alive: func(context.Context, string) bool { time.Sleep(200 * time.Millisecond); return true },
			Allow: func(context.Context, scope.Reader, string) error {
				if forbidden.Load() {
					return errors.New("no")
				}
				return nil
			},
		})
		chat := k.channel(scope.Spec{Name: "chat"})
		var tabs []*tab
		for i := range 100 {
			session := fmt.Sprint(i)
			tabs = append(tabs, newTab(t, k.site, session, k.process(session), chat).connect())
		}
		forbidden.Store(true)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		for _, tb := range tabs {
			tb.wantNotice("closed", notice{Channel: "chat", Reason: "unavailable", Final: true})
		}
	})
}

// TestLogoutWhileAway proves rules 8 and 10: a session is asked about whose tab is
// away, so that its sources do not run on for an hour.
func TestLogoutWhileAway(t *testing.T) {
	inBubble(t, scope.SiteConfig{Heartbeat: 2 * time.Second}, func(t *testing.T, k kit) {
		k.bind(scope.Hooks{Alive: func(_ context.Context, session string) bool { return session != "out" }})
		p, other := k.process("out"), k.process("in")
		newTab(t, k.site, "out", p).connect().cut()
		newTab(t, k.site, "in", other).connect() // sweeps run while there are event streams
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if p.Err() == nil || other.Err() != nil {
			t.Fatal("logged out:", p.Err(), "logged in:", other.Err())
		}
	})
}
