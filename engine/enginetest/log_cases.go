package enginetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

func caseOrder(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 100})
	before := time.Now()
	positions := k.append(n, texts(100)...)
	entries := k.expect(n, genesis, texts(100)...)
	for i, entry := range entries {
		if entry.Position != positions[i] {
			k.Fatalf("Append returned %v, Read has it at %v", positions[i], entry.Position)
		}
		if (entry.Position.Tag != 0) != k.caps().Tags {
			k.Fatalf("entry at %v, and Caps say Tags: %v", entry.Position, k.caps().Tags)
		}
		if p, err := engine.ParsePosition(entry.Position.String()); err != nil || p != entry.Position {
			k.Fatalf("position %#v comes back from its text as %#v, %v", entry.Position, p, err)
		}
		if off := entry.At.Sub(before); off < -time.Hour || off > time.Hour {
			k.Fatalf("entry of now has At %v", entry.At)
		}
	}
	k.tail(n, positions[99])
	for i := range positions {
		k.expect(n, positions[i], texts(100)[i+1:]...)
	}
}

func caseConcurrent(k *kit) {
	const senders, each = 8, 50
	n, genesis := k.log(engine.Spec{Size: senders * each})
	var wg sync.WaitGroup
	for s := range senders {
		e := k.handle(s)
		wg.Go(func() {
			for i := range each {
				item := engine.Item{ID: fmt.Sprint(s, "-", i), Data: []byte{byte(s), byte(i)}}
				if _, err := retry(k, func() ([]engine.Position, error) { return e.Append(k.ctx, n, item) }); err != nil {
					k.Errorf("sender %d: %v", s, err)
					return
				}
			}
		})
	}
	wg.Wait()
	var first []engine.Entry
	for i, e := range k.handles {
		entries, err := k.read(e, n, genesis)
		k.must(err)
		k.chain(genesis, entries)
		if i == 0 {
			first = entries
		} else if !slices.EqualFunc(first, entries, sameEntry) {
			k.Fatalf("handle %d sees another order", i)
		}
	}
	var next [senders]byte
	for _, entry := range first {
		s := entry.Data[0]
		if entry.Data[1] != next[s] {
			k.Fatalf("sender %d: entry %d where %d was expected", s, entry.Data[1], next[s])
		}
		next[s]++
	}
	if len(first) != senders*each {
		k.Fatalf("%d entries of %d", len(first), senders*each)
	}
}

func caseBatch(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 10, MaxBytes: 1000})
	items := func(texts ...string) (items []engine.Item) {
		for _, text := range texts {
			items = append(items, engine.Item{Data: []byte(text)})
		}
		return items
	}
	positions, err := k.any().Append(k.ctx, n, items("a", "b", "", "c")...)
	k.must(err)
	entries := k.expect(n, genesis, "a", "b", "", "c")
	for i, entry := range entries {
		if len(positions) != 4 || entry.Position != positions[i] {
			k.Fatalf("Append returned %v, item %d is at %v", positions, i, entry.Position)
		}
	}
	if positions, err = k.any().Append(k.ctx, n); err != nil || len(positions) != 0 {
		k.Fatalf("Append of nothing: %v, %v", positions, err)
	}
	_, err = k.any().Append(k.ctx, n, items("d", strings.Repeat("x", 1001), "e")...)
	k.want(err, engine.ErrTooLarge)
	k.expect(n, genesis, "a", "b", "", "c")

	// A batch larger than the log: the newest stay, all have positions.
	positions, err = k.any().Append(k.ctx, n, items(texts(25)...)...)
	k.must(err)
	if len(positions) != 25 {
		k.Fatalf("%d positions for 25 items", len(positions))
	}
	k.expect(n, positions[14], texts(25)[15:]...)
	k.trimmed(n, positions[13])
}

