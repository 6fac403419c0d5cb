package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// askSubject is where a node is asked. It is not in any stream.
func (e *Engine) askSubject(n engine.Node) string {
	return e.config.Namespace + ".ask." + token(n.Prefix) + "." + n.ID
}

func (e *Engine) recordSubject(n engine.Node) string {
	return e.state.root + ".node." + token(n.Prefix) + "." + n.ID
}

// enterNode is enter for the methods of engine.Cluster.
func (e *Engine) enterNode(ctx context.Context, n engine.Node) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return ctx, nil, err
	}
	if err := n.Validate(); err != nil {
		return ctx, nil, err
	}
	return e.enter(ctx)
}

func explainNode(ctx context.Context, op string, n engine.Node, err error) error {
	return explain(ctx, op, engine.Name{Prefix: n.Prefix, Channel: n.ID}, err)
}

// Serve implements engine.Cluster. Interest in a node reaches the servers one after
// the other; see Ask.
func (e *Engine) Serve(ctx context.Context, n engine.Node, answer engine.Answer) (stop func(), err error) {
	ctx, leave, err := e.enterNode(ctx, n)
	if err != nil {
		return nil, explainNode(ctx, "serve", n, err)
	}
	defer leave()
	serving, cancel := context.WithCancel(e.root)
	s := &service{e: e, ctx: serving, answer: answer}
	e.replace(e.askSubject(n))
	sub, err := e.main.Subscribe(e.askSubject(n), s.hear)
	if err != nil {
		cancel()
		return nil, explainNode(ctx, "serve", n, errNotSent)
	}
	stop = func() {
		if !s.stop() {
			return
		}
		cancel()
		// Until every server knows, who asks is told by us that nobody is here.
		if !e.spawn(func() {
			pause(e.root, stillTold)
			sub.Unsubscribe() // its only error is a connection that is closed
		}) {
			sub.Unsubscribe()
		}
	}
	// A leader's answer proves that the interest has left this server.
	if _, err := e.beat(ctx, e.state.name, e.state.root); err != nil {
		stop()
		return nil, explainNode(ctx, "serve", n, unavailable(err))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.sub = sub
	e.services = append(e.services, s)
	return stop, nil
}

// replace ends the word of an earlier service that nobody is here. It also forgets
// those that are over.
func (e *Engine) replace(subject string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.services = slices.DeleteFunc(e.services, func(s *service) bool {
		if s.isStopped() && s.sub.Subject == subject {
			s.sub.Unsubscribe()
		}
		return s.isStopped() && !s.sub.IsValid()
	})
}

// stillTold is how long a node that has stopped says so itself.
const stillTold = time.Second

// noNode and tooLarge are what a reply may say in place of an answer.
const (
	noNode   = "no node"
	tooLarge = "too large"
)

type service struct {
	e      *Engine
	ctx    context.Context
	answer engine.Answer
	sub    *natsgo.Subscription

	mu      sync.Mutex
	stopped bool
}

func (s *service) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// stop has the next request told that nobody is here. It reports false when that
// was so before.
func (s *service) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.stopped
	s.stopped = true
	return !was
}

func (s *service) hear(msg *natsgo.Msg) {
	reply := &natsgo.Msg{Subject: msg.Reply, Header: natsgo.Header{}}
	if s.isStopped() {
		reply.Header.Set(headerError, noNode)
		s.e.main.PublishMsg(reply)
		return
	}
	s.e.answering.Add(1)
	if !s.e.spawn(func() {
		defer s.e.answering.Done()
		if s.isStopped() { // before it began
			reply.Header.Set(headerError, noNode)
		} else if data := s.answer(s.ctx, msg.Data); len(data) > s.e.config.MaxEntry {
			reply.Header.Set(headerError, tooLarge)
		} else {
			reply.Data = data
		}
		s.e.main.PublishMsg(reply) // where this fails, who asked does not know, and is told so
	}) {
		s.e.answering.Done()
	}
}

// retire ends all services: what is asked from now on nobody answers, what is being
// answered has a moment to reach who asked, or as long as ctx allows.
func (e *Engine) retire(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*stillTold)
	defer cancel()
	e.mu.Lock()
	services := e.services
	e.services = nil
	e.mu.Unlock()
	for _, s := range services {
		s.stop()
	}
	answered := make(chan struct{})
	go func() {
		e.answering.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(stillTold):
	case <-ctx.Done():
	}
	for _, s := range services {
		s.sub.Unsubscribe()
	}
	if len(services) > 0 {
		// A leader's answer proves that this has left our server. Without one nobody
		// hears us anyway.
		e.beat(ctx, e.state.name, e.state.root)
		pause(ctx, lookAgain)
	}
}

// Ask implements engine.Cluster. A node that began to serve a moment ago may not be
// known to every server yet, so that ErrNoNode comes after a second look, 30 ms
// later.
func (e *Engine) Ask(ctx context.Context, n engine.Node, data []byte) ([]byte, error) {
	ctx, leave, err := e.enterNode(ctx, n)
	if err != nil {
		return nil, explainNode(ctx, "ask", n, err)
	}
	defer leave()
	reply, err := e.ask(ctx, n, data)
	return reply, explainNode(ctx, "ask", n, err)
}

// lookAgain is how long interest takes at most to go round a cluster that is well.
const lookAgain = 30 * time.Millisecond

