package scope_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// behind is an engine whose feed loses everything, and whose Tail may be slow to come
// back with what it found.
type behind struct {
	*memory.Engine
	mu   sync.Mutex
	sink engine.Sink
	slow []chan struct{} // the next Tails each wait for one with their answers
}

func (b *behind) Caps() engine.Caps {
	caps := b.Engine.Caps()
	caps.ReliableFeed = false
	return caps
}

func (b *behind) Watch(_ context.Context, _ engine.Name, sink engine.Sink) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sink = sink
	return func() {}, nil
}

func (b *behind) Tail(ctx context.Context, n engine.Name) (engine.Position, error) {
	b.mu.Lock()
	var slow chan struct{}
	if len(b.slow) > 0 {
		slow, b.slow = b.slow[0], b.slow[1:]
	}
	b.mu.Unlock()
	tail, err := b.Engine.Tail(ctx, n)
	if slow != nil {
		<-slow
	}
	return tail, err
}

// TestAheadOfARepairUnderWay proves rules 1 and 4: a reader that heard on another node
// what this one does not have yet is no reader from the future. A repair that asked for
// the tail before that value was there says nothing about it.
func TestAheadOfARepairUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.New(memory.Config{Nodes: true})
		late := &behind{Engine: log}
		var nodes []kit
		var chats []*scope.Handle
		for _, e := range []engine.Engine{log, late} {
			k := kit{t, scope.NewSite(scope.SiteConfig{Engine: e})}
			nodes, chats = append(nodes, k), append(chats, k.channel(scope.Spec{Name: "chat"}))
		}
		tb := newTab(t, nodes[0].site, "", nil, chats[0]).connect()
		nodes[0].put(chats[0], "a")
		late.sink.Dirty(nil)
		synctest.Wait() // node 1 has it, too
		before, after := make(chan struct{}), make(chan struct{})
		late.mu.Lock()
		late.slow = []chan struct{}{before, after}
		late.mu.Unlock()
		late.sink.Dirty(nil) // asks, and has its answer late
		synctest.Wait()
		nodes[0].put(chats[0], "b")
		synctest.Wait()
		tb.want("chat", "a", "b")
		tb.cut()
		tb.site = nodes[1].site
		tb.connect()
		synctest.Wait()
		for _, answer := range []chan struct{}{before, after} {
			close(answer)
			synctest.Wait()
			for _, e := range tb.hear() {
				if e.name == "comet:full" || e.name == "chat" {
					t.Fatalf("heard %v", e)
				}
			}
		}
		nodes[0].put(chats[0], "c")
		time.Sleep(time.Minute) // a probe
		synctest.Wait()
		tb.want("chat", "c")
		tb.cut()
		for _, k := range nodes {
			if err := k.site.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
