package enginetest

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/ocsigo/comet/engine"
)

func caseForeign(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 5})
	p := k.append(n, "a", "b", "c")
	other, _ := k.log(engine.Spec{Size: 5})
	q := k.append(other, texts(5)...)

	refuse := func(after engine.Position, errs ...error) {
		k.Helper()
		for _, e := range k.handles {
			batch, err := e.Read(k.ctx, n, after, 0)
			k.want(err, errs...)
			if len(batch.Entries) != 0 {
				k.Fatalf("Read after %v gave %d entries with its error", after, len(batch.Entries))
			}
		}
	}
	refuse(engine.Position{}, engine.ErrEpoch)
	refuse(engine.Position{Seq: p[0].Seq}, engine.ErrEpoch)
	refuse(engine.Position{Epoch: "0", Seq: p[0].Seq}, engine.ErrEpoch)
	refuse(engine.Position{Epoch: "not base 36", Seq: p[0].Seq}, engine.ErrEpoch)
	refuse(engine.Position{Epoch: p[0].Epoch, Seq: p[0].Seq, Tag: max(p[0].Tag+1, 1)}, engine.ErrEpoch)
	beyond := []error{engine.ErrEpoch}
	if k.caps().Shared {
		beyond = append(beyond, engine.ErrStale) // it may be ahead of this replica
	}
	refuse(engine.Position{Epoch: p[0].Epoch, Seq: math.MaxUint64}, beyond...)
	refuse(engine.Position{Epoch: p[0].Epoch, Seq: p[2].Seq + 1000}, beyond...)

	// A position of another channel may not be told from one of this; what it gives
	// must still be of this log.
	for _, after := range q {
		if entries, err := k.read(k.any(), n, after); err == nil {
			for _, entry := range entries {
				if strings.HasPrefix(string(entry.Data), "text") {
					k.Fatalf("an entry of another channel: %q", entry.Data)
				}
			}
		}
	}
	k.expect(n, genesis, "a", "b", "c")
}

func caseDelete(k *kit) {
	n := k.name()
	spec := engine.Spec{Size: 4}
	var old []engine.Position
	for life := range 4 {
		genesis := k.ensure(n, spec)
		k.expect(n, genesis)
		live := []engine.Position{genesis}
		for _, text := range texts(1 + 3*life) { // each life is longer than the one before
			live = append(live, k.append(n, text)...)
			for _, p := range old {
				k.reborn(n, p)
			}
		}
		old = append(old, live...)
		watcher, stop := k.watch(k.any(), n)
		k.must(k.any().Delete(k.ctx, n))
		watcher.heard(k, engine.ErrNoChannel)
		stop()
		_, err := k.any().Tail(k.ctx, n)
		k.want(err, engine.ErrNoChannel)
	}
	k.must(k.any().Delete(k.ctx, n))
	k.must(k.any().Delete(k.ctx, k.name()))
}

func caseEnsure(k *kit) {
	n, spec := k.name(), engine.Spec{Size: 7, MaxBytes: 700}
	var wg sync.WaitGroup
	infos := make([]engine.Info, 16)
	for i := range infos {
		wg.Go(func() {
			var err error
			if infos[i], err = k.handle(i).Ensure(k.ctx, n, spec); err != nil {
				k.Errorf("Ensure: %v", err)
			}
		})
	}
	wg.Wait()
	for _, info := range infos {
		if info != infos[0] || info.Spec != spec {
			k.Fatalf("Ensure of %+v at once gives %+v and %+v", spec, infos[0], info)
		}
	}
	p := k.append(n, "a")
	for _, other := range []engine.Spec{{Size: 8, MaxBytes: 700}, {Size: 7, MaxBytes: 701}, {Newest: true}, {Size: 7, MaxBytes: 700, IdleTTL: time.Hour}} {
		info, err := k.any().Ensure(k.ctx, n, other)
		k.want(err, engine.ErrSpecConflict)
		if info.Spec != spec || info.Tail != p[0] {
			k.Fatalf("ErrSpecConflict with %+v, the log has %+v and its tail at %v", info, spec, p[0])
		}
	}
	for _, bad := range []engine.Spec{{Size: -1}, {MaxBytes: -1}, {IdleTTL: -1}} {
		_, err := k.any().Ensure(k.ctx, k.name(), bad)
		k.want(err, engine.ErrBadSpec)
	}
	m := k.name()
	k.ensure(m, engine.Spec{})
	info, err := k.any().Ensure(k.ctx, m, engine.Spec{Size: engine.DefaultSize, MaxBytes: engine.DefaultMaxBytes})
	k.must(err)
	if info.Spec.Size != engine.DefaultSize || info.Spec.MaxBytes != engine.DefaultMaxBytes {
		k.Fatalf("the default spec is %+v", info.Spec)
	}
}