func (e *Engine) ask(ctx context.Context, n engine.Node, data []byte) ([]byte, error) {
	if len(data) > e.config.MaxEntry {
		return nil, fmt.Errorf("%w: a request of %d bytes, at most %d are allowed", engine.ErrTooLarge, len(data), e.config.MaxEntry)
	}
	for again := false; ; again = true {
		reply, err := e.main.RequestWithContext(ctx, e.askSubject(n), data)
		switch {
		case err == nil && reply.Header.Get(headerError) == noNode:
			return nil, engine.ErrNoNode
		case err == nil && reply.Header.Get(headerError) != "":
			return nil, fmt.Errorf("%w: the reply has more than %d bytes", engine.ErrTooLarge, e.config.MaxEntry)
		case err == nil:
			return reply.Data, nil
		case errors.Is(err, natsgo.ErrNoResponders) && again:
			return nil, engine.ErrNoNode
		case errors.Is(err, natsgo.ErrNoResponders):
			if err := pause(ctx, lookAgain); err != nil {
				return nil, err
			}
		case errors.Is(err, natsgo.ErrReconnectBufExceeded):
			return nil, errNotSent
		default:
			return nil, errNoAnswer
		}
	}
}

// SetRecord implements engine.Cluster.
func (e *Engine) SetRecord(ctx context.Context, n engine.Node, data []byte, ttl time.Duration) error {
	ctx, leave, err := e.enterNode(ctx, n)
	if err != nil {
		return explainNode(ctx, "set record", n, err)
	}
	defer leave()
	if len(data) > engine.MaxRecord {
		return explainNode(ctx, "set record", n, fmt.Errorf("%w: a record of %d bytes, at most %d are allowed", engine.ErrTooLarge, len(data), engine.MaxRecord))
	}
	if ttl < engine.MinTTL {
		return explainNode(ctx, "set record", n, fmt.Errorf("%w: a record's ttl of %v, at least %v is needed", engine.ErrBadSpec, ttl, engine.MinTTL))
	}
	msg := &natsgo.Msg{Subject: e.recordSubject(n), Header: natsgo.Header{}, Data: data}
	msg.Header.Set(headerTTL, strconv.FormatInt(ttl.Milliseconds(), 10))
	msg.Header.Set(headerMsgTTL, serverTTL(ttl+2*time.Second))
	_, err = publish(ctx, e.main, msg)
	return explainNode(ctx, "set record", n, unavailable(err))
}

// Record implements engine.Cluster. It has the leader store something first, which
// only one with a majority can.
func (e *Engine) Record(ctx context.Context, n engine.Node) ([]byte, error) {
	ctx, leave, err := e.enterNode(ctx, n)
	if err != nil {
		return nil, explainNode(ctx, "record", n, err)
	}
	defer leave()
	data, err := e.readRecord(ctx, n)
	return data, explainNode(ctx, "record", n, err)
}

func (e *Engine) readRecord(ctx context.Context, n engine.Node) ([]byte, error) {
	beat, err := e.beat(ctx, e.state.name, e.state.root)
	if err != nil {
		return nil, unavailable(err)
	}
	m, err := e.since(ctx, e.state.name, e.state.root, beat, e.recordSubject(n))
	if errors.Is(err, errNoMessage) {
		return nil, engine.ErrNoNode
	}
	if err != nil {
		return nil, err
	}
	now, err := e.serverTime(ctx, e.state.name)
	if err != nil {
		return nil, err
	}
	if !m.lives(now) {
		return nil, engine.ErrNoNode
	}
	return m.data, nil
}

// skew is by how much the clocks of two servers may differ without a record's dying
// early when leadership moves between them.
const skew = 250 * time.Millisecond

// lives reports whether a record has not expired.
func (m *message) lives(now time.Time) bool {
	if m.gone() {
		return false
	}
	ttl, err := strconv.ParseInt(m.header.Get(headerTTL), 10, 64)
	return err == nil && now.Sub(m.at) < time.Duration(ttl)*time.Millisecond+skew
}

// DropRecord implements engine.Cluster.
func (e *Engine) DropRecord(ctx context.Context, n engine.Node) error {
	ctx, leave, err := e.enterNode(ctx, n)
	if err != nil {
		return explainNode(ctx, "drop record", n, err)
	}
	defer leave()
	_, err = publish(ctx, e.main, tombstone(e.recordSubject(n)))
	return explainNode(ctx, "drop record", n, unavailable(err))
}

// tombstone is what a key of the state stream is overwritten with to delete it.
func tombstone(subject string) *natsgo.Msg {
	msg := &natsgo.Msg{Subject: subject, Header: natsgo.Header{}}
	msg.Header.Set(headerGone, "1")
	msg.Header.Set(headerMsgTTL, time.Minute.String())
	return msg
}

// Records implements engine.Cluster. Any replica may answer.
func (e *Engine) Records(ctx context.Context, prefix string) (map[string][]byte, error) {
	any := engine.Node{Prefix: prefix, ID: "0"}
	ctx, leave, err := e.enterNode(ctx, any)
	if err != nil {
		return nil, explain(ctx, "records", engine.Name{Prefix: prefix}, err)
	}
	defer leave()
	records, err := e.records(ctx, prefix)
	return records, explain(ctx, "records", engine.Name{Prefix: prefix}, err)
}

func (e *Engine) records(ctx context.Context, prefix string) (map[string][]byte, error) {
	now, err := e.serverTime(ctx, e.state.name)
	if err != nil {
		return nil, err
	}
	under := e.state.root + ".node." + token(prefix) + "."
	records := make(map[string][]byte)
	for from := uint64(1); ; {
		p, err := direct(ctx, e.bulk, e.state.name, question{Next: under + "*", Seq: from, Batch: changes})
		if err != nil {
			return nil, err
		}
		for _, m := range p.messages {
			id := strings.TrimPrefix(m.subject, under)
			if delete(records, id); m.lives(now) {
				records[id] = m.data
			}
			from = m.seq + 1
		}
		if len(p.messages) == 0 || p.pending == 0 {
			return records, nil
		}
	}
}
