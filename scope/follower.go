package scope

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/ring"
	"github.com/ocsigo/comet/sse"
)

// An entry is one value of a site channel. Its frame is made when the first
// event stream needs it, and shared by all.
type entry struct {
	at      engine.Position
	prev    uint64
	prevTag uint32
	ordinal uint64 // in the ring
	data    []byte
	frame   atomic.Pointer[sse.Frame]
}

// framed returns the entry's bytes on the wire. Two streams may both make the
// first one; they keep the same.
func (e *entry) framed(event string) *sse.Frame {
	if f := e.frame.Load(); f != nil {
		return f
	}
	f, err := sse.NewFrame(event, e.data)
	if err != nil { // the event name was checked at Register
		panic("scope: " + err.Error())
	}
	if !e.frame.CompareAndSwap(nil, f) {
		f = e.frame.Load()
	}
	return f
}

// A follower mirrors one log of the engine on this node: all that the log keeps,
// in a ring that every reader of the channel is served from. The log is the
// truth and its feed only a hint: what the feed loses, doubles or reorders is
// seen by the chain of Prev and read again from the log. When the log itself no
// longer has it, the ring skips an ordinal, and every reader finds that it missed
// something. Nothing here does arithmetic on sequences (rule 1).
type follower struct {
	log    engine.Engine
	gate   gate // of the Site, before what reads the log
	name   engine.Name
	size   int
	newest bool
	ctx    context.Context // of the repairs; ends with the channel's name
	notify func()          // there is news; must not block
	fail   func(error)     // the log is gone
	// remake makes a log that its store lost anew, and watches that. Nil: it is not
	// this channel's to make, or nobody but its owner can end it.
	remake  func(context.Context) error
	account *channelAccount // nil: what is followed is no channel of this Site

	mu        sync.RWMutex
	ring      *ring.Ring[*entry]
	tail      engine.Position       // of the newest entry, or the genesis
	genesis   uint64                // no sequence of this life is below it; 0 where that is not known
	head      atomic.Uint64         // ring.Next, for a look without the lock
	last      atomic.Pointer[entry] // the newest entry while it is kept, likewise
	begun     uint64                // the number of the newest repair
	passes    uint64                // the newest of them that succeeded
	reborn    uint64                // the ordinal at which the log was last found to have another history
	repairing bool
	again     bool // something came up during the repair
	unwatched bool // the log that was watched is gone, even if there is one of its name
}

// follow begins: interest first, then what the log keeps, so that nothing can
// fall between. What the feed says meanwhile is looked into afterwards: one
// loads at a time, or an older answer could undo a newer one.
func (f *follower) follow(ctx context.Context, sink engine.Sink) (stop func(), err error) {
	f.mu.Lock()
	f.repairing = true
	f.mu.Unlock()
	stop, err = f.log.Watch(ctx, f.name, sink)
	if err != nil {
		return nil, err
	}
	return stop, f.load(ctx, false)
}

// ready has the follower mend itself from now on. What may call fail begins here, so
// whoever is called has to know how to stop watching.
func (f *follower) ready() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.repairing = f.again; f.again {
		go f.repairLoop()
	}
}

