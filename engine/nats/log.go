package nats

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// Append implements engine.Engine. Items are stored one after the other. One with
// an ID is sent again until the servers answer or ctx ends; one without is sent
// again only where nobody heard it.
func (e *Engine) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	ctx, leave, err := e.enter(ctx, n)
	if err != nil {
		return nil, explain(ctx, "append", n, err)
	}
	defer leave()
	var positions []engine.Position
	var written []*life
	err = e.use(ctx, n, true, func(l *life) error {
		positions = nil // what went into a life that had ended, nobody will read
		if err := e.check(l.spec, items); err != nil {
			return err
		}
		for _, item := range items {
			p, err := e.append(ctx, l, item)
			if err != nil {
				return err
			}
			positions = append(positions, p)
		}
		written = append(written, l)
		return nil
	})
	for _, l := range written {
		if l.over() {
			e.spawn(func() { e.clear(l) })
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrNoChannel):
		positions = nil
	case len(positions) == len(items) && len(items) > 0: // stored, but perhaps in a life that had ended
		positions, err = nil, fmt.Errorf("%w: %w", engine.ErrUnknown, err)
	}
	return positions, explain(ctx, "append", n, err)
}

func (e *Engine) check(spec engine.Spec, items []engine.Item) error {
	limit := min(e.config.MaxEntry, spec.MaxBytes)
	for i, item := range items {
		if len(item.Data) > limit {
			return fmt.Errorf("%w: item %d has %d bytes, at most %d are allowed (the smaller of the engine's MaxEntry and the channel's MaxBytes)", engine.ErrTooLarge, i, len(item.Data), limit)
		}
		if len(item.ID) > engine.MaxID {
			return fmt.Errorf("%w: the ID of item %d has %d bytes, at most %d are allowed", engine.ErrTooLarge, i, len(item.ID), engine.MaxID)
		}
	}
	return nil
}

func (e *Engine) append(ctx context.Context, l *life, item engine.Item) (engine.Position, error) {
	msg := &natsgo.Msg{Subject: l.subject, Header: natsgo.Header{}, Data: item.Data}
	tag := randomTag()
	if item.ID != "" {
		id := l.msgID(item.ID)
		tag = tagOf(id)
		msg.Header[headerMsgID] = []string{id}
	}
	msg.Header[headerTag] = []string{base36(uint64(tag))}
	unknown := false
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		var seq uint64
		err := error(nil)
		if item.ID != "" {
			err = e.settle(ctx, l)
		}
		if err == nil {
			if seq, err = publish(ctx, e.main, msg); err == nil {
				return l.position(seq, tag), nil
			}
			if errors.Is(err, engine.ErrUnknown) {
				unknown = true
				e.doubt(l.stream)
			}
		}
		if errors.Is(err, errNotSent) && !unknown && e.isLost(ctx, l) {
			return engine.Position{}, errLost
		}
		if item.ID == "" || errors.Is(err, engine.ErrTooLarge) || l.over() || pause(ctx, wait) != nil {
			if unknown && !errors.Is(err, engine.ErrUnknown) {
				err = errNoAnswer // of an earlier attempt
			}
			return engine.Position{}, err
		}
	}
}

// tail asks the leader for the newest message of a life: an entry, or the genesis.
func (e *Engine) tail(ctx context.Context, l *life) (*message, error) {
	m, err := get(ctx, e.main, l.stream, question{Last: l.subject})
	if errors.Is(err, errNoMessage) || errors.Is(err, errNoStream) {
		return nil, errLost
	}
	return m, err
}

// certain is tail with all that was acknowledged before the call. A node that is cut
// off with the old leader would take a short log for the whole, and tell readers who
// come from the others that they are ahead of it.
func (e *Engine) certain(ctx context.Context, l *life) (*message, error) {
	if e.config.Replicas == 1 { // there is nobody else to lead
		return e.tail(ctx, l)
	}
	beat := e.sure(l.stream, l.root())
	if err := beat.wait(ctx); err != nil {
		if _, lost := e.tail(ctx, l); lost != nil { // the stream is gone, and takes no beat
			return nil, lost
		}
		return nil, unavailable(err)
	}
	return e.tailSince(ctx, l, beat.seq)
}

// tailSince is tail, of any replica that has a beat.
func (e *Engine) tailSince(ctx context.Context, l *life, beat uint64) (*message, error) {
	m, err := e.since(ctx, l.stream, l.root(), beat, l.subject)
	if errors.Is(err, errNoMessage) {
		return nil, errLost
	}
	return m, err
}

