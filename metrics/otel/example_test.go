package otel_test

import (
	"context"
	"fmt"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	cometotel "github.com/ocsigo/comet/metrics/otel"
	"github.com/ocsigo/comet/scope"
)

// Observed by whatever reads the meter's provider: here by hand, else an exporter.
func ExampleObserve() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())

	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	registration, err := cometotel.Observe(site, provider.Meter("comet"))
	if err != nil {
		panic(err)
	}
	defer registration.Unregister()

	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		panic(err)
	}
	fmt.Println(data.ScopeMetrics[0].Metrics[0].Name)
	// Output: comet.streams
}
