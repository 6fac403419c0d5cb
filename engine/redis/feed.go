package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
)

// A listener hears one pub/sub channel. Its calls come from one goroutine, one at a
// time, and must not block.
type listener interface {
	message(payload string)
	// rejoined says that messages may have been lost until now.
	rejoined(cause error)
}

// A feed is one pub/sub connection and what is heard on it. It connects when the first
// listener comes, and then stays connected, or tries to, until the Engine is closed.
// There is no queue between the connection and the listeners: what is not read yet is
// in the sockets and the server's output buffer, and a server whose buffer overflows
// ends the connection, which is heard.
type feed struct {
	e     *Engine
	self  string // the channel of its own probes
	wake  chan struct{}
	heard chan struct{} // there was a message since the last look

	mu      sync.Mutex
	started bool
	topics  map[string]*topic
	pending []*topic  // those to be joined or left
	down    time.Time // since when it is not connected; zero while it is
	cause   error     // why it is not
}

// A topic is one pub/sub channel of a feed. Each change of state is asked of the
// server by one command and takes place when the server confirms it.
type topic struct {
	feed      *feed
	channel   string
	state     state
	lost      bool          // it was joined on an earlier connection
	listeners []listener    // replaced, never changed
	orphan    func(string)  // takes messages that come when no listener is left, or nil
	settled   chan struct{} // closed when the join that is waited for is over
	queued    bool          // in feed.pending
}

type state uint8

const (
	out state = iota
	joining
	in
	leaving
)

func newFeed(e *Engine, shard int) *feed {
	return &feed{
		e:      e,
		self:   e.keys.own(shard, "probe:"+random(16)),
		wake:   make(chan struct{}, 1),
		heard:  make(chan struct{}, 1),
		topics: make(map[string]*topic),
	}
}

// feed returns the feed of a shard.
func (e *Engine) feed(shard int) *feed { return e.feeds[shard%len(e.feeds)] }

// listen has l hear a channel, and returns when the server has confirmed that it does:
// what is published from then on is heard. The error is ErrUnavailable when there is
// no connection, ErrClosed, or the context's.
func (f *feed) listen(ctx context.Context, channel string, l listener) (*topic, error) {
	f.mu.Lock()
	if !f.started {
		if !f.e.spawn(f.run) {
			f.mu.Unlock()
			return nil, engine.ErrClosed
		}
		f.started = true
	}
	t := f.topics[channel]
	if t == nil {
		t = &topic{feed: f, channel: channel, settled: make(chan struct{})}
		f.topics[channel] = t
	}
	t.listeners = append(t.listeners[:len(t.listeners):len(t.listeners)], l)
	f.queue(t)
	f.mu.Unlock()
	if err := t.wait(ctx); err != nil {
		t.drop(l)
		return nil, err
	}
	return t, nil
}

