package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine"
)

// Engine is an engine.Engine and an engine.Cluster on NATS JetStream.
type Engine struct {
	config Config
	main   *natsgo.Conn // appends, questions to leaders, the feed
	bulk   *natsgo.Conn // replays: what is large must not stand before what is urgent
	js     jetstream.JetStream

	registry *registry
	feed     *feed
	pulse    pulse
	names    *stream // fixed: a names stream made anew is another Engine's
	state    *stream
	replays  chan struct{} // one place for each replay that may run

	root   context.Context // of all that runs; ends with Close
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // goroutines of the Engine

	answering sync.WaitGroup // those of them that answer another node

	mu       sync.Mutex
	streams  map[string]*stream
	services []*service
	calls    int           // that are under way
	idle     chan struct{} // closed when the last of them ends after Close began
	closing  bool
	ended    bool          // no goroutine may begin any more
	closed   chan struct{} // Close is done
}

var (
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Cluster = (*Engine)(nil)
)

// maxReplays is how many replays may run at once. More make each other late.
const maxReplays = 8

// New returns an Engine on the JetStream that app is connected to. It makes two
// connections of its own, with app's servers and credentials; app itself stays the
// caller's, is not used after New, and may be closed.
//
// The streams that every node needs are made if they are not there. One that
// exists with another Config is an error, and left as it is. New waits for the
// servers as long as ctx allows, or Config.Timeout: a cluster that has no leader
// yet is an error that may be tried again (engine.Retryable).
func New(ctx context.Context, app *natsgo.Conn, config ...Config) (*Engine, error) {
	var c Config
	if len(config) > 0 {
		c = config[0]
	}
	c, err := c.normal(app.MaxPayload())
	if err != nil {
		return nil, err
	}
	e := &Engine{
		config:  c,
		streams: make(map[string]*stream),
		replays: make(chan struct{}, maxReplays),
		closed:  make(chan struct{}),
	}
	e.root, e.cancel = context.WithCancelCause(context.Background())
	if err := e.start(ctx, app); err != nil {
		e.cancel(engine.ErrClosed)
		e.disconnect()
		e.tasks.Wait()
		return nil, fmt.Errorf("engine/nats: New: %w", err)
	}
	return e, nil
}

func (e *Engine) start(ctx context.Context, app *natsgo.Conn) (err error) {
	ctx, cancel := e.bound(ctx)
	defer cancel()
	if e.main, err = dial(app, "comet "+e.config.Namespace); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	if e.bulk, err = dial(app, "comet "+e.config.Namespace+" replays"); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	if e.js, err = jetstream.New(e.main); err != nil {
		return err
	}
	if e.names, err = e.open(ctx, e.namesConfig()); err != nil {
		return err
	}
	if e.state, err = e.open(ctx, e.stateConfig()); err != nil {
		return err
	}
	e.registry = newRegistry(e)
	e.feed = newFeed(e)
	if err := e.feed.start(); err != nil {
		return err
	}
	return e.registry.start(ctx)
}

// Caps reports Quorum from three replicas on, and Primary below. Sequences have
// gaps, the feed may lose, positions have tags.
func (e *Engine) Caps() engine.Caps {
	durability := engine.Primary
	if e.config.Replicas >= 3 {
		durability = engine.Quorum
	}
	return engine.Caps{Durability: durability, MaxEntry: e.config.MaxEntry, Shared: true, Tags: true, Cluster: true}
}

// errTimeout is why a call without a deadline ends after Config.Timeout.
var errTimeout = errors.New("Config.Timeout has passed")

// bound gives a call its end: its context's, the Engine's, or Config.Timeout where
// the context has no deadline.
func (e *Engine) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.root, func() { cancel(engine.ErrClosed) })
	if _, has := ctx.Deadline(); has {
		return ctx, func() { stop(); cancel(nil) }
	}
	timed, end := context.WithTimeoutCause(ctx, e.config.Timeout, errTimeout)
	return timed, func() { stop(); end(); cancel(nil) }
}

// enter begins a call: what every call checks first, in this order. The context that
// it returns is always one.
func (e *Engine) enter(ctx context.Context, names ...engine.Name) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return ctx, nil, err
	}
	for _, n := range names {
		if err := n.Validate(); err != nil {
			return ctx, nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return ctx, nil, engine.ErrClosed
	}
	e.calls++
	ctx, end := e.bound(ctx)
	return ctx, func() { end(); e.leave() }, nil
}

func (e *Engine) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.calls--; e.calls == 0 && e.closing {
		close(e.idle)
	}
}

// explain says what a call was about, and names why its context ended where that
// is the reason. ctx is what enter gave.
func explain(ctx context.Context, op string, n engine.Name, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && (errors.Is(err, engine.ErrUnavailable) || errors.Is(err, engine.ErrUnknown) || errors.Is(err, engine.ErrStale)) {
		switch cause := context.Cause(ctx); {
		case errors.Is(err, engine.ErrUnknown):
			err = fmt.Errorf("%w: %w", engine.ErrUnknown, cause)
		case errors.Is(cause, errTimeout):
		default:
			err = cause
		}
	}
	return fmt.Errorf("engine/nats: %s %q: %w", op, n.String(), err)
}

// pause waits a little before something is tried again, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, context.Cause(ctx))
	}
}

// grace is how long Close lets calls end that are under way.
const grace = 2 * time.Second

// Close implements engine.Engine. Calls under way have 2 s to end, or as long as
// ctx allows; those that remain then end with engine.ErrClosed, an Append with
// engine.ErrUnknown besides. The streams stay.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		select {
		case <-e.closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e.closing, e.idle = true, make(chan struct{})
	if e.calls == 0 {
		close(e.idle)
	}
	e.mu.Unlock()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-e.idle:
	case <-t.C:
	case <-ctx.Done():
	}
	e.cancel(engine.ErrClosed)
	e.feed.close()
	e.retire(ctx)
	e.disconnect()
	go func() {
		<-e.idle
		e.mu.Lock()
		e.ended = true
		e.mu.Unlock()
		e.tasks.Wait()
		close(e.closed)
	}()
	select {
	case <-e.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spawn runs f on a goroutine that Close waits for, unless the Engine has ended.
func (e *Engine) spawn(f func()) (began bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.tasks.Go(f)
	}
	return !e.ended
}

func (e *Engine) disconnect() {
	for _, conn := range []*natsgo.Conn{e.main, e.bulk} {
		if conn != nil {
			conn.Close()
		}
	}
}
