package enginetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
)

// caseRepeated repeats items as a sender does that got no answer: by another node, and
// after contexts that ended anywhere on the way.
func caseRepeated(k *kit) {
	n, genesis := k.log(engine.Spec{Size: 100})
	var want []string
	for i, first := range k.handles {
		item := engine.Item{ID: fmt.Sprint("node ", i), Data: fmt.Append(nil, "node ", i)}
		want = append(want, string(item.Data))
		p, err := first.Append(k.ctx, n, item)
		k.must(err)
		for j, other := range k.handles {
			again, err := other.Append(k.ctx, n, item)
			k.must(err)
			if len(again) != 1 || again[0] != p[0] {
				k.Fatalf("handle %d stored an item at %v, and for handle %d the same ID is at %v", i, p, j, again)
			}
		}
	}
	unsure, rounds := 0, 200
	if testing.Short() {
		rounds = 50
	}
	for i := range min(rounds, 100-len(k.handles)) {
		item := engine.Item{ID: fmt.Sprint("unsure ", i), Data: fmt.Append(nil, "unsure ", i)}
		want = append(want, string(item.Data))
		unsure += k.insist(n, item)
	}
	k.Logf("%d appends had an unknown outcome", unsure)
	k.expect(n, genesis, want...)
}

// insist appends an item until an engine says that it has it, first with hardly any
// time, and returns how often nobody knew.
func (k *kit) insist(n engine.Name, item engine.Item) (unsure int) {
	k.Helper()
	for patient, try := time.Now().Add(patience), time.Duration(1); ; try *= 2 {
		ctx, cancel := context.WithTimeout(k.ctx, time.Duration(k.random.Int64N(int64(try*100*time.Microsecond))+1))
		p, err := k.any().Append(ctx, n, item)
		cancel()
		switch {
		case err == nil && len(p) == 1:
			return unsure
		case err == nil:
			k.Fatalf("Append of one item returned %d positions", len(p))
		case errors.Is(err, engine.ErrUnknown):
			unsure++
		case !errors.Is(err, context.DeadlineExceeded) && !engine.Retryable(err):
			k.Fatalf("Append with little time: %v", err)
		}
		if time.Now().After(patient) {
			k.Fatalf("an item is not stored after %v: %v", patience, err)
		}
	}
}
