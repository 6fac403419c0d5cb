package scope_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// lease is the default one, and hold how long an owner keeps a question.
const (
	lease = 10 * time.Second
	hold  = lease / 4
)

// A view is the engine as one node sees it, with what can go wrong between them.
type view struct {
	*memory.Engine
	mu     sync.Mutex
	cut    bool                                         // nothing passes, in either direction
	dead   bool                                         // the node was killed
	stops  []func()                                     // of its Serves
	stall  chan struct{}                                // what is asked of the node waits until it is closed
	faults func(request []byte) (lose, late chan error) // of what the node asks
}

func (v *view) state() (cut bool, stall chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cut || v.dead, v.stall
}

func (v *view) set(f func(*view)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(v)
}

// kill is the node's death: who asks it hears that nobody serves, and its record
// runs out.
func (v *view) kill() {
	v.set(func(v *view) { v.dead = true })
	for _, stop := range v.stops {
		stop()
	}
}

// isolated is what a call is that cannot pass.
func isolated(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", engine.ErrUnknown, ctx.Err())
}

func (v *view) Serve(ctx context.Context, n engine.Node, answer engine.Answer) (func(), error) {
	stop, err := v.Engine.Serve(ctx, n, func(ctx context.Context, request []byte) []byte {
		cut, stall := v.state()
		if stall != nil {
			select {
			case <-stall:
			case <-ctx.Done():
			}
		}
		if cut {
			<-ctx.Done()
			return nil
		}
		return answer(ctx, request)
	})
	if err == nil {
		v.set(func(v *view) { v.stops = append(v.stops, stop) })
	}
	return stop, err
}

func (v *view) Ask(ctx context.Context, n engine.Node, request []byte) ([]byte, error) {
	if cut, _ := v.state(); cut {
		return nil, isolated(ctx)
	}
	v.mu.Lock()
	faults := v.faults
	v.mu.Unlock()
	if faults == nil {
		return v.Engine.Ask(ctx, n, request)
	}
	lose, late := faults(request)
	if late != nil { // it is on its way, whatever becomes of who asked
		go func() {
			if <-late; true {
				_, _ = v.Engine.Ask(context.Background(), n, request)
			}
		}()
		return nil, isolated(ctx)
	}
	reply, err := v.Engine.Ask(ctx, n, request)
	if lose != nil && err == nil {
		return nil, isolated(ctx)
	}
	return reply, err
}

func (v *view) SetRecord(ctx context.Context, n engine.Node, record []byte, ttl time.Duration) error {
	if cut, _ := v.state(); cut {
		return isolated(ctx)
	}
	return v.Engine.SetRecord(ctx, n, record, ttl)
}

func (v *view) Record(ctx context.Context, n engine.Node) ([]byte, error) {
	if cut, _ := v.state(); cut {
		return nil, isolated(ctx)
	}
	return v.Engine.Record(ctx, n)
}

func (v *view) Records(ctx context.Context, prefix string) (map[string][]byte, error) {
	if cut, _ := v.state(); cut {
		return nil, isolated(ctx)
	}
	return v.Engine.Records(ctx, prefix)
}

func (v *view) DropRecord(ctx context.Context, n engine.Node) error {
	if cut, _ := v.state(); cut {
		return isolated(ctx)
	}
	return v.Engine.DropRecord(ctx, n)
}

// nodes are a few Sites on one engine, each a kit of its own.
type nodes struct {
	t     *testing.T
	kits  []kit
	views []*view
}

func newNodes(t *testing.T, n int, config ...scope.SiteConfig) *nodes {
	t.Helper()
	c := &nodes{t: t}
	shared := memory.New(memory.Config{Nodes: true})
	for range n {
		var one scope.SiteConfig
		if len(config) > 0 {
			one = config[0]
		}
		v := &view{Engine: shared}
		one.Engine = v
		c.views = append(c.views, v)
		c.kits = append(c.kits, newKit(t, one))
	}
	t.Cleanup(func() { // before the Sites end: the last one shall not wait for the first
		for _, v := range c.views {
			v.set(func(v *view) { v.faults = nil })
		}
		time.Sleep(lease) // what is late has come
	})
	synctest.Wait() // every record is set
	return c
}

// silent has the questions of a node's relays not arrive until it is healed, and those from before never in time.
func (c *nodes) silent(node int) (heal func()) {
	stuck := make(chan error)
	c.t.Cleanup(func() { close(stuck) })
	c.views[node].set(func(v *view) {
		v.faults = func(request []byte) (lose, late chan error) {
			if request[0] == scope.AskNext {
				return nil, stuck
			}
			return nil, nil
		}
	})
	return func() { c.views[node].set(func(v *view) { v.faults = nil }) }
}

// on moves a tab to a node, where it connects.
func (c *nodes) on(tb *tab, node int) *tab {
	c.t.Helper()
	tb.cut()
	tb.site = c.kits[node].site
	return tb.connect()
}

// hear returns all that comes without time passing.
func (c *nodes) hear(tb *tab) (all []heard) {
	c.t.Helper()
	for {
		synctest.Wait()
		events := tb.hear()
		if len(events) == 0 {
			return all
		}
		all = append(all, events...)
	}
}

// want is tab.want across nodes.
func (c *nodes) want(tb *tab, name string, want ...string) []heard {
	c.t.Helper()
	events := c.hear(tb)
	if got := of(events, name); fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Fatalf("heard %s %q, want %q; all: %v", name, got, want, events)
	}
	return events
}

// goneAfter returns when the tab hears that its process is gone.
func (c *nodes) goneAfter(tb *tab, most time.Duration) time.Duration {
	c.t.Helper()
	begin := time.Now()
	for time.Since(begin) <= most {
		events := c.hear(tb)
		if len(of(events, "comet:gone")) > 0 {
			return time.Since(begin)
		}
		if len(of(events, "comet:superseded")) > 0 {
			c.t.Fatal("superseded:", events)
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatalf("after %v the process is not gone", most)
	return 0
}
