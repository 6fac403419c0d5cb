// Package telemetry proves how Comet lives with otelfiber and fiberprometheus. They
// bring OpenTelemetry, Prometheus and a newer fasthttp, so these tests are a module
// of their own.
package telemetry

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ansrivas/fiberprometheus/v2"
	"github.com/gofiber/contrib/otelfiber/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware/stock/around"
)

var rows = []around.Neighbour{
	{Name: "otelfiber 2.1.1", Before: around.Works, After: around.Works, Handler: func() fiber.Handler { return otelfiber.Middleware() },
		Note: "A span of an event stream is that of its beginning. URLs carry tokens: see [security](security.md)"},
	{Name: "fiberprometheus 2.16.0", Before: around.Works, After: around.Works, Handler: func() fiber.Handler { return fiberprometheus.New("app").Middleware },
		Note: "An event stream counts as one request, when it begins"},
}

// TestAround: both, before comet.New and after it.
func TestAround(t *testing.T) { around.Run(t, rows) }

// TestAroundIsInTheDocs: docs/around.md has these rows and no others.
func TestAroundIsInTheDocs(t *testing.T) {
	around.Table(t, "../../docs/around.md", "middleware/telemetry.TestAround", rows)
}

// TestPrometheusCountsNoEndlessRequest: an event stream that goes on is no request
// in progress for ever.
func TestPrometheusCountsNoEndlessRequest(t *testing.T) {
	prometheus := fiberprometheus.New("app")
	a := around.Serve(t, around.Setup{
		Tune:   func(app *fiber.App) { prometheus.RegisterAt(app, "/metrics") },
		Before: []fiber.Handler{prometheus.Middleware},
	})
	p, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Everything(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(a.Origin() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(line, "http_requests_in_progress_total{") {
			if found = true; !strings.HasSuffix(line, "} 0") && !strings.Contains(line, "/metrics") {
				t.Error(line)
			}
		}
	}
	if !found {
		t.Errorf("no requests in progress among the metrics:\n%s", text)
	}
}