// Tail implements engine.Engine.
func (e *Engine) Tail(ctx context.Context, n engine.Name) (engine.Position, error) {
	ctx, leave, err := e.enter(ctx, n)
	if err != nil {
		return engine.Position{}, explain(ctx, "tail", n, err)
	}
	defer leave()
	var tail engine.Position
	err = e.use(ctx, n, false, func(l *life) error {
		m, err := e.certain(ctx, l)
		if err == nil {
			tail = l.position(m.seq, m.tag())
		}
		return err
	})
	if err != nil {
		return engine.Position{}, explain(ctx, "tail", n, err)
	}
	return tail, nil
}

// Last implements engine.Engine.
func (e *Engine) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	ctx, leave, err := e.enter(ctx, n)
	if err != nil {
		return engine.Batch{}, explain(ctx, "last", n, err)
	}
	defer leave()
	var batch engine.Batch
	err = e.use(ctx, n, false, func(l *life) (err error) {
		batch, err = e.last(ctx, l, k)
		return err
	})
	if err != nil {
		return engine.Batch{}, explain(ctx, "last", n, err)
	}
	return batch, nil
}

func (e *Engine) last(ctx context.Context, l *life, k int) (engine.Batch, error) {
	tail, err := e.certain(ctx, l)
	if err != nil {
		return engine.Batch{}, err
	}
	top := l.position(tail.seq, tail.tag())
	if k < 1 || tail.seq == l.genesis.Seq {
		return engine.Batch{Top: top}, nil
	}
	k = min(k, l.spec.Size)
	messages, err := e.recent(ctx, l, tail.seq, k)
	if err != nil {
		return engine.Batch{}, err
	}
	from, bytes := len(messages), 0
	for from > 1 && len(messages)-from < k { // the first is only the predecessor of the second
		if bytes += len(messages[from-1].data); bytes > l.spec.MaxBytes {
			break
		}
		from--
	}
	newest := messages[len(messages)-1]
	return engine.Batch{Entries: l.entries(messages[from-1:]), Top: l.position(newest.seq, newest.tag())}, nil
}

// recent returns at least the newest k messages up to tail and one before them, or
// all that are kept. What is newest is close to the end of the stream where the
// channel is a busy one, so that is where it looks first.
func (e *Engine) recent(ctx context.Context, l *life, tail uint64, k int) ([]*message, error) {
	for _, span := range []uint64{4, 64} {
		if k >= l.spec.Size/4 || tail-l.genesis.Seq <= span*uint64(k) {
			break
		}
		messages, err := e.replay(ctx, l, tail-span*uint64(k), tail)
		if err != nil || len(messages) > k {
			return messages, err
		}
	}
	return e.replay(ctx, l, l.genesis.Seq, tail)
}

// Read implements engine.Engine. Whatever max says, it fetches all that follows
// the position, because MaxBytes can only be kept to by who has seen all of it.
func (e *Engine) Read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	ctx, leave, err := e.enter(ctx, n)
	if err != nil {
		return engine.Batch{}, explain(ctx, "read", n, err)
	}
	defer leave()
	var batch engine.Batch
	err = e.use(ctx, n, false, func(l *life) (err error) {
		batch, err = e.read(ctx, l, after, max)
		return err
	})
	if err != nil {
		return engine.Batch{}, explain(ctx, "read", n, err)
	}
	return batch, nil
}

func (e *Engine) read(ctx context.Context, l *life, after engine.Position, max int) (engine.Batch, error) {
	if after.Epoch != l.genesis.Epoch {
		return engine.Batch{}, fmt.Errorf("%w: after %q, it begins at %v", errOtherLife, after, l.genesis)
	}
	if after.Seq < l.genesis.Seq || after.Seq > math.MaxInt64 {
		return engine.Batch{}, fmt.Errorf("%w: after %q, the log begins at %v", engine.ErrEpoch, after, l.genesis)
	}
	tail, err := e.tail(ctx, l)
	if err != nil {
		return engine.Batch{}, err
	}
	switch {
	case after.Seq > tail.seq:
		return engine.Batch{}, e.beyond(ctx, l, after)
	case after.Seq == tail.seq:
		return engine.Batch{Top: l.position(tail.seq, tail.tag())}, agree(after, tail)
	case l.spec.Newest:
		return e.last(ctx, l, 1)
	}
	messages, err := e.replay(ctx, l, after.Seq, tail.seq)
	if err != nil {
		return engine.Batch{}, err
	}
	if messages[0].seq != after.Seq {
		return engine.Batch{}, e.missing(ctx, l, after)
	}
	if err := agree(after, messages[0]); err != nil {
		return engine.Batch{}, err
	}
	bytes := 0
	for _, m := range messages[1:] {
		bytes += len(m.data)
	}
	if len(messages)-1 > l.spec.Size || bytes > l.spec.MaxBytes {
		return engine.Batch{}, fmt.Errorf("%w: after %v there are %d entries of %d bytes, kept are %d of %d", engine.ErrTrimmed, after, len(messages)-1, bytes, l.spec.Size, l.spec.MaxBytes)
	}
	newest := messages[len(messages)-1]
	batch := engine.Batch{Entries: l.entries(messages), Top: l.position(newest.seq, newest.tag())}
	if max > 0 && len(batch.Entries) > max {
		batch.Entries, batch.More = batch.Entries[:max:max], true
	}
	return batch, nil
}

