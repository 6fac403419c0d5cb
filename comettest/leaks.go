package comettest

import (
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A mark is a profiler label that the goroutines of one app have: they inherit
// it from the one that serves it. So tests that run in parallel do not take each
// other's goroutines for left ones.
// The empty mark marks none.
type mark string

var lastMark atomic.Int64

func newMark() mark { return mark(fmt.Sprintf("app-%d", lastMark.Add(1))) }

func (m mark) labels() pprof.LabelSet {
	if m == "" {
		return pprof.Labels()
	}
	return pprof.Labels("comettest", string(m))
}

// ends are goroutines that go away by themselves, of the server that was shut
// down.
var ends = []string{"github.com/valyala/fasthttp.(*workerPool)"}

// leaksEnd is how long they may take to end.
const leaksEnd = 10 * time.Second

// check waits for the marked goroutines to end, and fails t if some do not.
func (m mark) check(t testing.TB) {
	t.Helper()
	if m == "" {
		return
	}
	var left []string
	for end := time.Now().Add(leaksEnd); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if left = m.left(); len(left) == 0 {
			return
		}
	}
	t.Errorf("comettest: the app was shut down and left goroutines; give Serve all its Sites, and let what it starts end with them:\n\n%s", strings.Join(left, "\n\n"))
}

// left returns the stacks of the marked goroutines that are there.
func (m mark) left() (stacks []string) {
	var all strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, fmt.Sprintf(`"comettest":%q`, string(m))) && !m.ending(stack) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

func (mark) ending(stack string) bool {
	return slices.ContainsFunc(ends, func(f string) bool { return strings.Contains(stack, f) })
}
