package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
)

// patience bounds what an engine may do later than the call that caused it.
const patience = 10 * time.Second

// kit is what a case works with. Its methods end the case when the engine answers
// with an error that the case did not expect.
type kit struct {
	*testing.T
	ctx     context.Context
	handles []engine.Engine
	bubble  bool
	random  *rand.Rand // for the case's own goroutine
	prefix  string
	made    int
}

// any returns one of the handles, so that a case hops between nodes.
func (k *kit) any() engine.Engine { return k.handles[k.random.IntN(len(k.handles))] }

// handle returns handle i, counted round and round.
func (k *kit) handle(i int) engine.Engine { return k.handles[i%len(k.handles)] }

func (k *kit) caps() engine.Caps { return k.handles[0].Caps() }

// name returns a name that was never used.
func (k *kit) name() engine.Name {
	k.made++
	return engine.Name{Prefix: k.prefix, Channel: "c" + strconv.Itoa(k.made)}
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatalf("unexpected error: %v", err)
	}
}

// want ends the case unless err is one of errs.
func (k *kit) want(err error, errs ...error) {
	k.Helper()
	for _, want := range errs {
		if errors.Is(err, want) {
			return
		}
	}
	k.Fatalf("got error %v, want one of %q", err, errs)
}

func (k *kit) ensure(n engine.Name, spec engine.Spec) engine.Position {
	k.Helper()
	info, err := k.any().Ensure(k.ctx, n, spec)
	k.must(err)
	return info.Tail
}

// log makes a log and returns its name and genesis.
func (k *kit) log(spec engine.Spec) (engine.Name, engine.Position) {
	k.Helper()
	n := k.name()
	return n, k.ensure(n, spec)
}

// append stores one entry for each text, each through any handle.
func (k *kit) append(n engine.Name, texts ...string) []engine.Position {
	k.Helper()
	var positions []engine.Position
	for _, text := range texts {
		got, err := retry(k, func() ([]engine.Position, error) {
			return k.any().Append(k.ctx, n, engine.Item{Data: []byte(text)})
		})
		k.must(err)
		if len(got) != 1 {
			k.Fatalf("Append of one item returned %d positions", len(got))
		}
		positions = append(positions, got[0])
	}
	return positions
}

// read returns everything after a position, in pages of the engine's choice.
func (k *kit) read(e engine.Engine, n engine.Name, after engine.Position) ([]engine.Entry, error) {
	var entries []engine.Entry
	for {
		batch, err := retry(k, func() (engine.Batch, error) { return e.Read(k.ctx, n, after, 0) })
		if err != nil {
			return nil, err
		}
		entries = append(entries, batch.Entries...)
		if !batch.More {
			return entries, nil
		}
		if len(batch.Entries) == 0 {
			k.Fatal("Read says More and returned nothing")
		}
		after = entries[len(entries)-1].Position
	}
}

// expect reads after a position through every handle: exactly these texts, and
// the chain from the position on is closed.
func (k *kit) expect(n engine.Name, after engine.Position, texts ...string) []engine.Entry {
	k.Helper()
	var entries []engine.Entry
	for i, e := range k.handles {
		got, err := k.read(e, n, after)
		if err != nil {
			k.Fatalf("handle %d: Read after %v: %v", i, after, err)
		}
		k.chain(after, got)
		k.same(got, texts)
		entries = got
	}
	return entries
}

// trimmed demands ErrTrimmed after a position of every handle.
func (k *kit) trimmed(n engine.Name, after engine.Position) {
	k.Helper()
	for _, e := range k.handles {
		batch, err := retry(k, func() (engine.Batch, error) { return e.Read(k.ctx, n, after, 1) })
		if !errors.Is(err, engine.ErrTrimmed) || len(batch.Entries) != 0 {
			k.Fatalf("Read after %v: %d entries, %v, want ErrTrimmed", after, len(batch.Entries), err)
		}
	}
}

// reborn demands that a position of an earlier life is refused by every handle.
func (k *kit) reborn(n engine.Name, after engine.Position) {
	k.Helper()
	for _, e := range k.handles {
		batch, err := retry(k, func() (engine.Batch, error) { return e.Read(k.ctx, n, after, 0) })
		if !errors.Is(err, engine.ErrEpoch) && !errors.Is(err, engine.ErrTrimmed) {
			k.Fatalf("Read after %v of an earlier life: %d entries, %v, want ErrEpoch", after, len(batch.Entries), err)
		}
	}
}