func caseIdempotent(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 3})
	neighbour, start := k.log(engine.Spec{Size: 3})
	send := func(n engine.Name, items ...engine.Item) []engine.Position {
		k.Helper()
		positions, err := k.any().Append(k.ctx, n, items...)
		k.must(err)
		if len(positions) != len(items) {
			k.Fatalf("%d positions for %d items", len(positions), len(items))
		}
		return positions
	}
	a, b := engine.Item{ID: "a", Data: []byte("A")}, engine.Item{ID: "b", Data: []byte("B")}
	first := send(n, a)
	for range 2 * len(k.handles) {
		if again := send(n, engine.Item{ID: "a", Data: []byte("other")}); again[0] != first[0] {
			k.Fatalf("the same ID again is at %v, first at %v", again, first)
		}
	}
	mixed := send(n, b, a, engine.Item{Data: []byte("C")}, b)
	if mixed[0] != mixed[3] || mixed[1] != first[0] {
		k.Fatalf("a batch with known IDs is at %v, the first of them at %v", mixed, first)
	}
	k.expect(n, genesis, "A", "B", "C")
	send(neighbour, a)
	k.expect(neighbour, start, "A")

	k.append(n, texts(3)...) // a is trimmed, and known all the same
	if k.bubble {
		time.Sleep(2*time.Minute - time.Second)
	}
	if again := send(n, a); again[0] != first[0] {
		k.Fatalf("the same ID within two minutes is at %v, first at %v", again, first)
	}
	k.expect(n, mixed[2], texts(3)...)
}

func casePaging(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 20})
	k.append(n, texts(20)...)
	for _, max := range []int{1, 7, 19, 20, 21, math.MaxInt} {
		after := genesis
		for left := 20; left > 0; {
			batch, err := k.any().Read(k.ctx, n, after, max)
			k.must(err)
			page := min(left, max)
			k.same(batch.Entries, texts(20)[20-left:][:page])
			if left -= page; batch.More != (left > 0) {
				k.Fatalf("pages of %d: More is %v with %d entries left", max, batch.More, left)
			}
			after = batch.Entries[page-1].Position
		}
	}
	k.pageWhileTrimmed()
}

// pageWhileTrimmed reads a small log while a writer runs through it.
func (k *kit) pageWhileTrimmed() {
	const total = 2000
	n, genesis := k.log(engine.Spec{Size: 50})
	writer, done := k.any(), make(chan struct{})
	go func() {
		defer close(done)
		for _, text := range texts(total) {
			_, err := retry(k, func() ([]engine.Position, error) {
				return writer.Append(k.ctx, n, engine.Item{ID: text, Data: []byte(text)})
			})
			if err != nil {
				k.Errorf("append: %v", err)
				return
			}
		}
	}()
	defer func() { <-done }()
	after, heard := genesis, ""
	for ended := false; ; {
		select {
		case <-done:
			ended = true // before the read: what it does not find is not there
		default:
		}
		batch := k.page(n, &after)
		if len(batch.Entries) > 0 {
			heard = string(batch.Entries[len(batch.Entries)-1].Data)
		} else if ended {
			break
		}
	}
	if last := texts(total)[total-1]; heard != last {
		k.Fatalf("the last entry heard is %q, not %q", heard, last)
	}
}

// page reads the next few entries, or, where they are trimmed, starts at the oldest
// kept, as a reader does that heard full.
func (k *kit) page(n engine.Name, after *engine.Position) engine.Batch {
	k.Helper()
	e, max := k.any(), 1+k.random.IntN(20)
	batch, err := retry(k, func() (engine.Batch, error) { return e.Read(k.ctx, n, *after, max) })
	if errors.Is(err, engine.ErrTrimmed) {
		batch, err = e.Last(k.ctx, n, math.MaxInt)
		if err == nil && len(batch.Entries) > 0 {
			after.Seq, after.Tag = batch.Entries[0].Prev, batch.Entries[0].PrevTag
		}
	} else if len(batch.Entries) > max {
		k.Fatalf("%d entries where at most %d were asked for", len(batch.Entries), max)
	}
	k.must(err)
	k.chain(*after, batch.Entries)
	if len(batch.Entries) > 0 {
		*after = batch.Entries[len(batch.Entries)-1].Position
	}
	if batch.Top.Seq < after.Seq || batch.More != (batch.Top.Seq > after.Seq) {
		k.Fatalf("a page to %v says Top %v, More %v", after, batch.Top, batch.More)
	}
	return batch
}

