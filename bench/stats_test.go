package bench

import (
	"testing"

	"github.com/ocsigo/comet/scope"
)

// BenchmarkStats is one reading of a Site's figures, as a scrape does it, for each tab
// that is there: an event stream that has heard something since the last, and its
// client process.
func BenchmarkStats(b *testing.B) {
	const tabs = 10_000
	site := newSite(b, scope.SiteConfig{MaxProcesses: tabs})
	all := newChannels(b, site, 1)
	open := make([]*tab, tabs)
	for i := range open {
		p, err := site.NewProcess("s")
		if err != nil {
			b.Fatal(err)
		}
		open[i] = newTab(b, site, p, unheard, all[0])
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		put(b, all[0].Feed())
		for _, t := range open {
			t.collect(b, 1)
		}
		b.StartTimer()
		if site.Stats().Streams != tabs {
			b.Fatal("event streams are missing")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tabs, "ns/tab")
}