// load takes what the log keeps. rewound: what this node has is not in the log's
// history any more, whatever the epochs say.
func (f *follower) load(ctx context.Context, rewound bool) error {
	batch, err := f.askLast(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account.countArrived(f.news(batch, rewound))
	if f.tail.Epoch != "" {
		f.last.Store(nil)
		f.ring.Skip()
		f.head.Store(f.ring.Next())
		if rewound || f.tail.Epoch != batch.Top.Epoch {
			f.reborn = f.ring.Next()
		}
	}
	f.genesis = 0
	if len(batch.Entries) == 0 {
		f.genesis = batch.Top.Seq
	}
	f.tail = batch.Top
	for _, e := range batch.Entries {
		f.push(e)
	}
	return nil
}

// news counts the entries of what the log keeps that this node did not have. What
// was there before the node looked at it for the first time has not arrived. It needs
// f.mu.
func (f *follower) news(batch engine.Batch, rewound bool) (n uint64) {
	for _, e := range batch.Entries {
		if f.tail.Epoch != "" && (rewound || e.Position.Epoch != f.tail.Epoch || e.Position.Seq > f.tail.Seq) {
			n++
		}
	}
	return n
}

// push needs f.mu.
func (f *follower) push(e engine.Entry) {
	last := &entry{at: e.Position, prev: e.Prev, prevTag: e.PrevTag, ordinal: f.ring.Next(), data: e.Data}
	f.ring.Push(last, len(e.Data))
	f.tail = e.Position
	if f.ring.Len() == 0 { // too large to be kept
		last = nil
	}
	f.last.Store(last)
	f.head.Store(f.ring.Next())
}

// Offer takes one entry of the feed.
func (f *follower) Offer(e engine.Entry) {
	f.mu.Lock()
	switch {
	case f.tail.Epoch == "":
		f.mu.Unlock() // not loaded yet
		f.repair()
	case f.knows(e.Position):
		f.mu.Unlock()
	case f.follows(e):
		f.push(e)
		f.account.countArrived(1)
		f.mu.Unlock()
		f.notify()
	default:
		f.mu.Unlock()
		f.repair()
	}
}

// knows reports that an entry is behind the tail and, as far as tags tell, the one
// that was heard under its number: after a failover it may be another, which the
// ring need not keep to compare with. It needs f.mu.
func (f *follower) knows(at engine.Position) bool {
	if at.Epoch != f.tail.Epoch || at.Seq > f.tail.Seq {
		return false
	}
	if at.Tag == 0 || at.Seq == f.tail.Seq {
		return agree(at, f.tail)
	}
	e, ok := f.ring.At(f.ring.Search(func(e *entry) bool { return e.at.Seq >= at.Seq }))
	return ok && e.at == at
}

// follows reports that e is the entry after the tail. It needs f.mu.
func (f *follower) follows(e engine.Entry) bool {
	before := engine.Position{Epoch: e.Position.Epoch, Seq: e.Prev, Tag: e.PrevTag}
	return before.Epoch == f.tail.Epoch && before.Seq == f.tail.Seq && agree(before, f.tail)
}

// Dirty takes the engine's word that the feed may have lost something, or that there
// will be none any more.
func (f *follower) Dirty(cause error) {
	if errors.Is(cause, engine.ErrNoChannel) {
		f.mu.Lock()
		f.unwatched = true
		f.mu.Unlock()
	}
	f.repair()
}

// repair compares with the log's tail and reads what is missing, on a goroutine
// that ends when it is done. Only one runs at a time; one that runs already may have
// asked too early. What passed gives is at least number once this one is done.
func (f *follower) repair() (number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = true
	if !f.repairing {
		f.repairing = true
		go f.repairLoop()
	}
	return f.begun + 1
}

func (f *follower) repairLoop() {
	pause := repairPauseMin
	for {
		f.mu.Lock()
		if !f.again || f.ctx.Err() != nil {
			f.repairing = false
			f.mu.Unlock()
			return
		}
		f.again = false
		f.begun++
		unwatched := f.unwatched
		f.mu.Unlock()
		err := engine.ErrNoChannel
		if !unwatched {
			err = f.catchUp()
		}
		if errors.Is(err, engine.ErrNoChannel) && f.remake != nil {
			err = f.anew()
		}
		switch {
		case err == nil:
			f.mu.Lock()
			f.passes = f.begun
			f.mu.Unlock()
			f.notify()
			pause = repairPauseMin
			continue
		case errors.Is(err, engine.ErrNoChannel) && f.remake == nil, errors.Is(err, engine.ErrClosed), errors.Is(err, engine.ErrSpecConflict):
			f.fail(err)
			continue // ctx has ended
		}
		f.mu.Lock()
		f.again = true
		f.mu.Unlock()
		select {
		case <-f.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, repairPauseMax)
	}
}

// anew follows the log that takes the place of a lost one: for readers it is
// another life of the channel.
func (f *follower) anew() error {
	ctx, cancel := context.WithTimeout(f.ctx, ensureWithin)
	defer cancel()
	f.mu.Lock()
	f.unwatched = false // what is heard from here on is of the new one
	f.mu.Unlock()
	err := f.remake(ctx)
	if err == nil {
		err = f.load(ctx, true)
	}
	if err != nil {
		f.mu.Lock()
		f.unwatched = true
		f.mu.Unlock()
	}
	return err
}

// How long a repair waits before it asks an engine again that could not answer.
const (
	repairPauseMin = 2 * time.Millisecond
	repairPauseMax = time.Second
)

// errBehind: the replica that answered has not got what the tail promises.
var errBehind = errors.New("scope: replica behind the tail")

// catchUp reads until the authoritative tail is reached. A tail before what this
// node has is that of a moment ago, or of a log that lost its end in a failover:
// the log says which.
func (f *follower) catchUp() error {
	tail, err := f.askTail(f.ctx)
	if err != nil {
		return err
	}
	for {
		f.mu.RLock()
		have := f.tail
		f.mu.RUnlock()
		if have == tail {
			return nil
		}
		batch, err := f.askRead(f.ctx, have, repairPage)
		switch {
		case errors.Is(err, engine.ErrTrimmed), errors.Is(err, engine.ErrEpoch):
			return f.load(f.ctx, errors.Is(err, engine.ErrEpoch))
		case err != nil:
			return err
		case have.Epoch == tail.Epoch && have.Seq >= tail.Seq:
			f.take(have, batch.Entries)
			return nil
		case !f.take(have, batch.Entries):
			return errBehind
		}
	}
}

const repairPage = 256

// take adds entries that were read from the log, but for those which the feed
// brought in the meantime, and stops at one that is of another history than theirs.
// It reports whether the tail is another than before the read.
func (f *follower) take(before engine.Position, entries []engine.Entry) (moved bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		if e.Position.Epoch == f.tail.Epoch && e.Position.Seq > f.tail.Seq {
			f.push(e)
			f.account.countArrived(1)
		} else if !f.knows(e.Position) {
			break
		}
	}
	return f.tail != before
}

