package bench

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/scope"
)

// BenchmarkDelivery is what each event stream costs above its socket when one
// value is published: one Collect. The publish itself is not counted.
func BenchmarkDelivery(b *testing.B) {
	for _, channels := range []int{1, 32} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			const streams = 1000
			site := newSite(b)
			all := newChannels(b, site, channels)
			refs := make([]scope.Ref, len(all))
			for i, c := range all {
				refs[i] = c
			}
			tabs := make([]*tab, streams)
			for i := range tabs {
				tabs[i] = newTab(b, site, nil, unheard, refs...)
			}
			for _, c := range all { // so that every position has moved
				put(b, c.Feed())
			}
			for _, t := range tabs {
				t.collect(b, channels)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%streams == 0 {
					b.StopTimer()
					put(b, all[i/streams%channels].Feed())
					b.StartTimer()
				}
				tabs[i%streams].collect(b, 1)
			}
		})
	}
}

// BenchmarkPrivate is a private message from Put to the batch.
func BenchmarkPrivate(b *testing.B) {
	site := newSite(b)
	p, err := site.NewProcess("s")
	if err != nil {
		b.Fatal(err)
	}
	c, err := scope.Register(p, scope.Spec{Name: "unread"})
	if err != nil {
		b.Fatal(err)
	}
	t, feed := newTab(b, site, p, unheard, c), c.Feed()
	b.ReportAllocs()
	for b.Loop() {
		put(b, feed)
		t.collect(b, 1)
	}
}

// BenchmarkCursor is the text of a cursor whose positions have all moved.
func BenchmarkCursor(b *testing.B) {
	for _, positions := range []int{1, 32} {
		b.Run(fmt.Sprintf("positions=%d", positions), func(b *testing.B) {
			var stack [cursor.MaxLength]byte
			var a cursor.Appender
			at := engine.Position{Epoch: strings.Repeat("e", 8), Seq: 123456}
			write := func() {
				a = cursor.Append(stack[:0], cursor.Tag{'k', '3', 'v'})
				for i := range positions {
					a = a.Index(i, at, true)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				write()
			}
			b.ReportMetric(float64(len(a.Buf)), "B/cursor")
		})
	}
}
