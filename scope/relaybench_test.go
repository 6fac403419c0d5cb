package scope_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// BenchmarkRelay is what a value of a process costs at home and by a relay, one at a
// time and a thousand at a time, where the engine between the nodes costs nothing.
func BenchmarkRelay(b *testing.B) {
	shared := memory.New(memory.Config{Nodes: true})
	home, other := scope.NewSite(scope.SiteConfig{Engine: shared}), scope.NewSite(scope.SiteConfig{Engine: shared})
	b.Cleanup(func() {
		_, _ = other.Shutdown(context.Background()), home.Shutdown(context.Background())
	})
	for where, site := range map[string]*scope.Site{"home": home, "relay": other} {
		for _, burst := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/burst=%d", where, burst), func(b *testing.B) { benchmarkRelay(b, home, site, burst) })
		}
	}
}

func benchmarkRelay(b *testing.B, home, site *scope.Site, burst int) {
	p, err := home.NewProcess("s")
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	h, err := scope.Register(p, scope.Spec{Name: "a"})
	if err != nil {
		b.Fatal(err)
	}
	link, err := home.Link(context.Background(), p, 0, h)
	if err != nil {
		b.Fatal(err)
	}
	s, err := site.OpenStream(context.Background(), scope.Request{Query: link.Query, Reader: scope.Reader{Session: "s"}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Gone(nil)
	wakes := make(chan struct{}, 1)
	s.Start(func() {
		select {
		case wakes <- struct{}{}:
		default:
		}
	})
	var batch sse.Batch
	collect(s, &batch)
	feed, data := h.Feed(), make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		for range burst {
			if err := feed.Put(context.Background(), data); err != nil {
				b.Fatal(err)
			}
		}
		for heard := 0; heard < burst; {
			<-wakes
			heard += collect(s, &batch)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/value")
}
