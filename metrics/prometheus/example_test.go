package prometheus_test

import (
	"context"
	"fmt"
	"runtime"

	client "github.com/prometheus/client_golang/prometheus"

	cometprometheus "github.com/ocsigo/comet/metrics/prometheus"
	"github.com/ocsigo/comet/scope"
)

// The site's figures, and those of one channel by its name.
func ExampleNewCollector() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())

	registry := client.NewRegistry()
	registry.MustRegister(cometprometheus.NewCollector(site, cometprometheus.Config{Channels: []string{"chat"}}))

	chat, err := scope.Register(site, scope.Spec{Name: "chat"})
	if err != nil {
		panic(err)
	}
	defer runtime.KeepAlive(chat)
	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		if f.GetName() == "comet_channel_readers" {
			fmt.Println(f.GetName(), f.GetMetric()[0].GetLabel()[0].GetValue(), f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: comet_channel_readers chat 0
}
