package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

// A request is published to the channel of the node that is asked, as "id channel" of
// the reply, a new line and the request; its reply is published to that channel as
// "id status", a new line and the reply. Each Engine has one channel for replies.

const (
	statusReply = "reply"
	statusLarge = "large" // the reply is over MaxEntry
	statusGone  = "gone"  // the node was served here until just now
)

// maxAnswering bounds the answers of one Serve that run at once. A request above it is
// not heard, which who asks cannot tell from a slow answer.
const maxAnswering = 1 << 14

// Serve implements engine.Cluster. At most 16384 answers run at once; what is asked
// above that is not heard.
func (e *Engine) Serve(ctx context.Context, n engine.Node, answer engine.Answer) (stop func(), err error) {
	s, err := e.serve(ctx, n, answer)
	if err != nil {
		return nil, explain("serve", n.String(), readError(ctx, err))
	}
	return s.stop, nil
}

func (e *Engine) serve(ctx context.Context, n engine.Node, answer engine.Answer) (*server, error) {
	if err := checkNode(ctx, n); err != nil {
		return nil, err
	}
	if !e.enter() {
		return nil, engine.ErrClosed
	}
	defer e.leave()
	s := &server{e: e, answer: answer, slots: make(chan struct{}, maxAnswering)}
	s.ctx, s.cancel = context.WithCancel(e.ctx)
	shard, channel := e.nodeChannel(n)
	t, err := e.feed(shard).listen(ctx, channel, s)
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.topic = t
	t.setOrphan(e.refuse)
	return s, nil
}

// refuse answers for a node that is not served here any more, while the server does
// not know that yet.
func (e *Engine) refuse(payload string) {
	head, _, _ := strings.Cut(payload, "\n")
	id, channel, _ := strings.Cut(head, " ")
	e.spawn(func() { _, _ = e.publish(e.ctx, channel, id+" "+statusGone+"\n") })
}

// nodeChannel is where a node hears what it is asked.
func (e *Engine) nodeChannel(n engine.Node) (shard int, channel string) {
	shard = e.keys.shard(engine.Name{Prefix: n.Prefix, Channel: n.ID})
	return shard, e.keys.key(shard, "n", n.Prefix, n.ID)
}

// server is one Serve.
type server struct {
	e      *Engine
	answer engine.Answer
	topic  *topic
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}

	mu      sync.Mutex
	stopped bool
}

func (s *server) message(payload string) {
	head, request, ok := strings.Cut(payload, "\n")
	id, channel, _ := strings.Cut(head, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || s.stopped {
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return
	}
	s.e.spawn(func() {
		defer func() { <-s.slots }()
		status, reply := statusReply, s.answer(s.ctx, []byte(request))
		if len(reply) > s.e.config.MaxEntry {
			status, reply = statusLarge, []byte(strconv.Itoa(len(reply)))
		}
		// Also when the Engine is being closed; who asks finds out by its context if it fails.
		_, _ = s.e.publish(context.WithoutCancel(s.ctx), channel, id+" "+status+"\n"+string(reply))
	})
}

func (s *server) rejoined(error) {}

// stop lets an answer that began before it call on, with its context ended.
func (s *server) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.topic.drop(s)
}

// Ask implements engine.Cluster.
func (e *Engine) Ask(ctx context.Context, n engine.Node, request []byte) (reply []byte, err error) {
	if err := checkNode(ctx, n); err != nil {
		return nil, explain("ask", n.String(), err)
	}
	reply, err = e.ask(ctx, n, request)
	return reply, explain("ask", n.String(), err)
}

func (e *Engine) ask(ctx context.Context, n engine.Node, request []byte) ([]byte, error) {
	if len(request) > e.config.MaxEntry {
		return nil, fmt.Errorf("%w: a request of %d bytes, at most %d are allowed (Config.MaxEntry)", engine.ErrTooLarge, len(request), e.config.MaxEntry)
	}
	if !e.enter() {
		return nil, engine.ErrClosed
	}
	defer e.leave()
	if err := e.inbox.join(ctx); err != nil {
		return nil, readError(ctx, err)
	}
	id, answers := e.inbox.expect()
	defer e.inbox.forget(id)
	_, channel := e.nodeChannel(n)
	payload := id + " " + e.inbox.channel + "\n" + string(request)
	heard, err := call(e, ctx, func() (int64, error) { return e.publish(ctx, channel, payload) })
	if err != nil {
		return nil, writeError(ctx, err)
	}
	if heard == 0 {
		return nil, engine.ErrNoNode
	}
	select {
	case a := <-answers:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", engine.ErrUnknown, ctx.Err())
	case <-e.ctx.Done():
		return nil, engine.ErrClosed
	}
}

// inbox hears the replies to what an Engine asks.
type inbox struct {
	e       *Engine
	channel string
	shard   int

	joining chan struct{} // has room for one, who may use topic
	topic   *topic

	mu      sync.Mutex
	last    uint64
	waiting map[string]chan reply
}

type reply struct {
	reply []byte
	err   error
}

func newInbox(e *Engine) *inbox {
	id := random(16)
	shard := e.keys.shard(engine.Name{Channel: id})
	return &inbox{
		e:       e,
		channel: e.keys.own(shard, "replies:"+id),
		shard:   shard,
		joining: make(chan struct{}, 1),
		waiting: make(map[string]chan reply),
	}
}

// join returns when replies are heard.
func (b *inbox) join(ctx context.Context) error {
	t, err := b.joined(ctx)
	if err != nil {
		return err
	}
	return t.wait(ctx)
}

