package scope_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// TestLostLogIsMadeAgain proves rules 1 and 14 where a store that nodes share loses a
// log: emptied, restarted without its data, or by somebody's hand. The channel is not
// the store's to end: it goes on as a new life, its readers on every node hear full,
// reason reset, and what is sent meanwhile is sent once.
func TestLostLogIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.New(memory.Config{Nodes: true})
		var nodes []kit
		var chats []*scope.Handle
		var tabs []*tab
		for range 2 {
			k := kit{t, scope.NewSite(scope.SiteConfig{Engine: log})}
			chat := k.channel(scope.Spec{Name: "chat"})
			nodes, chats = append(nodes, k), append(chats, chat)
			tabs = append(tabs, newTab(t, k.site, "", nil, chat).connect())
		}
		nodes[0].put(chats[0], "before")
		synctest.Wait()
		for _, tb := range tabs {
			tb.want("chat", "before")
		}
		for round := range 3 {
			if err := log.Delete(t.Context(), engine.Name{Channel: "chat"}); err != nil {
				t.Fatal(err)
			}
			if round > 0 { // else the next value is the first to notice
				synctest.Wait()
			}
			nodes[round%2].put(chats[round%2], "after")
			synctest.Wait()
			for _, tb := range tabs {
				events := tb.wantNotice("full", notice{Channel: "chat", Reason: "reset", Resume: "*"})
				if got := of(events, "chat"); len(got) != 1 || got[0] != "after" {
					t.Fatalf("round %d: after full came %q", round, got)
				}
			}
		}
		for i, k := range nodes {
			tabs[i].cut()
			if err := k.site.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A log that somebody else made with another Spec in place of the lost one is not the
// channel's: it ends, visibly.
func TestLostLogIsAnothersNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.New(memory.Config{Nodes: true})
		k := kit{t, scope.NewSite(scope.SiteConfig{Engine: conflicting{log, new(atomic.Int32)}})}
		chat := k.channel(scope.Spec{Name: "chat"})
		tb := newTab(t, k.site, "", nil, chat).connect()
		k.put(chat, "before")
		tb.want("chat", "before")
		name := engine.Name{Channel: "chat"}
		if err := log.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		tb.wantNotice("closed", notice{Channel: "chat", Reason: "closed", Final: true})
		tb.cut()
		if err := k.site.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// conflicting is an engine where another node is quicker to make a lost log again.
type conflicting struct {
	*memory.Engine
	ensured *atomic.Int32
}

func (c conflicting) Ensure(ctx context.Context, n engine.Name, s engine.Spec) (engine.Info, error) {
	if c.ensured.Add(1) > 1 {
		other := s
		other.Size++
		if _, err := c.Engine.Ensure(ctx, n, other); err != nil {
			return engine.Info{}, err
		}
	}
	return c.Engine.Ensure(ctx, n, s)
}