func caseSize(k *kit) {
	for _, size := range []int{1, 2, 3, 1000} {
		n, genesis := k.log(engine.Spec{Size: size})
		all := texts(size + 3)
		positions := append([]engine.Position{genesis}, k.append(n, all[:size]...)...)
		k.expect(n, positions[0], all[:size]...)
		for i := size; i < len(all); i++ {
			positions = append(positions, k.append(n, all[i])...)
			behind := i + 1 - size // the index of the position that is Size entries behind
			k.expect(n, positions[behind], all[behind:i+1]...)
			k.trimmed(n, positions[behind-1])
		}
		k.trimmed(n, genesis)
		if batch, err := k.any().Last(k.ctx, n, math.MaxInt); err != nil || len(batch.Entries) != size {
			k.Fatalf("Size %d: %d entries kept, %v", size, len(batch.Entries), err)
		}
	}
}

func caseBytes(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 100, MaxBytes: 10})
	p := k.append(n, "aaaa", "bbbbb", "c")
	k.expect(n, genesis, "aaaa", "bbbbb", "c")
	p = append(p, k.append(n, "", "d")...)
	k.expect(n, p[0], "bbbbb", "c", "", "d")
	k.trimmed(n, genesis)
	p = append(p, k.append(n, "1234567890")...)
	k.expect(n, p[4], "1234567890")
	k.trimmed(n, p[3])
	p = append(p, k.append(n, "")...)
	k.expect(n, p[4], "1234567890", "")
	_, err := k.any().Append(k.ctx, n, engine.Item{Data: []byte("12345678901")})
	k.want(err, engine.ErrTooLarge)
	k.expect(n, p[4], "1234567890", "")
}

func caseEmpty(k *kit) {
	const size = 5
	n, genesis := k.log(engine.Spec{Size: size})
	if genesis.IsZero() {
		k.Fatal("the genesis is the zero Position")
	}
	k.tail(n, genesis)
	for _, e := range k.handles {
		batch, err := e.Read(k.ctx, n, genesis, 10)
		k.must(err)
		last, err := e.Last(k.ctx, n, 10)
		k.must(err)
		if len(batch.Entries)+len(last.Entries) != 0 || batch.More || batch.Top != genesis || last.Top != genesis {
			k.Fatalf("an empty log with genesis %v: Read %+v, Last %+v", genesis, batch, last)
		}
	}
	for i, text := range texts(size) {
		k.append(n, text)
		k.expect(n, genesis, texts(size)[:i+1]...)
	}
	k.append(n, "one more")
	k.trimmed(n, genesis)
}

func caseNeighbours(k *kit) {
	idle, genesis := k.log(engine.Spec{Size: 5})
	p := k.append(idle, "a", "b")
	var busy []engine.Name
	for range 3 {
		n, _ := k.log(engine.Spec{Size: 5})
		busy = append(busy, n)
	}
	for i, text := range texts(500) {
		k.append(busy[i%3], text)
	}
	k.tail(idle, p[1])
	k.expect(idle, genesis, "a", "b")
	p = append(p, k.append(idle, "c")...)
	k.expect(idle, p[0], "b", "c")
	k.expect(idle, p[1], "c")
}

func caseNewest(k *kit) {
	n, genesis := k.log(engine.Spec{Newest: true})
	k.expect(n, genesis)
	p := k.append(n, "one")
	k.expect(n, genesis, "one")
	p = append(p, k.append(n, texts(100)...)...)
	newest := texts(100)[99]
	for _, after := range []engine.Position{genesis, p[0], p[50], p[99]} {
		for _, e := range k.handles {
			entries, err := k.read(e, n, after)
			k.must(err)
			k.same(entries, []string{newest})
			if entries[0].Position != p[100] || entries[0].Prev != p[99].Seq {
				k.Fatalf("the newest is at %v with Prev %d, want %v and %d", entries[0].Position, entries[0].Prev, p[100], p[99].Seq)
			}
		}
	}
	k.expect(n, p[100])
	batch, err := k.any().Last(k.ctx, n, 5)
	k.must(err)
	k.same(batch.Entries, []string{newest})
}