// agree compares a position with the message of its sequence.
func agree(p engine.Position, m *message) error {
	if p.Tag != 0 && p.Tag != m.tag() {
		return fmt.Errorf("%w: %v is not in the history of the log", engine.ErrEpoch, p)
	}
	return nil
}

// missing says why the entry at a position is not on any replica's end of the log:
// the leader knows whether it was trimmed, or never was there.
func (e *Engine) missing(ctx context.Context, l *life, after engine.Position) error {
	m, err := get(ctx, e.main, l.stream, question{Seq: after.Seq})
	switch {
	case errors.Is(err, errNoMessage):
		return fmt.Errorf("%w: after %v", engine.ErrTrimmed, after)
	case err != nil:
		return err
	case m.subject != l.subject:
		return fmt.Errorf("%w: %v is not in the history of the log", engine.ErrEpoch, after)
	}
	if err := agree(after, m); err != nil {
		return err
	}
	return fmt.Errorf("%w: %v", engine.ErrStale, after)
}

// beyond says what a position after the tail is. The leader that gave the tail may
// be one that lost its majority and does not know yet; only after a write that was
// acknowledged is its tail the log's, and the position then of no history of it: a
// store set back by hand, or a forgery. Such a write is made at most once a second.
func (e *Engine) beyond(ctx context.Context, l *life, after engine.Position) error {
	if !e.pulse.may(l.stream) {
		return fmt.Errorf("%w: %v", engine.ErrStale, after)
	}
	beat, err := e.beat(ctx, l.stream, l.root())
	if err != nil {
		return unavailable(err)
	}
	tail, err := e.tailSince(ctx, l, beat)
	if err != nil {
		return err
	}
	if after.Seq > tail.seq {
		return fmt.Errorf("%w: %v, the log ends at %v", engine.ErrEpoch, after, l.position(tail.seq, tail.tag()))
	}
	return fmt.Errorf("%w: %v", engine.ErrStale, after)
}

// pageBytes is how much one direct get may answer.
const pageBytes = 4 << 20

