package nats

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine"
)

// errLost: the servers have nothing on a subject that never is empty while its log
// lives.
var errLost = errors.New("nothing is stored of the log")

// use calls f with the life of a name, and again with the next one where that life
// had ended before the call began: what this node knows is checked at the same time
// as f does its work. touch says that the call keeps the log from expiring.
func (e *Engine) use(ctx context.Context, n engine.Name, touch bool, f func(l *life) error) error {
	for {
		l := e.registry.cached(key(n))
		var check *round
		if l != nil {
			check = e.registry.check()
		} else {
			var err error
			if l, _, err = e.registry.load(ctx, n); errors.Is(err, engine.ErrNoChannel) && !touch {
				err = e.surely(ctx, err)
			}
			if err != nil {
				return err
			}
		}
		err := e.alive(ctx, l, touch)
		if err == nil {
			err = f(l)
		}
		if errors.Is(err, errLost) {
			err = e.lost(ctx, l)
		}
		if check != nil && !l.over() {
			unchecked := check.wait(ctx)
			for touch && err == nil && unchecked != nil && pause(ctx, recheck) == nil { // what is stored, is stored
				unchecked = e.registry.check().wait(ctx)
			}
			if err == nil {
				err = unchecked
			}
		}
		if !l.over() {
			if errors.Is(err, errOtherLife) {
				err = e.surely(ctx, err)
			}
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", engine.ErrUnavailable, context.Cause(ctx))
		}
	}
}

// recheck is how long a call that has done its work waits before it asks again
// whether the log still was there.
const recheck = 50 * time.Millisecond

// errOtherLife is the ErrEpoch of a position that names another life.
var errOtherLife = fmt.Errorf("%w: the log lives again", engine.ErrEpoch)

// surely returns err, which says that a log is gone or another, once it is certain
// that the leader which said so is one.
func (e *Engine) surely(ctx context.Context, err error) error {
	if unsure := e.sure(e.names.name, e.names.root).wait(ctx); unsure != nil {
		return unavailable(unsure)
	}
	return err
}

// lost is called when the servers have nothing of a life. It was deleted, which the
// names stream then says; or its stream was, and then the name is freed. Nothing is
// concluded from the answer of a leader that is not one any more.
func (e *Engine) lost(ctx context.Context, l *life) error {
	if err := e.registry.check().wait(ctx); err != nil || l.over() {
		return err
	}
	beat, err := e.beat(ctx, l.stream, l.root())
	if errors.Is(err, errNotSent) {
		if !e.isLost(ctx, l) {
			return err
		}
	} else if err != nil {
		return err
	} else if _, err := e.tailSince(ctx, l, beat); !errors.Is(err, errLost) {
		return errors.Join(engine.ErrUnavailable, err)
	}
	l.mu.Lock()
	seq := l.seq
	l.mu.Unlock()
	if err := e.registry.tombstone(ctx, l.key, seq); err != nil && !errors.Is(err, errConflict) {
		return unavailable(err)
	}
	e.registry.drop(l)
	return nil
}

// isLost reports that the stream of a life was deleted, whether or not it was made
// anew since.
func (e *Engine) isLost(ctx context.Context, l *life) bool {
	return e.isDeleted(ctx, &stream{name: l.stream, root: l.root()})
}

// unavailable turns an unknown outcome of what may be done again into unavailable.
func unavailable(err error) error {
	if errors.Is(err, engine.ErrUnknown) {
		return fmt.Errorf("%w: no answer", engine.ErrUnavailable)
	}
	return err
}

// Ensure implements engine.Engine.
func (e *Engine) Ensure(ctx context.Context, n engine.Name, spec engine.Spec) (engine.Info, error) {
	ctx, leave, err := e.enter(ctx, n)
	if err != nil {
		return engine.Info{}, explain(ctx, "ensure", n, err)
	}
	defer leave()
	if spec, err = spec.Normal(); err != nil {
		return engine.Info{}, explain(ctx, "ensure", n, err)
	}
	info, err := e.ensure(ctx, n, spec)
	return info, explain(ctx, "ensure", n, err)
}