// chain demands that entries follow each other and after, by Prev and by Seq.
func (k *kit) chain(after engine.Position, entries []engine.Entry) {
	k.Helper()
	for i, entry := range entries {
		p := entry.Position
		if p.Epoch != after.Epoch || p.Seq <= after.Seq {
			k.Fatalf("entry %d is at %v, not after %v in its epoch", i, p, after)
		}
		if entry.Prev != after.Seq {
			k.Fatalf("entry %d at %v has Prev %d, its predecessor is at %d", i, p, entry.Prev, after.Seq)
		}
		if entry.PrevTag != 0 && after.Tag != 0 && entry.PrevTag != after.Tag {
			k.Fatalf("entry %d at %v has PrevTag %d, its predecessor is at %v", i, p, entry.PrevTag, after)
		}
		if k.caps().ContiguousSeq && p.Seq != after.Seq+1 {
			k.Fatalf("entry %d is at %v after %v, and Caps say ContiguousSeq", i, p, after)
		}
		after = p
	}
}

func (k *kit) same(entries []engine.Entry, texts []string) {
	k.Helper()
	got := make([]string, len(entries))
	for i, entry := range entries {
		got[i] = string(entry.Data)
	}
	if !slices.Equal(got, texts) {
		k.Fatalf("got entries %.300q, want %.300q", got, texts)
	}
}

func (k *kit) tail(n engine.Name, want engine.Position) {
	k.Helper()
	for i, e := range k.handles {
		got, err := retry(k, func() (engine.Position, error) { return e.Tail(k.ctx, n) })
		k.must(err)
		if got != want {
			k.Fatalf("handle %d: Tail is %v, want %v", i, got, want)
		}
	}
}

func (k *kit) watch(e engine.Engine, n engine.Name) (*recorder, func()) {
	k.Helper()
	r := newRecorder()
	stop, err := e.Watch(k.ctx, n, r)
	k.must(err)
	return r, stop
}

// retry repeats a call for as long as the engine says that this may help.
func retry[R any](k *kit, call func() (R, error)) (R, error) {
	for deadline := time.Now().Add(patience); ; {
		r, err := call()
		if err == nil || !engine.Retryable(err) || time.Now().After(deadline) {
			return r, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// texts returns n different texts.
func texts(n int) []string {
	ts := make([]string, n)
	for i := range ts {
		ts[i] = fmt.Sprintf("text %d", i)
	}
	return ts
}

// recorder is a sink that keeps what it is told.
type recorder struct {
	mu      sync.Mutex
	offered []engine.Entry
	causes  []error
	changed chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{}, 1)} }

func (r *recorder) Offer(entry engine.Entry) {
	r.mu.Lock()
	r.offered = append(r.offered, entry)
	r.mu.Unlock()
	r.notify()
}

func (r *recorder) Dirty(cause error) {
	r.mu.Lock()
	r.causes = append(r.causes, cause)
	r.mu.Unlock()
	r.notify()
}

func (r *recorder) notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *recorder) entries() []engine.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.offered)
}

// heard waits until the recorder was told Dirty with this cause.
func (r *recorder) heard(k *kit, cause error) {
	k.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		causes := slices.Clone(r.causes)
		r.mu.Unlock()
		if slices.ContainsFunc(causes, func(err error) bool { return errors.Is(err, cause) }) {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			k.Fatalf("the watcher heard Dirty with %q, never with %q", causes, cause)
		}
	}
}

// from demands what the feed promises of what it offered: all of these entries in
// their order when it is reliable, none but these otherwise.
func (r *recorder) from(k *kit, entries []engine.Entry) {
	k.Helper()
	offered := r.entries()
	if !k.caps().ReliableFeed {
		for _, o := range offered {
			if !slices.ContainsFunc(entries, func(e engine.Entry) bool { return sameEntry(o, e) }) {
				k.Fatalf("offered %v %q, which is not in the log", o.Position, o.Data)
			}
		}
		return
	}
	if !slices.EqualFunc(offered, entries, sameEntry) {
		k.Fatalf("Caps say ReliableFeed: %d entries offered, the log has %d, or they differ", len(offered), len(entries))
	}
}

func sameEntry(a, b engine.Entry) bool {
	return a.Position == b.Position && a.Prev == b.Prev && string(a.Data) == string(b.Data)
}