func caseLast(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 10})
	all := texts(25)
	positions := append([]engine.Position{genesis}, k.append(n, all[:4]...)...)
	for written := 4; ; written = len(all) {
		kept := min(written, 10)
		for _, ask := range []int{math.MinInt, -1, 0, 1, 2, kept - 1, kept, kept + 1, 1000, math.MaxInt} {
			give := min(max(ask, 0), kept)
			batch, err := k.any().Last(k.ctx, n, ask)
			k.must(err)
			k.same(batch.Entries, all[written-give:written])
			k.chain(positions[written-give], batch.Entries)
			if batch.Top != positions[written] || batch.More {
				k.Fatalf("Last(%d): Top %v, More %v, the tail is %v", ask, batch.Top, batch.More, positions[written])
			}
		}
		if written == len(all) {
			return
		}
		positions = append(positions, k.append(n, all[4:]...)...)
	}
}

func caseTails(k *kit) {
	const logs = 300
	var names []engine.Name
	var want []engine.Position
	for i := range logs {
		if i%7 == 3 { // no log has this name
			names, want = append(names, k.name()), append(want, engine.Position{})
			continue
		}
		n, tail := k.log(engine.Spec{Size: 2, Newest: i%5 == 1})
		for _, p := range k.append(n, texts(i%4)...) {
			tail = p
		}
		names, want = append(names, n), append(want, tail)
	}
	names, want = append(names, names[0]), append(want, want[0])
	for i, e := range k.handles {
		got, err := retry(k, func() ([]engine.Position, error) { return e.Tails(k.ctx, names) })
		k.must(err)
		if !slices.Equal(got, want) {
			k.Fatalf("handle %d: the tails are %.300v, want %.300v", i, got, want)
		}
		none, err := e.Tails(k.ctx, nil)
		if err != nil || len(none) != 0 {
			k.Fatalf("handle %d: the tails of no names are %v, %v", i, none, err)
		}
	}
	_, err := k.any().Tails(k.ctx, []engine.Name{names[0], {Prefix: k.prefix}})
	k.want(err, engine.ErrBadName)
}

func casePrefix(k *kit) {
	here, genesis := k.log(engine.Spec{Size: 5})
	there := engine.Name{Prefix: here.Prefix + "2", Channel: here.Channel}
	_, err := k.any().Tail(k.ctx, there)
	k.want(err, engine.ErrNoChannel)
	start := k.ensure(there, engine.Spec{Size: 7})
	p := k.append(here, "here")
	q := k.append(there, "there", "again")
	k.expect(here, genesis, "here")
	k.expect(there, start, "there", "again")
	k.must(k.any().Delete(k.ctx, here))
	k.tail(there, q[1])
	k.ensure(here, engine.Spec{Size: 5})
	k.reborn(here, p[0])
}

// caseExternal reads a log of another prefix, which somebody else makes and writes, as
// an instance that never calls Ensure.
func caseExternal(k *kit) {
	there := engine.Name{Prefix: k.prefix + "-there", Channel: "c"}
	for i := range k.handles {
		reader := k.handle(i)
		for _, c := range logCalls {
			if c.name != "Append" {
				k.want(c.do(reader, k.ctx, there), engine.ErrNoChannel)
			}
		}
		k.must(func() error { _, err := k.handle(i+1).Ensure(k.ctx, there, engine.Spec{Size: 3}); return err }())
		sink, stop := k.watch(reader, there)
		k.append(there, texts(5)...)
		for history, want := range map[int][]string{0: nil, 1: texts(5)[4:], 2: texts(5)[3:], 3: texts(5)[2:], 9: texts(5)[2:]} {
			batch, err := reader.Last(k.ctx, there, history)
			k.must(err)
			k.same(batch.Entries, want)
			k.tail(there, batch.Top)
		}
		last, err := reader.Last(k.ctx, there, 1)
		k.must(err)
		k.append(there, "on")
		k.expect(there, last.Top, "on")
		if k.caps().ReliableFeed && len(sink.entries()) != 6 {
			k.Fatalf("Caps say ReliableFeed, and a watcher of another prefix heard %d of 6 entries", len(sink.entries()))
		}
		stop()
		k.must(k.handle(i+1).Delete(k.ctx, there))
	}
}