// call is one method of an engine that takes a context and a name, and its error.
type call struct {
	name string
	do   func(e engine.Engine, ctx context.Context, n engine.Name) error
}

var ensureCall = call{"Ensure", func(e engine.Engine, ctx context.Context, n engine.Name) error {
	_, err := e.Ensure(ctx, n, engine.Spec{})
	return err
}}

var deleteCall = call{"Delete", func(e engine.Engine, ctx context.Context, n engine.Name) error {
	return e.Delete(ctx, n)
}}

// logCalls are those that need the log.
var logCalls = []call{
	{"Append", func(e engine.Engine, ctx context.Context, n engine.Name) error {
		_, err := e.Append(ctx, n, engine.Item{Data: []byte("x")})
		return err
	}},
	{"Read", func(e engine.Engine, ctx context.Context, n engine.Name) error {
		_, err := e.Read(ctx, n, engine.Position{Epoch: "x"}, 1)
		return err
	}},
	{"Last", func(e engine.Engine, ctx context.Context, n engine.Name) error {
		_, err := e.Last(ctx, n, 1)
		return err
	}},
	{"Tail", func(e engine.Engine, ctx context.Context, n engine.Name) error {
		_, err := e.Tail(ctx, n)
		return err
	}},
	{"Watch", func(e engine.Engine, ctx context.Context, n engine.Name) error {
		stop, err := e.Watch(ctx, n, newRecorder())
		if stop != nil {
			stop()
		}
		return err
	}},
}

// tailsCall answers for a name without a log, and fails for a bad one.
var tailsCall = call{"Tails", func(e engine.Engine, ctx context.Context, n engine.Name) error {
	_, err := e.Tails(ctx, []engine.Name{n})
	return err
}}

var allCalls = append([]call{ensureCall, deleteCall, tailsCall}, logCalls...)

func caseNoChannel(k *kit) {
	n := k.name()
	for _, c := range logCalls {
		for _, e := range k.handles {
			if err := c.do(e, k.ctx, n); err == nil {
				k.Fatalf("%s of a name without a log gives no error", c.name)
			} else {
				k.want(err, engine.ErrNoChannel)
			}
		}
	}
}

func caseContext(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 5})
	p := k.append(n, "a")
	fresh := k.name()
	ended, cancel := context.WithCancel(k.ctx)
	cancel()
	late, cancelLate := context.WithDeadline(k.ctx, time.Now().Add(-time.Second))
	defer cancelLate()
	for _, e := range k.handles {
		for _, c := range allCalls {
			k.want(c.do(e, ended, n), context.Canceled)
			k.want(c.do(e, late, n), context.DeadlineExceeded)
		}
		k.want(ensureCall.do(e, ended, fresh), context.Canceled)
		k.want(e.Health(ended), context.Canceled)
	}
	k.tail(n, p[0])
	k.expect(n, genesis, "a")
	_, err := k.any().Tail(k.ctx, fresh)
	k.want(err, engine.ErrNoChannel)

	// The context of a Watch bounds the call, not the watching.
	ctx, cancel := context.WithCancel(k.ctx)
	watcher := newRecorder()
	stop, err := k.any().Watch(ctx, n, watcher)
	k.must(err)
	cancel()
	k.append(n, "b")
	watcher.from(k, k.expect(n, p[0], "b"))
	stop()
}

func caseLimits(k *kit) {
	limit := min(k.caps().MaxEntry, 4<<20) // more is not worth the transfer
	if limit < 1 {
		k.Fatalf("Caps say MaxEntry %d", k.caps().MaxEntry)
	}
	n, genesis := k.log(engine.Spec{Size: 5})
	full := strings.Repeat("x", limit)
	k.append(n, full)
	k.expect(n, genesis, full)
	_, err := k.any().Append(k.ctx, n, engine.Item{Data: make([]byte, k.caps().MaxEntry+1)})
	k.want(err, engine.ErrTooLarge)
	_, err = k.any().Append(k.ctx, n, engine.Item{ID: strings.Repeat("i", engine.MaxID+1)})
	k.want(err, engine.ErrTooLarge)
	_, err = k.any().Append(k.ctx, n, engine.Item{ID: strings.Repeat("i", engine.MaxID)})
	k.must(err)
	k.expect(n, genesis, full, "")
	for _, e := range k.handles {
		k.must(e.Health(k.ctx))
	}
}