// wait returns when the topic is joined, or an attempt to do so has failed.
func (t *topic) wait(ctx context.Context) error {
	f := t.feed
	f.mu.Lock()
	joined, settled := t.state == in, t.settled
	f.mu.Unlock()
	if joined {
		return nil
	}
	select {
	case <-settled:
	case <-ctx.Done():
		return ctx.Err()
	case <-f.e.ctx.Done():
		return engine.ErrClosed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.state != in {
		return fmt.Errorf("%w: the live feed is not connected: %w", engine.ErrUnavailable, f.cause)
	}
	return nil
}

// setOrphan has f called with what comes when no listener is left and the server does
// not know that yet.
func (t *topic) setOrphan(f func(string)) {
	t.feed.mu.Lock()
	defer t.feed.mu.Unlock()
	t.orphan = f
}

// drop ends a listener's hearing. It does not wait for a call that is under way.
func (t *topic) drop(l listener) {
	f := t.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	var rest []listener
	for _, other := range t.listeners {
		if other != l {
			rest = append(rest, other)
		}
	}
	t.listeners = rest
	f.queue(t)
}

// queue has the feed's goroutine look at a topic. f is locked.
func (f *feed) queue(t *topic) {
	if t.queued {
		return
	}
	t.queued = true
	f.pending = append(f.pending, t)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

const (
	reconnectMin = 20 * time.Millisecond
	reconnectMax = time.Second
)

func (f *feed) run() {
	pause := reconnectMin
	for f.e.ctx.Err() == nil {
		start := time.Now()
		err := f.connection(f.e.ctx)
		f.disconnected(err)
		if f.e.cluster {
			f.e.reloadCluster(f.e.ctx)
		}
		if time.Since(start) > 10*reconnectMax {
			pause = reconnectMin
		}
		select {
		case <-f.e.ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, reconnectMax)
	}
}

var (
	errCut     = errors.New("the live feed was cut")
	errDeaf    = errors.New("a message to itself did not arrive on a connection of the live feed")
	errStopped = errors.New("the server ended a subscription")
)

// connection runs one connection until it fails. go-redis would make it anew behind
// this package's back, which would hide the loss: so it is closed at the first error.
func (f *feed) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	ps := f.open(ctx)
	ended := make(chan error, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() {
		cancel() // before Close, which waits for a dial
		_ = ps.Close()
	}()
	if err := f.join(ctx, ps, []string{f.self}); err != nil {
		return err
	}
	reading.Go(func() { ended <- f.receive(ctx, ps) })
	f.connected()
	probe := prober{feed: f, sent: time.Now(), deaf: make(chan error, 1)}
	tick := time.NewTicker(max(f.e.config.Probe/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case err := <-probe.deaf:
			return err
		case <-f.wake:
			if err := f.flush(ctx, ps); err != nil {
				return err
			}
		case now := <-tick.C:
			if err := probe.look(ctx, now); err != nil {
				return err
			}
		case <-ctx.Done():
			f.farewell(ps, ended)
			return ctx.Err()
		}
	}
}

// farewell ends all subscriptions and waits until the server has: it would count a
// connection that was merely closed for a moment longer, and who asks this node in
// that moment would wait for an answer instead of hearing that there is none.
func (f *feed) farewell(ps *goredis.PubSub, ended <-chan error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if f.leave(ctx, ps, nil) != nil {
		return
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (f *feed) open(ctx context.Context) *goredis.PubSub {
	if f.e.cluster {
		return f.e.client.SSubscribe(ctx)
	}
	return f.e.client.Subscribe(ctx)
}

// batch bounds the channels of one command.
const batch = 512

func (f *feed) join(ctx context.Context, ps *goredis.PubSub, channels []string) error {
	if f.e.cluster {
		return ps.SSubscribe(ctx, channels...)
	}
	return ps.Subscribe(ctx, channels...)
}

// leave with no channels leaves all.
func (f *feed) leave(ctx context.Context, ps *goredis.PubSub, channels []string) error {
	if f.e.cluster {
		return ps.SUnsubscribe(ctx, channels...)
	}
	return ps.Unsubscribe(ctx, channels...)
}

// flush asks the server for what the pending topics need.
func (f *feed) flush(ctx context.Context, ps *goredis.PubSub) error {
	f.mu.Lock()
	var joins, leaves []string
	for _, t := range f.pending {
		t.queued = false
		switch {
		case t.state == out && len(t.listeners) > 0:
			t.set(joining)
			joins = append(joins, t.channel)
		case t.state == out && f.topics[t.channel] == t:
			delete(f.topics, t.channel)
		case t.state == in && len(t.listeners) == 0:
			t.set(leaving)
			leaves = append(leaves, t.channel)
		}
	}
	f.pending = nil
	f.mu.Unlock()
	for len(joins) > 0 {
		n := min(batch, len(joins))
		if err := f.join(ctx, ps, joins[:n]); err != nil {
			return err
		}
		joins = joins[n:]
	}
	for len(leaves) > 0 {
		n := min(batch, len(leaves))
		if err := f.leave(ctx, ps, leaves[:n]); err != nil {
			return err
		}
		leaves = leaves[n:]
	}
	return nil
}

// receive reads the connection until it fails.
func (f *feed) receive(ctx context.Context, ps *goredis.PubSub) error {
	for {
		msg, err := ps.Receive(ctx)
		if err != nil {
			return err
		}
		select {
		case f.heard <- struct{}{}:
		default:
		}
		switch msg := msg.(type) {
		case *goredis.Message:
			f.mu.Lock()
			t := f.topics[msg.Channel]
			var listeners []listener
			var orphan func(string)
			if t != nil {
				listeners, orphan = t.listeners, t.orphan
			}
			f.mu.Unlock()
			for _, l := range listeners {
				l.message(msg.Payload)
			}
			if len(listeners) == 0 && orphan != nil {
				orphan(msg.Payload)
			}
		case *goredis.Subscription:
			if !f.confirmed(msg) {
				return errStopped
			}
			if msg.Count == 0 && ctx.Err() != nil {
				return ctx.Err() // nothing is heard any more, as farewell waits for
			}
		}
	}
}

// confirmed takes the server's word on a subscription; false when it ended one that
// was not to end, as it does with a hash slot that moves to another server.
func (f *feed) confirmed(msg *goredis.Subscription) bool {
	ended := strings.HasSuffix(msg.Kind, "unsubscribe")
	f.mu.Lock()
	t := f.topics[msg.Channel]
	if t == nil {
		f.mu.Unlock()
		return !ended || msg.Channel != f.self
	}
	if ended {
		asked := t.state == leaving
		t.set(out)
		f.queue(t) // it may be wanted again
		f.mu.Unlock()
		return asked
	}
	lost := t.lost || t.state == in // in: go-redis has connected anew by itself
	t.set(in)
	t.lost = false
	listeners, cause := t.listeners, f.cause
	f.queue(t) // it may not be wanted any more
	f.mu.Unlock()
	if lost {
		for _, l := range listeners {
			l.rejoined(fmt.Errorf("%w: %w", errCut, cause))
		}
	}
	return true
}

// set changes the state; settled is closed while the topic is in. The feed is locked.
func (t *topic) set(s state) {
	switch {
	case t.state != in && s == in:
		close(t.settled)
	case t.state == in && s != in:
		t.settled = make(chan struct{})
	}
	t.state = s
}

// connected has every topic joined on a new connection.
func (f *feed) connected() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = time.Time{}
	for _, t := range f.topics {
		f.queue(t)
	}
}

// disconnected takes every topic for lost, and tells who waits for one.
func (f *feed) disconnected(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down.IsZero() {
		f.down = time.Now()
	}
	f.cause = cause
	for _, t := range f.topics {
		if t.state == in {
			t.lost = true
		} else {
			t.set(in) // who waits looks at the state afterwards
		}
		t.set(out)
		if len(t.listeners) == 0 {
			delete(f.topics, t.channel)
		}
	}
}

// downFor is how long a feed may be without a connection before Health says so.
const downFor = 5 * time.Second

func (f *feed) health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.started && !f.down.IsZero() && time.Since(f.down) > downFor {
		return fmt.Errorf("%w: the live feed has not been connected for %v: %w", engine.ErrUnavailable, time.Since(f.down).Round(time.Second), f.cause)
	}
	return nil
}

// prober finds a connection that is alive and hears nothing, or that hears another
// server than the one that is published to: now and then it publishes a message to the
// feed itself.
type prober struct {
	feed  *feed
	sent  time.Time // when the last message was
	asked time.Time // likewise, while nothing was heard since
	deaf  chan error
}

func (p *prober) look(ctx context.Context, now time.Time) error {
	f, limit := p.feed, p.feed.e.config.Probe
	select {
	case <-f.heard:
		p.asked = time.Time{}
	default:
	}
	switch {
	case !p.asked.IsZero() && now.Sub(p.asked) >= limit:
		return errDeaf
	case now.Sub(p.sent) >= limit:
		p.sent, p.asked = now, now
		f.e.spawn(func() {
			if n, err := f.e.publish(ctx, f.self, ""); err == nil && n == 0 {
				select {
				case p.deaf <- errDeaf:
				default:
				}
			}
		})
	}
	return nil
}

// publish sends a message at most once, and returns how many connections it was given
// to.
func (e *Engine) publish(ctx context.Context, channel, payload string) (int64, error) {
	name := "publish"
	if e.cluster {
		name = "spublish"
	}
	cmd := goredis.NewCmd(context.Background(), name, channel, payload)
	if err := e.client.Process(ctx, once{cmd}); err != nil {
		return 0, err
	}
	return cmd.Int64()
}
