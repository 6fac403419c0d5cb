package enginetest

import (
	"slices"
	"testing"

	"github.com/ocsigo/comet/engine"
)

// caseRace appends the moment that Watch has returned, by another node, again and
// again: an interest that takes effect a little later is seen seldom.
func caseRace(k *kit) {
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	n, _ := k.log(engine.Spec{Size: 10})
	for i := range rounds {
		watcher, sender := k.handle(i), k.handle(i/len(k.handles)+i+1)
		sink, stop := k.watch(watcher, n)
		p, err := retry(k, func() ([]engine.Position, error) {
			return sender.Append(k.ctx, n, engine.Item{Data: []byte("x")})
		})
		k.must(err)
		offered := slices.ContainsFunc(sink.entries(), func(e engine.Entry) bool { return e.Position == p[0] })
		if !offered && k.caps().ReliableFeed {
			k.Fatalf("round %d: Caps say ReliableFeed, and %v was not offered when its Append had returned", i, p[0])
		}
		if !offered {
			tail, err := retry(k, func() (engine.Position, error) { return watcher.Tail(k.ctx, n) })
			k.must(err)
			if tail.Epoch != p[0].Epoch || tail.Seq < p[0].Seq {
				k.Fatalf("round %d: %v was acknowledged after Watch had returned; it was not offered, and the tail is %v", i, p[0], tail)
			}
		}
		stop()
	}
}
