package bench

import (
	"context"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// BenchmarkAdmit is what a request for an event stream costs beside the rest of it, where
// there is a rate: let in, and in a herd told when to come.
func BenchmarkAdmit(b *testing.B) {
	for _, c := range []struct {
		name string
		rate int
	}{{"no rate", 0}, {"let in", 1 << 30}, {"turned away", 1}} {
		b.Run(c.name, func(b *testing.B) {
			site := newSite(b, scope.SiteConfig{MaxStreamRate: c.rate})
			p, err := site.NewProcess("s")
			if err != nil {
				b.Fatal(err)
			}
			link, err := site.Link(context.Background(), p, 0, newChannels(b, site, 1)[0])
			if err != nil {
				b.Fatal(err)
			}
			site.Admit(link.Query, "") // the one token
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					site.Admit(link.Query, "")
				}
			})
		})
	}
}
