package scope_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// heapOf returns how many bytes of heap each of n calls of make leaves.
func heapOf(n int, make func(i int)) int {
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := measure()
	for i := range n {
		make(i)
	}
	return int(measure()-before) / n
}

// TestIdleMemory: what an idle tab costs on the heap, part by part. The bounds
// leave room for the runtime's size classes, no more.
func TestIdleMemory(t *testing.T) {
	const tabs = 10_000
	k := newKit(t)
	chat := k.channel(scope.Spec{Name: "chat"})
	link, err := k.site.Link(context.Background(), nil, 0, chat)
	if err != nil {
		t.Fatal(err)
	}
	streams := make([]*scope.EventStream, tabs)
	processes := make([]*scope.ClientProcess, tabs)
	handles := make([]*scope.Handle, tabs)
	wake := func() {}
	collector := &tab{t: t}
	for _, part := range []struct {
		what string
		most int
		make func(i int)
	}{
		{"an event stream of a site channel", 700, func(i int) {
			s, err := k.site.OpenStream(context.Background(), scope.Request{Query: link.Query})
			if err != nil {
				t.Fatal(err)
			}
			s.Start(wake)
			collector.stream = s
			collector.bytes()
			streams[i] = s
		}},
		{"a client process and its session", 800, func(i int) { processes[i] = k.process(fmt.Sprint(i)) }},
		{"a private channel", 900, func(i int) { handles[i] = k.private(processes[i], scope.Spec{Name: "a"}) }},
	} {
		got := heapOf(tabs, part.make)
		t.Logf("%s: %d bytes", part.what, got)
		if got > part.most {
			t.Errorf("%s takes %d bytes, want at most %d", part.what, got, part.most)
		}
	}
	for _, s := range streams {
		s.Gone(nil)
	}
	runtime.KeepAlive(handles)
}