// joined returns the topic of the replies, which the first to ask joins.
func (b *inbox) joined(ctx context.Context) (*topic, error) {
	select {
	case b.joining <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-b.joining }()
	if b.topic != nil {
		return b.topic, nil
	}
	t, err := b.e.feed(b.shard).listen(ctx, b.channel, b)
	if err == nil {
		b.topic = t
	}
	return t, err
}

func (b *inbox) expect() (id string, answers <-chan reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	id = strconv.FormatUint(b.last, 36)
	c := make(chan reply, 1)
	b.waiting[id] = c
	return id, c
}

func (b *inbox) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, id)
}

func (b *inbox) message(payload string) {
	head, data, _ := strings.Cut(payload, "\n")
	id, status, _ := strings.Cut(head, " ")
	r := reply{reply: []byte(data)}
	switch status {
	case statusGone:
		r = reply{err: engine.ErrNoNode}
	case statusLarge:
		r = reply{err: fmt.Errorf("%w: a reply of %s bytes, at most the other's Config.MaxEntry is allowed", engine.ErrTooLarge, data)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hand(id, r)
}

// hand gives an answer to who waits for it, once. b is locked.
func (b *inbox) hand(id string, r reply) {
	if c := b.waiting[id]; c != nil {
		delete(b.waiting, id)
		c <- r
	}
}

// rejoined ends all that is being asked: the replies may have been published while
// nobody heard them.
func (b *inbox) rejoined(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.waiting {
		b.hand(id, reply{err: fmt.Errorf("%w: the reply may be lost: %w", engine.ErrUnknown, cause)})
	}
}

// recordKeys are the keys of all records of a prefix.
func (e *Engine) recordKeys(prefix string) (fence, records, ends string) {
	shard := e.keys.shard(engine.Name{Prefix: prefix})
	return e.keys.own(shard, "fence"), e.keys.key(shard, "r", prefix, ""), e.keys.key(shard, "e", prefix, "")
}

// SetRecord implements engine.Cluster. The time is the server's. One that had no answer
// is ErrUnknown, and may be set again.
func (e *Engine) SetRecord(ctx context.Context, n engine.Node, record []byte, ttl time.Duration) error {
	err := e.setRecord(ctx, n, record, ttl)
	return explain("set record of", n.String(), err)
}

func (e *Engine) setRecord(ctx context.Context, n engine.Node, record []byte, ttl time.Duration) error {
	if err := checkNode(ctx, n); err != nil {
		return err
	}
	if len(record) > engine.MaxRecord {
		return fmt.Errorf("%w: a record of %d bytes, at most %d are allowed", engine.ErrTooLarge, len(record), engine.MaxRecord)
	}
	if ttl < engine.MinTTL {
		return fmt.Errorf("%w: a record may not live for %v, at least %v is allowed", engine.ErrBadSpec, ttl, engine.MinTTL)
	}
	_, records, ends := e.recordKeys(n.Prefix)
	id, data := strings.Clone(n.ID), string(record)
	milliseconds := (ttl + time.Millisecond - 1).Milliseconds() + 1 // the server's clock is cut to milliseconds
	_, err := call(e, ctx, func() ([]any, error) {
		return e.runOnce(ctx, e.scripts.setRecord, []string{records, ends}, id, data, milliseconds)
	})
	return writeError(ctx, err)
}

// Record implements engine.Cluster.
func (e *Engine) Record(ctx context.Context, n engine.Node) ([]byte, error) {
	record, err := e.record(ctx, n)
	return record, explain("record of", n.String(), readError(ctx, err))
}

func (e *Engine) record(ctx context.Context, n engine.Node) ([]byte, error) {
	if err := checkNode(ctx, n); err != nil {
		return nil, err
	}
	fence, records, ends := e.recordKeys(n.Prefix)
	id := strings.Clone(n.ID)
	answer, err := call(e, ctx, func() ([]any, error) {
		return e.run(ctx, e.scripts.record, []string{fence, records, ends}, id)
	})
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 {
		return nil, engine.ErrNoNode
	}
	return []byte(text(answer, 0)), nil
}

// DropRecord implements engine.Cluster.
func (e *Engine) DropRecord(ctx context.Context, n engine.Node) error {
	err := e.dropRecord(ctx, n)
	return explain("drop record of", n.String(), err)
}

func (e *Engine) dropRecord(ctx context.Context, n engine.Node) error {
	if err := checkNode(ctx, n); err != nil {
		return err
	}
	_, records, ends := e.recordKeys(n.Prefix)
	id := strings.Clone(n.ID)
	_, err := call(e, ctx, func() ([]any, error) {
		return e.runOnce(ctx, e.scripts.dropRecord, []string{records, ends}, id)
	})
	return writeError(ctx, err)
}

// Records implements engine.Cluster.
func (e *Engine) Records(ctx context.Context, prefix string) (map[string][]byte, error) {
	records, err := e.records(ctx, prefix)
	return records, explain("records of", prefix, readError(ctx, err))
}

func (e *Engine) records(ctx context.Context, prefix string) (map[string][]byte, error) {
	if err := check(ctx, engine.Name{Prefix: prefix, Channel: "any"}); err != nil {
		return nil, err
	}
	fence, records, ends := e.recordKeys(prefix)
	answer, err := call(e, ctx, func() ([]any, error) {
		return e.run(ctx, e.scripts.records, []string{fence, records, ends})
	})
	if err != nil {
		return nil, err
	}
	if len(answer)%2 != 0 {
		return nil, errReply(answer)
	}
	all := make(map[string][]byte, len(answer)/2)
	for i := 0; i < len(answer); i += 2 {
		all[text(answer, i)] = []byte(text(answer, i+1))
	}
	return all, nil
}

func checkNode(ctx context.Context, n engine.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return n.Validate()
}
