package channel

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// A logCell is the cell of a site's signal: its channel's log.
type logCell struct {
	handle *scope.Handle
	feed   *scope.Feed

	mu   sync.Mutex
	seen []byte // the newest value that this node knows of
}

func siteCell(o scope.Owner, sp scope.Spec, initial []byte) (*scope.Handle, cell, error) {
	h, err := scope.Register(o, sp)
	if err != nil {
		return nil, nil, err
	}
	c := &logCell{handle: h, feed: h.Feed(), seen: initial}
	if _, err := c.value(context.Background()); err != nil { // a shared engine's calls end by themselves
		h.Close()
		return nil, nil, err
	}
	return h, c, nil
}

func (c *logCell) value(ctx context.Context) ([]byte, error) {
	data, _, err := c.last(ctx)
	return data, err
}

func (c *logCell) sample(ctx context.Context) ([]byte, scope.Ref, error) {
	data, at, err := c.last(ctx)
	return data, c.handle.After(at), err
}

// last asks the log. One that is empty, because it is new or the engine has lost
// it, is given the value that is known here.
func (c *logCell) last(ctx context.Context) ([]byte, engine.Position, error) {
	for range 2 {
		data, at, err := c.handle.Last(ctx, 1)
		if err != nil {
			return nil, at, err
		}
		if len(data) > 0 {
			c.know(data[0])
			return data[0], at, nil
		}
		if err := c.feed.Put(ctx, c.known()); err != nil {
			return nil, at, err
		}
	}
	return nil, engine.Position{}, fmt.Errorf("channel %s: the log does not keep the signal's value", c.handle.Name())
}

func (c *logCell) put(ctx context.Context, data []byte) error { return c.feed.Put(ctx, data) }

func (c *logCell) know(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = data
}

func (c *logCell) known() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// A tabCell is the cell of a process's signal: the value itself, and what its tab
// was given of it.
type tabCell struct {
	handle *scope.Handle

	mu      sync.Mutex
	data    []byte
	given   []byte
	gave    bool          // given anything yet
	changed chan struct{} // closed at the next change
}

func tabCellOf(o scope.Owner, sp scope.Spec, initial []byte) (*scope.Handle, cell, error) {
	c := &tabCell{data: initial, changed: make(chan struct{})}
	sp.Kind, sp.Pull, sp.Continuous = scope.Pull, c.next, true
	h, err := scope.Register(o, sp)
	if err != nil {
		return nil, nil, err
	}
	c.handle = h
	return h, c, nil
}

func (c *tabCell) value(context.Context) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data, nil
}

// sample gives the value to the tab within its page.
func (c *tabCell) sample(context.Context) ([]byte, scope.Ref, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given, c.gave = c.data, true
	return c.data, c.handle, nil
}

func (c *tabCell) put(_ context.Context, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = data
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// next waits until the value is another one than the tab was given. It is the
// channel's source, which is read for a tab that is there and has room.
func (c *tabCell) next(ctx context.Context) ([]byte, error) {
	for {
		data, news, changed := c.give(ctx)
		if news {
			return data, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// give takes nothing once ctx is done, which it looks at under the lock: what is put
// after the tab has left is not given to it before it is back.
func (c *tabCell) give(ctx context.Context) (data []byte, news bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil || c.gave && bytes.Equal(c.given, c.data) {
		return nil, false, c.changed
	}
	c.given, c.gave = c.data, true
	return c.data, true, nil
}
