package memory

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

var _ engine.Cluster = (*Engine)(nil)

// nodes is who serves, and what is on record of whom.
type nodes struct {
	mu      sync.Mutex
	closed  bool
	servers map[engine.Node]*server
	records map[engine.Node]nodeRecord
}

// A server is one Serve that was not stopped.
type server struct {
	answer engine.Answer
	ctx    context.Context // of its answers; ends with stop
	stop   context.CancelFunc
}

type nodeRecord struct {
	data    []byte
	expires time.Duration
}

// Serve implements engine.Cluster.
func (e *Engine) Serve(ctx context.Context, n engine.Node, answer engine.Answer) (stop func(), err error) {
	if err := check(ctx, n); err != nil {
		return nil, explainNode("serve", n, err)
	}
	s := &server{answer: answer}
	s.ctx, s.stop = context.WithCancel(context.Background())
	n = cloneNode(n)
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	if e.nodes.closed {
		s.stop()
		return nil, explainNode("serve", n, engine.ErrClosed)
	}
	if e.nodes.servers == nil {
		e.nodes.servers = make(map[engine.Node]*server)
	}
	e.nodes.servers[n] = s
	return func() {
		s.stop()
		e.nodes.mu.Lock()
		defer e.nodes.mu.Unlock()
		if e.nodes.servers[n] == s {
			delete(e.nodes.servers, n)
		}
	}, nil
}

// Ask implements engine.Cluster. The answer runs in a goroutine of its own, which
// goes on when ctx ends before it returned.
func (e *Engine) Ask(ctx context.Context, n engine.Node, request []byte) ([]byte, error) {
	if err := check(ctx, n); err != nil {
		return nil, explainNode("ask", n, err)
	}
	if err := checkLength("the request", request, e.config.MaxEntry); err != nil {
		return nil, explainNode("ask", n, err)
	}
	e.nodes.mu.Lock()
	s, closed := e.nodes.servers[n], e.nodes.closed
	e.nodes.mu.Unlock()
	switch {
	case closed:
		return nil, explainNode("ask", n, engine.ErrClosed)
	case s == nil:
		return nil, explainNode("ask", n, engine.ErrNoNode)
	}
	replies := make(chan []byte, 1)
	request = bytes.Clone(request)
	go func() { replies <- s.answer(s.ctx, request) }()
	select {
	case reply := <-replies:
		if err := checkLength("the reply", reply, e.config.MaxEntry); err != nil {
			return nil, explainNode("ask", n, err)
		}
		return reply, nil
	case <-s.ctx.Done():
		return nil, explainNode("ask", n, fmt.Errorf("%w: the node stopped serving", engine.ErrUnknown))
	case <-ctx.Done():
		return nil, explainNode("ask", n, fmt.Errorf("%w: %w", engine.ErrUnknown, ctx.Err()))
	}
}

// SetRecord implements engine.Cluster.
func (e *Engine) SetRecord(ctx context.Context, n engine.Node, data []byte, ttl time.Duration) error {
	if err := check(ctx, n); err != nil {
		return explainNode("set record", n, err)
	}
	if err := checkLength("the record", data, engine.MaxRecord); err != nil {
		return explainNode("set record", n, err)
	}
	if ttl < engine.MinTTL {
		return explainNode("set record", n, fmt.Errorf("%w: a record may live %v or longer, not %v", engine.ErrBadSpec, engine.MinTTL, ttl))
	}
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	if e.nodes.closed {
		return explainNode("set record", n, engine.ErrClosed)
	}
	if e.nodes.records == nil {
		e.nodes.records = make(map[engine.Node]nodeRecord)
	}
	e.nodes.records[cloneNode(n)] = nodeRecord{bytes.Clone(data), e.now() + ttl}
	return nil
}

// Record implements engine.Cluster.
func (e *Engine) Record(ctx context.Context, n engine.Node) ([]byte, error) {
	if err := check(ctx, n); err != nil {
		return nil, explainNode("record", n, err)
	}
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	r, ok := e.nodes.records[n]
	switch {
	case e.nodes.closed:
		return nil, explainNode("record", n, engine.ErrClosed)
	case !ok || e.now() >= r.expires:
		delete(e.nodes.records, n)
		return nil, explainNode("record", n, engine.ErrNoNode)
	}
	return bytes.Clone(r.data), nil
}

// DropRecord implements engine.Cluster.
func (e *Engine) DropRecord(ctx context.Context, n engine.Node) error {
	if err := check(ctx, n); err != nil {
		return explainNode("drop record", n, err)
	}
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	if e.nodes.closed {
		return explainNode("drop record", n, engine.ErrClosed)
	}
	delete(e.nodes.records, n)
	return nil
}

// Records implements engine.Cluster.
func (e *Engine) Records(ctx context.Context, prefix string) (map[string][]byte, error) {
	if err := check(ctx, engine.Node{Prefix: prefix, ID: "0"}); err != nil {
		return nil, err
	}
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	if e.nodes.closed {
		return nil, fmt.Errorf("engine/memory: records of %q: %w", prefix, engine.ErrClosed)
	}
	records := make(map[string][]byte)
	for n, r := range e.nodes.records {
		switch {
		case e.now() >= r.expires:
			delete(e.nodes.records, n)
		case n.Prefix == prefix:
			records[n.ID] = bytes.Clone(r.data)
		}
	}
	return records, nil
}

func (c *nodes) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, s := range c.servers {
		s.stop()
	}
	c.servers, c.records = nil, nil
}

func check(ctx context.Context, n engine.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return n.Validate()
}

func checkLength(what string, b []byte, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", engine.ErrTooLarge, what, len(b), limit)
	}
	return nil
}

// cloneNode: the caller's strings may alias a request's buffer.
func cloneNode(n engine.Node) engine.Node {
	return engine.Node{Prefix: strings.Clone(n.Prefix), ID: strings.Clone(n.ID)}
}

func explainNode(op string, n engine.Node, err error) error {
	return fmt.Errorf("engine/memory: %s of node %s: %w", op, n, err)
}