// replay returns the messages of a life from a sequence on, up to tail at least.
// Any replica may answer; one that has tail has all that is before it.
func (e *Engine) replay(ctx context.Context, l *life, from, tail uint64) ([]*message, error) {
	select {
	case e.replays <- struct{}{}:
		defer func() { <-e.replays }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", engine.ErrUnavailable, context.Cause(ctx))
	}
	var messages []*message
	deadline := time.Now().Add(attempt)
	for wait := 2 * time.Millisecond; ; {
		p, err := direct(ctx, e.bulk, l.stream, question{Next: l.subject, Seq: from, Batch: l.spec.Size + class(l.spec.Size) + 2, MaxBytes: pageBytes})
		if err != nil {
			return nil, err
		}
		page := p.messages
		if n := len(messages); n > 0 && len(page) > 0 {
			if page[0].seq != messages[n-1].seq { // trimmed while we read
				messages = nil
			} else {
				page = page[1:]
			}
		}
		messages = append(messages, page...)
		n := len(messages)
		if n > 0 && messages[n-1].seq >= tail {
			return messages, nil
		}
		if n > 0 && len(page) > 0 && p.pending > 0 {
			from = messages[n-1].seq
			continue
		}
		if l.over() {
			return nil, errLost
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: it does not have %d yet", engine.ErrStale, tail)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		wait = min(2*wait, 100*time.Millisecond)
	}
}

// entries returns all messages but the first, each with its predecessor.
func (l *life) entries(messages []*message) []engine.Entry {
	entries := make([]engine.Entry, 0, len(messages)-1)
	for i, m := range messages[1:] {
		entries = append(entries, l.entry(m, messages[i].seq, messages[i].tag()))
	}
	return entries
}

func (l *life) entry(m *message, prev uint64, prevTag uint32) engine.Entry {
	return engine.Entry{Position: l.position(m.seq, m.tag()), Prev: prev, PrevTag: prevTag, Data: m.data, At: m.at}
}

// tailsAtOnce is how many tails one request asks for, as far as they have room in
// half of what the server takes.
const tailsAtOnce = 256

// Tails implements engine.Engine. It asks any replica, and takes the answer of one
// that has all that the leader had before.
func (e *Engine) Tails(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
	ctx, leave, err := e.enter(ctx, names...)
	if err != nil {
		return nil, explain(ctx, "tails", engine.Name{}, err)
	}
	defer leave()
	tails, err := e.tails(ctx, names)
	return tails, explain(ctx, "tails", engine.Name{}, err)
}

func (e *Engine) tails(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
	lives, err := e.livesOf(ctx, names)
	if err != nil {
		return nil, err
	}
	streams := make(map[string]map[string]*life) // by stream, by subject
	for _, l := range lives {
		if l == nil {
			continue
		}
		if streams[l.stream] == nil {
			streams[l.stream] = make(map[string]*life)
		}
		streams[l.stream][l.subject] = l
	}
	found := make(map[*life]engine.Position)
	for name, subjects := range streams {
		if err := e.tailsOf(ctx, name, subjects, found); err != nil {
			return nil, err
		}
	}
	tails := make([]engine.Position, len(names))
	for i, l := range lives {
		if l == nil {
			continue
		}
		p, ok := found[l]
		if !ok {
			p, err = e.Tail(ctx, names[i])
			if err != nil && !errors.Is(err, engine.ErrNoChannel) {
				return nil, err
			}
		}
		tails[i] = p
	}
	return tails, nil
}

// livesOf returns the life of each name, nil where there is none.
func (e *Engine) livesOf(ctx context.Context, names []engine.Name) ([]*life, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if err := e.registry.check().wait(ctx); err != nil {
		return nil, err
	}
	lives := make([]*life, len(names))
	var wg sync.WaitGroup
	errs := make(chan error, 1)
	places := make(chan struct{}, 16)
	for i, n := range names {
		if lives[i] = e.registry.cached(key(n)); lives[i] != nil && lives[i].idle == nil {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			err := e.find(ctx, n, &lives[i])
			if err != nil && !errors.Is(err, engine.ErrNoChannel) {
				select {
				case errs <- err:
				default:
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
		return lives, nil
	}
}

// find leaves nil behind on an error.
func (e *Engine) find(ctx context.Context, n engine.Name, found **life) error {
	l := *found
	*found = nil
	if l == nil {
		var err error
		if l, _, err = e.registry.load(ctx, n); err != nil {
			return err
		}
	}
	if err := e.alive(ctx, l, false); err != nil {
		return err
	}
	*found = l
	return nil
}

func (e *Engine) tailsOf(ctx context.Context, stream string, lives map[string]*life, found map[*life]engine.Position) error {
	newest, err := e.newest(ctx, stream, lives)
	if errors.Is(err, errNoMessage) || errors.Is(err, errNoStream) || errors.Is(err, errNotSent) {
		return nil // each is asked for by itself then
	}
	if err != nil {
		return err
	}
	var subjects []string
	bytes, room := 0, int(e.main.MaxPayload()/2)
	ask := func() error {
		defer func() { subjects, bytes = nil, 0 }()
		return e.multi(ctx, stream, subjects, newest, lives, found)
	}
	for subject := range lives {
		subjects = append(subjects, subject)
		if bytes += len(subject); len(subjects) == tailsAtOnce || bytes > room {
			if err := ask(); err != nil {
				return err
			}
		}
	}
	if len(subjects) == 0 {
		return nil
	}
	return ask()
}

// newest returns a sequence of a stream before which is all that was acknowledged.
func (e *Engine) newest(ctx context.Context, stream string, lives map[string]*life) (uint64, error) {
	if e.config.Replicas > 1 { // as certain does
		for _, l := range lives {
			beat := e.sure(stream, l.root())
			if err := beat.wait(ctx); err != nil {
				return 0, unavailable(err)
			}
			return beat.seq, nil
		}
	}
	m, err := get(ctx, e.main, stream, question{Last: ">"})
	if err != nil {
		return 0, err
	}
	return m.seq, nil
}

func (e *Engine) multi(ctx context.Context, stream string, subjects []string, upTo uint64, lives map[string]*life, found map[*life]engine.Position) error {
	messages, err := lasts(ctx, e.bulk, stream, subjects, upTo) // none: each is asked for by itself then
	for _, m := range messages {
		if l := lives[m.subject]; l != nil {
			found[l] = l.position(m.seq, m.tag())
		}
	}
	return err
}
