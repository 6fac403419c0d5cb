package prometheus_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	cometprometheus "github.com/ocsigo/comet/metrics/prometheus"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

func newSite(t *testing.T) *scope.Site {
	t.Helper()
	site := scope.NewSite()
	t.Cleanup(func() {
		if err := site.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return site
}

func register(t *testing.T, site *scope.Site, spec scope.Spec) *scope.Handle {
	t.Helper()
	h, err := scope.Register(site, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.KeepAlive(h) })
	return h
}

// TestLint: promlint, which knows Prometheus' conventions, has nothing to say.
func TestLint(t *testing.T) {
	site := newSite(t)
	register(t, site, scope.Spec{Name: "chat"})
	problems, err := testutil.CollectAndLint(cometprometheus.NewCollector(site, cometprometheus.Config{Channels: []string{"chat"}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestCollector: what a Site does is what a scrape says, and a channel has a name only
// where the app asked for it.
func TestCollector(t *testing.T) {
	site := newSite(t)
	registry := client.NewPedanticRegistry()
	registry.MustRegister(cometprometheus.NewCollector(site, cometprometheus.Config{
		Channels: []string{"chat", "not there"}, Labels: client.Labels{"site": "main"},
	}))
	chat := register(t, site, scope.Spec{Name: "chat", Size: 2})
	register(t, site, scope.Spec{Name: "secret", Kind: scope.Newest})
	link, err := site.Link(t.Context(), nil, len("/comet"), chat)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := site.OpenStream(t.Context(), scope.Request{Query: link.Query})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // 3 are missed
		if err := chat.Feed().Put(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	want := func(text string, names ...string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(text), names...); err != nil {
			t.Error(err)
		}
	}
	want(`
# HELP comet_channel_values_waiting Values that readers have before them, in all.
# TYPE comet_channel_values_waiting gauge
comet_channel_values_waiting{channel="chat",site="main"} 5
# HELP comet_channels Channels there are.
# TYPE comet_channels gauge
comet_channels{kind="newest",site="main"} 1
comet_channels{kind="private",site="main"} 0
comet_channels{kind="site",site="main"} 1
comet_channels{kind="unlimited",site="main"} 0
# HELP comet_streams Event streams that are open.
# TYPE comet_streams gauge
comet_streams{site="main"} 1
`, "comet_channel_values_waiting", "comet_channels", "comet_streams")
	var b sse.Batch
	if _, err := stream.Collect(&b, 1<<16); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	stream.Gone(nil)
	want(`
# HELP comet_channel_values_delivered_total Values given to connections.
# TYPE comet_channel_values_delivered_total counter
comet_channel_values_delivered_total{channel="chat",site="main"} 2
# HELP comet_channel_values_missed_total Values in whose place readers were told full.
# TYPE comet_channel_values_missed_total counter
comet_channel_values_missed_total{channel="chat",site="main"} 3
# HELP comet_full_total Times that a reader was told that values are not to be had any more, by reason.
# TYPE comet_full_total counter
comet_full_total{reason="cursor",site="main"} 0
comet_full_total{reason="future",site="main"} 0
comet_full_total{reason="other",site="main"} 0
comet_full_total{reason="overflow",site="main"} 0
comet_full_total{reason="reset",site="main"} 0
comet_full_total{reason="trimmed",site="main"} 1
# HELP comet_write_wait_seconds How long a peer kept a write waiting; what it took at once counts as 0.
# TYPE comet_write_wait_seconds histogram
comet_write_wait_seconds_bucket{site="main",le="0.001"} 1
comet_write_wait_seconds_bucket{site="main",le="0.01"} 1
comet_write_wait_seconds_bucket{site="main",le="0.1"} 1
comet_write_wait_seconds_bucket{site="main",le="1"} 1
comet_write_wait_seconds_bucket{site="main",le="10"} 1
comet_write_wait_seconds_bucket{site="main",le="+Inf"} 1
comet_write_wait_seconds_sum{site="main"} 0
comet_write_wait_seconds_count{site="main"} 1
`, "comet_channel_values_delivered_total", "comet_channel_values_missed_total", "comet_full_total", "comet_write_wait_seconds")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if s := f.String(); strings.Contains(s, "secret") || strings.Contains(s, "not there") {
			t.Errorf("a channel is named that is not shown: %s", s)
		}
	}
}

// TestTwoSites: in one registry they need labels that tell them apart.
func TestTwoSites(t *testing.T) {
	registry := client.NewRegistry()
	for _, name := range []string{"a", "b"} {
		collector := cometprometheus.NewCollector(newSite(t), cometprometheus.Config{Labels: client.Labels{"site": name}})
		if err := registry.Register(collector); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := testutil.GatherAndCount(registry, "comet_streams"); n != 2 || err != nil {
		t.Errorf("%d sites: %v", n, err)
	}
}

func TestNewCollectorRefuses(t *testing.T) {
	for name, make := range map[string]func(){
		"no site":     func() { cometprometheus.NewCollector(nil) },
		"two configs": func() { cometprometheus.NewCollector(newSite(t), cometprometheus.Config{}, cometprometheus.Config{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			make()
		}()
	}
}