func caseNames(k *kit) {
	channels := []string{
		"a.b", "a*b", "a>b", "a b", "a{b}", "a/b", "a\\b", "a:b", "a%b", "a\x00b", "a\nb", "a", "A", "ab",
		".", "..", "*", ">", "é", "e\u0301", "канал", "頻道", strings.Repeat("x", engine.MaxName), strings.Repeat("x", engine.MaxName-1),
	}
	genesis := make(map[string]engine.Position)
	for _, c := range channels {
		genesis[c] = k.ensure(engine.Name{Prefix: k.prefix, Channel: c}, engine.Spec{Size: 5})
	}
	for _, c := range channels {
		k.append(engine.Name{Prefix: k.prefix, Channel: c}, "in "+c)
	}
	for _, c := range channels {
		k.expect(engine.Name{Prefix: k.prefix, Channel: c}, genesis[c], "in "+c)
	}
	long := strings.Repeat("x", engine.MaxName+1)
	for _, bad := range []engine.Name{{}, {Prefix: k.prefix}, {Channel: long}, {Prefix: long, Channel: "c"}, {Channel: "\xff"}} {
		for _, c := range allCalls {
			k.want(c.do(k.any(), k.ctx, bad), engine.ErrBadName)
		}
	}
}

func caseIdle(k *kit) {
	const ttl, past = time.Second, 3 * time.Second / 2
	n, spec := k.name(), engine.Spec{Size: 5, IdleTTL: ttl}
	old := []engine.Position{k.ensure(n, spec)}
	if k.bubble { // where time is real, a slow machine would be late
		for range 5 {
			time.Sleep(ttl - time.Millisecond)
			old = append(old, k.append(n, "x")...)
			time.Sleep(ttl - time.Millisecond)
			k.ensure(n, spec)
		}
	}
	_, stop := k.watch(k.any(), n)
	time.Sleep(past)
	old = append(old, k.append(n, "watched")...)
	stop()
	time.Sleep(past)
	for _, e := range k.handles {
		for _, c := range logCalls {
			k.want(c.do(e, k.ctx, n), engine.ErrNoChannel)
		}
	}
	genesis := k.ensure(n, spec)
	k.expect(n, genesis)
	k.append(n, texts(5)...)
	for _, p := range old {
		k.reborn(n, p)
	}
	keeps, start := k.log(engine.Spec{Size: 5})
	time.Sleep(past)
	k.expect(keeps, start)
	// Here it is Ensure that finds it expired.
	if again := k.ensure(n, spec); again == genesis {
		k.Fatalf("the genesis of two lives is the same %v", genesis)
	}
}

func caseClose(k *kit) {
	n, _ := k.log(engine.Spec{Size: 5})
	for _, e := range k.handles {
		watcher, stop := k.watch(e, n)
		var wg sync.WaitGroup
		sending := make(chan bool)
		for range 4 {
			wg.Go(func() { k.flood(e, n, sending) })
		}
		for range 4 {
			if !<-sending {
				k.Error("closed before Close")
			}
		}
		k.must(e.Close(k.ctx))
		watcher.heard(k, engine.ErrClosed)
		offered := len(watcher.entries())
		wg.Wait()
		stop()
		for _, c := range allCalls {
			k.want(c.do(e, k.ctx, n), engine.ErrClosed)
		}
		k.want(e.Health(k.ctx), engine.ErrClosed)
		k.must(e.Close(k.ctx))
		if now := len(watcher.entries()); now != offered {
			k.Fatalf("%d offers after Close", now-offered)
		}
	}
}

// flood appends until it may not, and says when it is well under way.
func (k *kit) flood(e engine.Engine, n engine.Name, sending chan<- bool) {
	for i := 0; ; i++ {
		_, err := e.Append(k.ctx, n, engine.Item{Data: []byte("x")})
		if err != nil && !errors.Is(err, engine.ErrClosed) {
			k.Errorf("Append to an engine that is being closed: %v", err)
		}
		if i == 10 {
			sending <- err == nil
		}
		if err != nil && i >= 10 {
			return
		}
	}
}

func caseBuffers(k *kit) {
	n := k.name()
	buffer := []byte(n.Prefix + "|" + n.Channel)
	alias := func(b []byte) string { return unsafe.String(&b[0], len(b)) } // as Fiber's strings do
	i := len(n.Prefix)
	_, err := k.any().Ensure(k.ctx, engine.Name{Prefix: alias(buffer[:i]), Channel: alias(buffer[i+1:])}, engine.Spec{Size: 5})
	k.must(err)
	clear(buffer)
	genesis := k.ensure(n, engine.Spec{Size: 5})

	data, id := []byte("data"), []byte("id")
	watcher, stop := k.watch(k.any(), n)
	_, err = k.any().Append(k.ctx, n, engine.Item{ID: alias(id), Data: data})
	k.must(err)
	copy(data, "junk")
	copy(id, "di")
	entries := k.expect(n, genesis, "data")
	watcher.from(k, entries)
	stop()
	_, err = k.any().Append(k.ctx, n, engine.Item{ID: "id", Data: []byte("again")})
	k.must(err)
	k.expect(n, genesis, "data")
	_, err = k.any().Append(k.ctx, n, engine.Item{ID: "di", Data: []byte("new")})
	k.must(err)
	k.expect(n, genesis, "data", "new")
}