func (e *Engine) ensure(ctx context.Context, n engine.Name, spec engine.Spec) (info engine.Info, err error) {
	for {
		if e.registry.cached(key(n)) == nil {
			_, seq, err := e.registry.load(ctx, n)
			if errors.Is(err, engine.ErrNoChannel) {
				if err = e.create(ctx, n, spec, seq); err == nil || errors.Is(err, errConflict) {
					continue
				}
			}
			if err != nil {
				return engine.Info{}, err
			}
		}
		err = e.use(ctx, n, true, func(l *life) error {
			m, err := e.tail(ctx, l)
			if err != nil {
				return err
			}
			info = engine.Info{Spec: l.spec, Tail: l.position(m.seq, m.tag())}
			if l.spec != spec {
				return fmt.Errorf("%w: it has %+v, asked for %+v", engine.ErrSpecConflict, l.spec, spec)
			}
			return nil
		})
		if !errors.Is(err, engine.ErrNoChannel) {
			return info, err
		}
	}
}

// create makes a log: its genesis first, on a subject that nobody knows yet, and
// then the record that makes it known, unless another node was first: errConflict.
func (e *Engine) create(ctx context.Context, n engine.Name, spec engine.Spec, seq uint64) error {
	key := key(n)
	s, err := e.logStream(ctx, class(spec.Size), shard(key, e.config.Shards))
	if err != nil {
		return err
	}
	rec := record{
		Epoch: random(8), Stream: s.name, Root: s.root, Live: s.live, Tag: randomTag(),
		Size: spec.Size, Bytes: spec.MaxBytes, Newest: spec.Newest, Idle: spec.IdleTTL,
	}
	msg := &natsgo.Msg{Subject: s.root + "." + rec.Epoch + "." + key, Header: natsgo.Header{}}
	msg.Header.Set(headerGenesis, "1")
	msg.Header.Set(headerTag, base36(uint64(rec.Tag)))
	if rec.Genesis, err = publish(ctx, e.main, msg); err != nil {
		e.forget(s.name) // it may have been made anew under another root
		return unavailable(err)
	}
	_, err = e.registry.write(ctx, key, rec, seq)
	if err == nil {
		return nil
	}
	if errors.Is(err, errNoAnswer) { // it may be there
		l, _, loadErr := e.registry.load(ctx, n)
		if loadErr == nil && l.genesis.Epoch == rec.Epoch {
			return nil
		}
		if loadErr != nil && !errors.Is(loadErr, engine.ErrNoChannel) {
			return unavailable(err)
		}
	}
	if purgeErr := purge(ctx, e.main, s.name, msg.Subject); purgeErr != nil {
		return purgeErr
	}
	return unavailable(err)
}

func shard(key string, shards int) int {
	if shards == 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(key))
	return int(h.Sum32() % uint32(shards))
}

// Delete implements engine.Engine.
func (e *Engine) Delete(ctx context.Context, n engine.Name) error {
	ctx, leave, err := e.enter(ctx, n)
	if err != nil {
		return explain(ctx, "delete", n, err)
	}
	defer leave()
	return explain(ctx, "delete", n, e.delete(ctx, n))
}

func (e *Engine) delete(ctx context.Context, n engine.Name) error {
	for {
		l, seq, err := e.registry.load(ctx, n)
		if errors.Is(err, engine.ErrNoChannel) {
			return nil
		}
		if err != nil {
			return err
		}
		err = e.registry.tombstone(ctx, l.key, seq)
		if errors.Is(err, errConflict) {
			continue
		}
		if err != nil {
			return unavailable(err)
		}
		e.registry.drop(l)
		if err := purge(ctx, e.main, l.stream, l.subject); err != nil && !errors.Is(err, errNoStream) {
			e.spawn(func() { e.clear(l) })
		}
		return nil
	}
}

// clear removes what is stored of a life that has ended. What it cannot remove now
// is in nobody's way.
func (e *Engine) clear(l *life) {
	ctx, cancel := context.WithTimeout(e.root, e.config.Timeout)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := purge(ctx, e.main, l.stream, l.subject)
		if err == nil || errors.Is(err, errNoStream) || pause(ctx, wait) != nil {
			return
		}
	}
}

func (l *life) root() string { return l.record().Root }

// tagOf is the tag of the item with an ID: the same each time that it is sent, so
// that the position of what is stored already is known without asking.
func tagOf(msgID string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(msgID))
	return max(h.Sum32(), 1)
}

func (l *life) msgID(id string) string {
	return strconv.FormatUint(l.genesis.Seq, 36) + "." + token(id)
}
