package bench

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
)

// BenchmarkHeartbeat waits for one heartbeat of every event stream and collects
// it. Allocations are counted over the whole process, timers included; the time
// that matters is reported apart, for most of it is waiting.
func BenchmarkHeartbeat(b *testing.B) {
	const streams = 10_000
	site := newSite(b, scope.SiteConfig{Heartbeat: time.Second})
	c := newChannels(b, site, 1)[0]
	var woken atomic.Int64
	tabs := make([]*tab, streams)
	for i := range tabs {
		tabs[i] = newTab(b, site, nil, func() { woken.Add(1) }, c)
	}
	var spent time.Duration
	var allocated uint64
	beats := 0
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		due := woken.Load() + streams
		for woken.Load() < due {
			time.Sleep(10 * time.Millisecond)
		}
		began := time.Now()
		for _, t := range tabs {
			t.batch.Reset()
			if _, err := t.Collect(&t.batch, 64<<10); err != nil {
				b.Fatal(err)
			}
			beats += t.batch.Events()
		}
		spent += time.Since(began)
		runtime.ReadMemStats(&after)
		allocated += after.Mallocs - before.Mallocs
	}
	if beats == 0 {
		b.Fatal("no heartbeat was collected")
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(beats), "ns/beat")
	b.ReportMetric(float64(allocated)/float64(beats), "allocs/beat")
}

// BenchmarkPull is one pull: the command, the read on the process's goroutine, the
// event.
func BenchmarkPull(b *testing.B) {
	site := newSite(b)
	p, err := site.NewProcess("s")
	if err != nil {
		b.Fatal(err)
	}
	c, err := scope.Register(p, scope.Spec{
		Kind: scope.Pull, Name: "unread", Pull: func(context.Context) ([]byte, error) { return payload, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	wakes := make(chan struct{}, 1)
	t := newTab(b, site, p, func() {
		select {
		case wakes <- struct{}{}:
		default:
		}
	}, c)
	request := scope.Request{Query: t.query, Reader: scope.Reader{Session: "s"}}
	form := map[string][]string{"pull": {"unread"}}
	if t.batch.Events() == 1 { // attaching reads one value, with the greeting or after it
		t.await(b, wakes)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := site.Command(background, request, form); err != nil {
			b.Fatal(err)
		}
		t.await(b, wakes)
	}
}

// await collects until there is an event.
func (t *tab) await(b *testing.B, wakes chan struct{}) {
	for {
		t.batch.Reset()
		if _, err := t.Collect(&t.batch, 64<<10); err != nil {
			b.Fatal(err)
		}
		if t.batch.Events() > 0 {
			return
		}
		<-wakes
	}
}

// BenchmarkOpen is an event stream's whole life above its socket: opened, greeted,
// gone.
func BenchmarkOpen(b *testing.B) {
	for _, channels := range []int{1, 32} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			site := newSite(b)
			refs := make([]scope.Ref, channels)
			for i, c := range newChannels(b, site, channels) {
				refs[i] = c
			}
			link, err := site.Link(background, nil, len("/comet"), refs...)
			if err != nil {
				b.Fatal(err)
			}
			request := scope.Request{Query: link.Query, Reader: scope.Reader{Session: "s"}}
			var t tab
			b.ReportAllocs()
			for b.Loop() {
				if t.EventStream, err = site.OpenStream(background, request); err != nil {
					b.Fatal(err)
				}
				t.Start(unheard)
				t.collect(b, 1)
				t.Gone(nil)
			}
		})
	}
}
