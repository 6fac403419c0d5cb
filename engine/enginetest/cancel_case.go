package enginetest

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
)

// caseCancel gives calls up at any moment: each returns soon, with an error that
// admits it, what was acknowledged is there, and nothing is left running.
func caseCancel(k *kit) {
	rounds := 700
	if testing.Short() {
		rounds = 140
	}
	n, genesis := k.log(engine.Spec{})
	calls := append([]call{ensureCall, tailsCall}, logCalls...)
	for _, e := range k.handles { // whatever an engine keeps running for these it has now
		for _, c := range calls {
			k.givenUp(c, c.do(e, k.ctx, n))
		}
	}
	appended, acknowledged := len(k.handles), len(k.handles)
	before := runtime.NumGoroutine()
	for i := range rounds {
		c, e := calls[i%len(calls)], k.any()
		ctx, cancel := context.WithCancel(k.ctx)
		timer := time.AfterFunc(time.Duration(k.random.IntN(500))*time.Microsecond, cancel)
		begin := time.Now()
		err := c.do(e, ctx, n)
		took := time.Since(begin)
		timer.Stop()
		cancel()
		if took > patience {
			k.Fatalf("%s returned %v after it was called, its context had ended within a millisecond", c.name, took)
		}
		k.givenUp(c, err)
		if c.name == "Append" {
			appended++
			if err == nil {
				acknowledged++
			}
		}
	}
	entries, err := k.read(k.any(), n, genesis)
	k.must(err)
	k.chain(genesis, entries)
	if len(entries) < acknowledged || len(entries) > appended {
		k.Fatalf("%d entries after %d appends, of which %d were acknowledged", len(entries), appended, acknowledged)
	}
	for _, e := range k.handles {
		k.must(e.Health(k.ctx))
	}
	k.restsAt(before)
}

// givenUp demands that a call which may have been given up says nothing else than that
// or what it would have said.
func (k *kit) givenUp(c call, err error) {
	k.Helper()
	switch {
	case err == nil, errors.Is(err, context.Canceled), engine.Retryable(err):
	case c.name == "Append" && errors.Is(err, engine.ErrUnknown):
	case c.name == "Read" && errors.Is(err, engine.ErrEpoch): // logCalls reads after no position
	default:
		k.Fatalf("%s, given up: %v", c.name, err)
	}
}

// restsAt waits until no more goroutines run than did, or a few: a client may open a
// connection more.
func (k *kit) restsAt(before int) {
	k.Helper()
	const few = 10
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before+few; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 16<<10)
			stacks = stacks[:runtime.Stack(stacks, true)]
			k.Fatalf("%d goroutines ran before the calls that were given up, %d do %v after:\n%s", before, runtime.NumGoroutine(), patience, stacks)
		}
	}
}
