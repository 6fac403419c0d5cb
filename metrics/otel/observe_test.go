package otel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	cometotel "github.com/ocsigo/comet/metrics/otel"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

func newSite(t *testing.T) *scope.Site {
	site := scope.NewSite()
	t.Cleanup(func() {
		if err := site.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return site
}

// read returns every point that a reading gives, by name and attributes.
func read(t *testing.T, reader sdk.Reader) map[string]string {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	points := map[string]string{}
	key := func(name string, set attribute.Set) string {
		return name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}"
	}
	for _, s := range data.ScopeMetrics {
		for _, m := range s.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					points[key(m.Name, p.Attributes)] = fmt.Sprint(p.Value)
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					points[key(m.Name, p.Attributes)] = fmt.Sprint(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					points[key(m.Name, p.Attributes)] = fmt.Sprint(p.Value)
				}
			default:
				t.Errorf("%s has data of %T", m.Name, d)
			}
			if m.Description == "" || m.Unit == "" {
				t.Errorf("%s has no description or no unit", m.Name)
			}
		}
	}
	return points
}

// TestObserve: what a Site does is what a reader reads, and a channel has a name only
// where the app asked for it.
func TestObserve(t *testing.T) {
	site, reader := newSite(t), sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	registration, err := cometotel.Observe(site, provider.Meter("comet"), cometotel.Config{
		Channels: []string{"chat", "not there"}, Attributes: []attribute.KeyValue{attribute.String("site", "main")},
	})
	if err != nil {
		t.Fatal(err)
	}
	chat, err := scope.Register(site, scope.Spec{Name: "chat", Size: 2})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := scope.Register(site, scope.Spec{Name: "secret", Kind: scope.Newest})
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.KeepAlive(secret)
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
	points := read(t, reader)
	for name, want := range map[string]string{
		"comet.streams{site=main}":                                         "1",
		"comet.values.waiting{comet.channel.kind=site,site=main}":          "5",
		"comet.values.waiting.most{comet.channel.kind=site,site=main}":     "5",
		"comet.channel.values.waiting{comet.channel.name=chat,site=main}":  "5",
		"comet.values.published{comet.channel.kind=site,site=main}":        "5",
		"comet.channels{comet.channel.kind=newest,site=main}":              "1",
		"comet.readers{comet.channel.kind=site,site=main}":                 "1",
		"comet.streams.ended{comet.cause=write_timeout,site=main}":         "0",
		"comet.full{comet.reason=trimmed,site=main}":                       "0",
		"comet.writes.within{comet.write.bound=0.001,site=main}":           "0",
		"comet.write.wait{site=main}":                                      "0",
		"comet.publishing.size{site=main}":                                 "0",
		"comet.values.delivered{comet.channel.kind=unlimited,site=main}":   "0",
		"comet.channel.values.arrived{comet.channel.name=chat,site=main}":  "5",
		"comet.channel.values.replayed{comet.channel.name=chat,site=main}": "0",
	} {
		if points[name] != want {
			t.Errorf("%s is %q, want %s", name, points[name], want)
		}
	}
	var b sse.Batch
	if _, err := stream.Collect(&b, 1<<16); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	stream.Gone(nil)
	points = read(t, reader)
	for name, want := range map[string]string{
		"comet.streams{site=main}":                                       "0",
		"comet.values.delivered{comet.channel.kind=site,site=main}":      "2",
		"comet.values.missed{comet.channel.kind=site,site=main}":         "3",
		"comet.values.passed{comet.channel.kind=site,site=main}":         "5",
		"comet.channel.values.missed{comet.channel.name=chat,site=main}": "3",
		"comet.full{comet.reason=trimmed,site=main}":                     "1",
		"comet.streams.ended{comet.cause=end,site=main}":                 "1",
		"comet.writes{site=main}":                                        "1",
	} {
		if points[name] != want {
			t.Errorf("after the delivery %s is %q, want %s", name, points[name], want)
		}
	}
	for name := range points {
		if strings.Contains(name, "secret") || strings.Contains(name, "not there") {
			t.Errorf("%s names a channel that is not shown", name)
		}
	}
	if err := registration.Unregister(); err != nil {
		t.Fatal(err)
	}
	if points := read(t, reader); len(points) > 0 {
		t.Errorf("after Unregister there are %v", points)
	}
}

func TestObserveRefuses(t *testing.T) {
	meter := sdk.NewMeterProvider().Meter("comet")
	if _, err := cometotel.Observe(nil, meter); err == nil || !strings.Contains(err.Error(), "comet.Config.Site") {
		t.Errorf("without a site: %v", err)
	}
	if _, err := cometotel.Observe(newSite(t), meter, cometotel.Config{}, cometotel.Config{}); err == nil {
		t.Error("two Configs were taken")
	}
}
