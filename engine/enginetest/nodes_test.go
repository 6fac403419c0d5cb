package enginetest_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/memory"
)

// node is one handle of several on a store that outlives them, as the nodes of an
// app have on a server.
type node struct {
	store engine.Engine

	mu      sync.Mutex
	closed  bool
	watches map[*bool]func() // each ends one watch
}

// enter begins a call: the context first, then whether the node is open.
func (d *node) enter(ctx context.Context, n engine.Name) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.Validate(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return engine.ErrClosed
	}
	return nil
}

func (d *node) Ensure(ctx context.Context, n engine.Name, s engine.Spec) (engine.Info, error) {
	if err := d.enter(ctx, n); err != nil {
		return engine.Info{}, err
	}
	return d.store.Ensure(ctx, n, s)
}

func (d *node) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	if err := d.enter(ctx, n); err != nil {
		return nil, err
	}
	return d.store.Append(ctx, n, items...)
}

func (d *node) Read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	if err := d.enter(ctx, n); err != nil {
		return engine.Batch{}, err
	}
	return d.store.Read(ctx, n, after, max)
}

func (d *node) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	if err := d.enter(ctx, n); err != nil {
		return engine.Batch{}, err
	}
	return d.store.Last(ctx, n, k)
}

func (d *node) Tail(ctx context.Context, n engine.Name) (engine.Position, error) {
	if err := d.enter(ctx, n); err != nil {
		return engine.Position{}, err
	}
	return d.store.Tail(ctx, n)
}

func (d *node) Tails(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
	for _, n := range names {
		if err := d.enter(ctx, n); err != nil {
			return nil, err
		}
	}
	return d.store.Tails(ctx, names)
}

func (d *node) Watch(ctx context.Context, n engine.Name, s engine.Sink) (func(), error) {
	if err := d.enter(ctx, n); err != nil {
		return nil, err
	}
	stop, err := d.store.Watch(ctx, n, s)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := new(bool)
	d.watches[key] = func() {
		stop()
		s.Dirty(engine.ErrClosed)
	}
	return func() {
		stop()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watches, key)
	}, nil
}

func (d *node) Delete(ctx context.Context, n engine.Name) error {
	if err := d.enter(ctx, n); err != nil {
		return err
	}
	return d.store.Delete(ctx, n)
}

func (d *node) Caps() engine.Caps { return d.store.Caps() }

func (d *node) Health(ctx context.Context) error {
	return d.enter(ctx, engine.Name{Channel: "any"})
}

func (d *node) Close(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, end := range d.watches {
		end()
	}
	clear(d.watches)
	return nil
}

func cluster(n int) func(t *testing.T) enginetest.Cluster {
	return func(t *testing.T) enginetest.Cluster {
		store := memory.New()
		var c enginetest.Cluster
		for range n {
			c.Handles = append(c.Handles, &node{store: store, watches: make(map[*bool]func())})
		}
		return c
	}
}

func TestSeveralHandles(t *testing.T) {
	enginetest.RunInBubble(t, cluster(3))
}

func TestInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("waits some seconds for a log to expire")
	}
	enginetest.Run(t, cluster(2))
}
