package bench

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

var (
	background = context.Background()
	payload    = []byte(`{"user":"ada","text":"sixty-four bytes of what people say, here"}`)
)

// newSite is a site that takes any number of event streams of the one session that
// there is here.
func newSite(b *testing.B, config ...scope.SiteConfig) *scope.Site {
	c := scope.SiteConfig{}
	if len(config) > 0 {
		c = config[0]
	}
	c.MaxSessionStreams = 100_000
	site := scope.NewSite(c)
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(background, 5*time.Second)
		defer cancel()
		if err := site.Shutdown(ctx); err != nil {
			b.Error(err)
		}
	})
	return site
}

// newChannels are held until the benchmark is over: one that nobody holds is
// collected.
func newChannels(b *testing.B, site *scope.Site, n int) []*scope.Handle {
	channels := make([]*scope.Handle, n)
	b.Cleanup(func() { runtime.KeepAlive(channels) })
	for i := range channels {
		var err error
		channels[i], err = scope.Register(site, scope.Spec{Name: fmt.Sprintf("c%d", i), Event: "load"})
		if err != nil {
			b.Fatal(err)
		}
	}
	return channels
}

// A tab is an event stream and what drives it, without a socket.
type tab struct {
	*scope.EventStream
	batch sse.Batch
	query string
}

// unheard is for a benchmark that collects when it knows that there is something.
func unheard() {}

// newTab opens an event stream and takes its greeting.
func newTab(b *testing.B, site *scope.Site, p *scope.ClientProcess, wake func(), refs ...scope.Ref) *tab {
	link, err := site.Link(background, p, len("/comet"), refs...)
	if err != nil {
		b.Fatal(err)
	}
	t := &tab{query: link.Query}
	t.EventStream, err = site.OpenStream(background, scope.Request{Query: link.Query, Reader: scope.Reader{Session: "s"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { t.Gone(nil) })
	t.Start(wake)
	if _, err := t.Collect(&t.batch, 64<<10); err != nil || t.batch.Events() == 0 {
		b.Fatalf("no greeting: %v: %s", err, t.batch.Bytes())
	}
	return t
}

// collect takes what is pending, which has to be so many events.
func (t *tab) collect(b *testing.B, events int) {
	t.batch.Reset()
	if _, err := t.Collect(&t.batch, 64<<10); err != nil || t.batch.Events() != events {
		b.Fatalf("%d events were collected, not %d: %v: %s", t.batch.Events(), events, err, t.batch.Bytes())
	}
}

func put(b *testing.B, f *scope.Feed) {
	if err := f.Put(background, payload); err != nil {
		b.Fatal(err)
	}
}
