package enginetest

import (
	"fmt"
	"sync"

	"github.com/ocsigo/comet/engine"
)

// caseWatch starts watchers in the middle of appends: what a watcher was not
// offered must be before the tail that it asks for next.
func caseWatch(k *kit) {
	const senders, each, watchers = 3, 300, 20
	n, genesis := k.log(engine.Spec{Size: senders * each})
	var sending, watching sync.WaitGroup
	for s := range senders {
		e := k.handle(s)
		sending.Go(func() {
			for i := range each {
				item := engine.Item{ID: fmt.Sprint(s, "-", i), Data: []byte(fmt.Sprint(s, "-", i))}
				if _, err := retry(k, func() ([]engine.Position, error) { return e.Append(k.ctx, n, item) }); err != nil {
					k.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	type seen struct {
		sink *recorder
		tail engine.Position
		stop func()
	}
	all := make([]seen, watchers)
	for i := range all {
		e := k.handle(i)
		watching.Go(func() {
			sink := newRecorder()
			stop, err := e.Watch(k.ctx, n, sink)
			if err != nil {
				k.Errorf("watch: %v", err)
				return
			}
			tail, err := e.Tail(k.ctx, n)
			if err != nil {
				k.Errorf("tail: %v", err)
			}
			all[i] = seen{sink, tail, stop}
		})
	}
	watching.Wait()
	sending.Wait()
	if k.Failed() {
		return
	}
	log := k.expect(n, genesis, k.texts(n, genesis)...)
	if len(log) != senders*each {
		k.Fatalf("%d entries of %d", len(log), senders*each)
	}
	for _, s := range all {
		k.joins(log, s.sink, s.tail)
		s.stop()
	}
}

// texts returns what the log holds after a position, as one handle has it.
func (k *kit) texts(n engine.Name, after engine.Position) (texts []string) {
	k.Helper()
	entries, err := k.read(k.any(), n, after)
	k.must(err)
	for _, entry := range entries {
		texts = append(texts, string(entry.Data))
	}
	return texts
}

// joins demands that a reliable feed leaves no entry out after tail, and offers
// none twice or out of order; of any feed, that it offers what the log has.
func (k *kit) joins(log []engine.Entry, sink *recorder, tail engine.Position) {
	k.Helper()
	offered := sink.entries()
	if !k.caps().ReliableFeed {
		sink.from(k, log)
		return
	}
	if len(offered) > len(log) {
		k.Fatalf("%d entries offered, the log has %d", len(offered), len(log))
	}
	rest := log[len(log)-len(offered):]
	for i, entry := range offered {
		if !sameEntry(entry, rest[i]) {
			k.Fatalf("offered %v where the log has %v", entry.Position, rest[i].Position)
		}
	}
	if missing := log[:len(log)-len(offered)]; len(missing) > 0 && missing[len(missing)-1].Position.Seq > tail.Seq {
		k.Fatalf("%v was never offered, and the tail after Watch was %v", missing[len(missing)-1].Position, tail)
	}
}

func caseStop(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 100})
	var kept *recorder
	for i, e := range k.handles {
		sink, stop := k.watch(e, n)
		stays, stopStays := k.watch(e, n)
		defer stopStays()
		kept = stays
		again, stopAgain := k.watch(e, n)
		start := k.ensure(n, engine.Spec{Size: 100})
		p := k.append(n, fmt.Sprint("before ", i))
		stop()
		stop()
		stopAgain()
		count, countAgain := len(sink.entries()), len(again.entries())
		k.append(n, fmt.Sprint("after ", i))
		entries, err := k.read(e, n, start)
		k.must(err)
		stays.from(k, entries)
		sink.from(k, entries[:1])
		if len(sink.entries()) != count || len(again.entries()) != countAgain {
			k.Fatalf("offered after stop; %v was before it", p)
		}
	}
	log, err := k.read(k.any(), n, genesis)
	k.must(err)
	kept.from(k, log[len(log)-2:])
}

// forgetful is a sink with a full queue: it only notes that it lost something.
type forgetful struct{ dirty chan struct{} }

func (f forgetful) Offer(engine.Entry) { f.Dirty(nil) }

func (f forgetful) Dirty(error) {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

func caseSlowSink(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 50})
	slow := forgetful{make(chan struct{}, 1)}
	stopSlow, err := k.any().Watch(k.ctx, n, slow)
	k.must(err)
	defer stopSlow()
	attentive, stop := k.watch(k.any(), n)
	defer stop()

	k.append(n, texts(40)...)
	attentive.from(k, k.expect(n, genesis, texts(40)...)) // the slow one catches up
	if k.caps().ReliableFeed && len(slow.dirty) == 0 {
		k.Fatal("Caps say ReliableFeed, and a watcher heard nothing")
	}
	k.append(n, texts(40)...)
	k.trimmed(n, genesis) // or learns that it is too late
	if got := len(attentive.entries()); k.caps().ReliableFeed && got != 80 {
		k.Fatalf("Caps say ReliableFeed, and a watcher heard %d of 80 entries", got)
	}
}
