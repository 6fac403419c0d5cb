package sitetest

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/scope"
)

// patience bounds how long what was said may take to be heard.
const patience = 2 * time.Minute

// Run runs every case as a subtest of t, each on handles of its own: one or more, all
// on the same logs. open may use its t to fail, to skip and to clean up. The handles
// are closed at the end of the case.
func Run(t *testing.T, open func(t *testing.T) []engine.Engine) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, open, false) })
	}
}

// RunInBubble is Run with each case in a bubble of testing/synctest, open included. It
// is for engines that reach nothing outside the process. There also the last of all
// offers may be lost, which a Site finds by asking for the tails now and then.
func RunInBubble(t *testing.T, open func(t *testing.T) []engine.Engine) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.test(t, open, true) })
		})
	}
}

// A testCase is one thing that readers are promised.
type testCase struct {
	name string
	why  string // what it means for them when it fails
	run  func(k *kit)
}

var cases = []testCase{
	{"complete", "a tab that comes back anywhere hears everything once and in the order of the log, or is told full; here the log keeps it all, so it hears it all", caseComplete},
	{"trimmed", "a tab that was away for too long hears full and then what is kept; a hole without a word is what Comet exists to prevent", caseTrimmed},
	{"newest", "after a burst every tab shows the last value, whatever was lost on the way", caseNewest},
	{"following", "a program that follows another instance gets every value once and in order", caseFollowing},
}

func (c testCase) test(t *testing.T, open func(t *testing.T) []engine.Engine, bubble bool) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("why this case exists: %s", c.why)
		}
	})
	k := &kit{T: t, bubble: bubble, seed: seed(t), prefix: "t" + strconv.FormatUint(rand.Uint64(), 36)}
	k.handles = open(t)
	if len(k.handles) == 0 {
		t.Fatal("open gave no handles, at least one is needed")
	}
	for i, e := range k.handles {
		k.sites = append(k.sites, scope.NewSite(scope.SiteConfig{
			Engine: enginetest.Chaos(e, int64(k.seed)+int64(i), enginetest.DefaultFaults), Prefix: k.prefix,
		}))
	}
	defer k.close()
	c.run(k)
}

// kit is what a case works with.
type kit struct {
	*testing.T
	bubble  bool
	seed    uint64
	prefix  string
	handles []engine.Engine
	sites   []*scope.Site // one on each handle, its feed made bad
	names   []string
	held    []*scope.Handle // or the channels would be collected
}

func (k *kit) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(k.seed, stream)) }

// channel makes a channel on every node.
func (k *kit) channel(spec scope.Spec) []*scope.Handle {
	k.Helper()
	k.names = append(k.names, spec.Name)
	handles := make([]*scope.Handle, len(k.sites))
	for i, site := range k.sites {
		var err error
		if handles[i], err = scope.Register(site, spec); err != nil {
			k.Fatalf("node %d: %v", i, err)
		}
	}
	k.held = append(k.held, handles...)
	return handles
}

// log returns what the engine keeps of a channel.
func (k *kit) log(name string) (values []string) {
	k.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	batch, err := k.handles[0].Last(ctx, engine.Name{Prefix: k.prefix, Channel: name}, 1<<20)
	if err != nil {
		k.Fatal(err)
	}
	for _, e := range batch.Entries {
		values = append(values, string(e.Data))
	}
	return values
}

func (k *kit) close() {
	defer runtime.KeepAlive(k.held)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, site := range k.sites {
		if err := site.Shutdown(ctx); err != nil {
			k.Errorf("Shutdown of node %d: %v", i, err)
		}
	}
	for _, name := range k.names {
		if err := k.handles[0].Delete(ctx, engine.Name{Prefix: k.prefix, Channel: name}); err != nil {
			k.Errorf("Delete: %v", err)
		}
	}
	for i, e := range k.handles {
		if err := e.Close(ctx); err != nil {
			k.Errorf("Close of handle %d: %v", i, err)
		}
	}
}

func seed(t *testing.T) uint64 {
	text := os.Getenv("COMET_SEED")
	if text == "" {
		n := uint64(rand.Uint32())
		t.Logf("seed: COMET_SEED=%d", n)
		return n
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("COMET_SEED: %v", err)
	}
	return n
}
