package enginetest

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
)

// Cluster is what one case works on: one or more handles on the same logs, as the
// nodes of an app have them. With two or more, a case asks one for what it gave
// another. The handles are closed at the end of the case, or in it.
type Cluster struct {
	Handles []engine.Engine
}

// Run runs every case as a subtest of t, each on handles of its own. open may use
// its t to fail, to skip and to clean up.
func Run(t *testing.T, open func(t *testing.T) Cluster) {
	for _, c := range slices.Concat(cases, clusterCases) {
		t.Run(c.name, func(t *testing.T) { c.test(t, open, false) })
	}
}

// RunInBubble is Run with each case in a bubble of testing/synctest, open
// included. It is for engines that reach nothing outside the process.
func RunInBubble(t *testing.T, open func(t *testing.T) Cluster) {
	for _, c := range slices.Concat(cases, clusterCases) {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.test(t, open, true) })
		})
	}
}

// testCase is one thing that the contract promises.
type testCase struct {
	name string
	why  string // what breaks for readers when an engine fails it
	run  func(k *kit)
}

var cases = []testCase{
	{"order", "readers join entries by Prev and compare Seq: the chain must be closed and ascending, or a hole looks like none", caseOrder},
	{"concurrent", "all nodes must see one total order, which keeps the order of every sender", caseConcurrent},
	{"batch", "a batch is stored in its order, and what an error leaves stored is exactly what was returned", caseBatch},
	{"idempotent", "a sender that repeats an item after an unknown outcome must not say it twice", caseIdempotent},
	{"repeated", "a sender that got no answer repeats the item, maybe through another node: it is there once, at one position", caseRepeated},
	{"paging", "a reader that pages while the log moves on gets every entry or ErrTrimmed, never a hole", casePaging},
	{"size", "Size is exact: what the app was promised to be resumable is, and no more, on every engine alike", caseSize},
	{"bytes", "MaxBytes is exact too, so that memory is bounded and the newest entry always fits", caseBytes},
	{"empty", "a page opened before the first message must hear it, and hear full once it was trimmed", caseEmpty},
	{"neighbours", "what happens in other channels must not move or trim a position of this one", caseNeighbours},
	{"foreign", "a position that is not of this log's history must be refused, never be replayed from or waited on", caseForeign},
	{"delete", "a name that lives again is a new life: an old position must not be read as one of it, however long it grows", caseDelete},
	{"newest", "late readers of a newest channel get the value at once, and a burst ends on the last", caseNewest},
	{"last", "history n is exactly the newest n, and what follows joins on without hole or duplicate", caseLast},
	{"prefix", "instances that share an engine must not see each other's channels", casePrefix},
	{"external", "another instance hears a channel that it does not own, also one that was made after it asked", caseExternal},
	{"ensure", "nodes that start together must agree on one log, and hear when they disagree on its spec", caseEnsure},
	{"tails", "the probe for what the feed lost asks for thousands of tails: each must be its own log's, and a missing log must not hide the others", caseTails},
	{"nochannel", "a missing log must be told from an empty one", caseNoChannel},
	{"watch", "an entry acknowledged after Watch returned must be offered, or be before the tail", caseWatch},
	{"race", "what is said the moment after a page was opened must be heard: once in ten thousand openings is every day", caseRace},
	{"stop", "after stop a sink may be gone", caseStop},
	{"slowsink", "a watcher that loses offers must find them in the log, and must not cost another watcher any", caseSlowSink},
	{"context", "a caller that gave up must not be waited for, and what was refused must not be done", caseContext},
	{"cancel", "tabs that close give up calls at any moment: that must cost no goroutine, and nothing that was acknowledged", caseCancel},
	{"limits", "what is too large or badly named is refused as a whole with the reason, never cut", caseLimits},
	{"names", "every valid name is a channel of its own", caseNames},
	{"idle", "an expired log is gone as a deleted one is: its name is free, its positions are of another life", caseIdle},
	{"close", "after Close nothing may run, and those who watch must know", caseClose},
	{"buffers", "Fiber's buffers are reused after the handler: nothing that Append or Ensure was given may be kept", caseBuffers},
	{"model", "a long random history must equal a plain list with the same rules", caseModel},
}

func (c testCase) test(t *testing.T, open func(t *testing.T) Cluster, bubble bool) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("why this case exists: %s", c.why)
		}
	})
	seed := seed(t)
	k := &kit{
		T:       t,
		ctx:     t.Context(),
		handles: open(t).Handles,
		bubble:  bubble,
		random:  rand.New(rand.NewPCG(seed, 0)),
		prefix:  "t" + strconv.FormatUint(rand.Uint64(), 36),
	}
	if len(k.handles) == 0 {
		t.Fatal("the Cluster has no handles, at least one is needed")
	}
	defer k.close()
	c.run(k)
}

func seed(t *testing.T) uint64 {
	text := os.Getenv("COMET_SEED")
	if text == "" {
		n := rand.Uint64()
		t.Logf("seed: COMET_SEED=%d", n)
		return n
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("COMET_SEED: %v", err)
	}
	return n
}

func (k *kit) close() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.ctx), time.Minute)
	defer cancel()
	for i, e := range k.handles {
		if err := e.Close(ctx); err != nil {
			k.Errorf("Close of handle %d: %v", i, err)
		}
	}
}