// A place is where a position stands in the ring.
type place uint8

const (
	kept   place = iota // everything after it is kept
	missed              // something after it is not kept any more
	ahead               // it is after the tail
	reset               // it is not of this log's history
)

// seek returns the ordinal of the first entry after a position.
func (f *follower) seek(at engine.Position) (ordinal uint64, where place) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case at.Epoch != f.tail.Epoch, at.Seq < f.genesis:
		return f.ring.First(), reset
	case at.Seq > f.tail.Seq:
		return f.ring.First(), ahead
	}
	ordinal = f.ring.Search(func(e *entry) bool { return e.at.Seq > at.Seq })
	next, any := f.ring.At(ordinal)
	switch {
	case !any && at.Seq == f.tail.Seq && agree(at, f.tail):
		return ordinal, kept
	case f.newest && any:
		return ordinal, kept
	case !any:
		return f.ring.First(), reset
	case next.prev == at.Seq && f.agrees(ordinal, at):
		return ordinal, kept
	case ordinal == f.ring.First() && at.Seq < next.prev:
		return ordinal, missed
	}
	return f.ring.First(), reset
}

// agrees compares tags with the entry before ordinal, where that is kept.
func (f *follower) agrees(ordinal uint64, at engine.Position) bool {
	e, ok := f.ring.At(ordinal - 1)
	return ordinal == 0 || !ok || agree(at, e.at)
}

// agree compares two positions of one sequence: a number that a failover gave to
// another entry has another tag.
func agree(a, b engine.Position) bool { return a.Tag == b.Tag || a.Tag == 0 || b.Tag == 0 }

// next returns the entry at ordinal; nil when there is none yet. skipped: what
// stood there is no longer kept, e and at are the oldest kept and its ordinal.
func (f *follower) next(ordinal uint64) (e *entry, at uint64, skipped bool) {
	if e := f.last.Load(); e != nil && e.ordinal == ordinal {
		return e, ordinal, false
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	at = max(ordinal, f.ring.First())
	e, _ = f.ring.At(at)
	return e, at, at != ordinal
}

// before returns the position before the entry at ordinal, which is kept or the
// next to come. It needs f.mu.
func (f *follower) before(ordinal uint64) engine.Position {
	e, ok := f.ring.At(ordinal)
	if !ok {
		return f.tail
	}
	if p, ok := f.ring.At(ordinal - 1); ok && ordinal > 0 {
		return p.at
	}
	return engine.Position{Epoch: e.at.Epoch, Seq: e.prev, Tag: e.prevTag}
}

// isReborn reports that what stood at ordinal is not of the log's history any more.
func (f *follower) isReborn(ordinal uint64) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return ordinal < f.reborn
}

// oldest returns the ordinal of the oldest entry kept and the position before it.
func (f *follower) oldest() (uint64, engine.Position) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.ring.First(), f.before(f.ring.First())
}

// back returns the position before the newest n entries, or before all that are
// kept.
func (f *follower) back(n int) engine.Position {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.before(f.ring.Next() - uint64(min(max(n, 0), f.ring.Len())))
}

// recent returns the newest n values and the position after them.
func (f *follower) recent(n int) ([][]byte, engine.Position) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n = min(max(n, 0), f.ring.Len())
	values := make([][]byte, 0, n)
	for o := f.ring.Next() - uint64(n); o < f.ring.Next(); o++ {
		e, _ := f.ring.At(o)
		values = append(values, e.data)
	}
	return values, f.tail
}

func (f *follower) passed() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.passes
}

// why asks the log why nothing complete follows a position, for the reason that
// a reader is told. It blocks as long as the engine does.
func (f *follower) why(ctx context.Context, at engine.Position) place {
	if _, err := f.askRead(ctx, at, 1); errors.Is(err, engine.ErrEpoch) {
		return reset
	}
	return missed
}
