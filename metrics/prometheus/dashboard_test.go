package prometheus_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	cometprometheus "github.com/ocsigo/comet/metrics/prometheus"
)

// dashboard is what Grafana reads of one, and refuses or shows empty without.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	Datasource  struct{ Type, UID string }
	Targets     []struct{ RefID, Expr, LegendFormat string }
}

func (p panel) overlaps(q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// exported are the names that PromQL may use, with their labels.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	registry := client.NewRegistry()
	registry.MustRegister(cometprometheus.NewCollector(newSite(t)))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{}
	for _, f := range families {
		labels := []string{"job", "instance"} // Prometheus' own
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if f.GetType() != dto.MetricType_HISTOGRAM {
			names[f.GetName()] = labels
			continue
		}
		for _, suffix := range []string{"_sum", "_count"} {
			names[f.GetName()+suffix] = labels
		}
		names[f.GetName()+"_bucket"] = append(labels, "le")
	}
	return names
}

var (
	metricName = regexp.MustCompile(`\bcomet_[a-z_]+`)
	grouping   = regexp.MustCompile(`\bby \(([a-z, ]+)\)`)
	variable   = regexp.MustCompile(`\$\{?([a-z_]+)`)
	legend     = regexp.MustCompile(`\{\{([a-z]+)\}\}`)
)

// TestDashboard: the file is a dashboard, each of its expressions is over what the
// collector exports, by labels that this has, and every figure by kind is on it.
func TestDashboard(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal(cometprometheus.Dashboard, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 || len(d.Panels) == 0 {
		t.Fatalf("no dashboard: %q, %q, schema %d, %d panels", d.UID, d.Title, d.SchemaVersion, len(d.Panels))
	}
	known := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		known[v.Name] = true
		checkExpr(t, "variable "+v.Name, fmt.Sprint(v.Query), exported(t), known, map[string]bool{})
	}
	names, used, ids := exported(t), map[string]bool{}, map[int]bool{}
	for i, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: its id is not its own, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range d.Panels[:i] {
			if p.overlaps(q) {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.GridPos.X+p.GridPos.W > 24 || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q: %+v, data source %q, %d targets", p.Title, p.GridPos, p.Datasource.UID, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.RefID == "" {
				t.Errorf("panel %q has two targets %q", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			checkExpr(t, p.Title, target.Expr, names, known, used)
			for _, l := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(target.Expr, "by ("+l[1]+")") {
					t.Errorf("panel %q: the legend says %s, %s does not group by it", p.Title, l[1], target.Expr)
				}
			}
		}
	}
	for name := range names {
		if !used[name] {
			t.Errorf("%s is exported and on no panel", name)
		}
	}
}

// checkExpr holds one expression against the names and labels that there are.
func checkExpr(t *testing.T, where, expr string, names map[string][]string, variables, used map[string]bool) {
	t.Helper()
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: %s: brackets do not match", where, expr)
	}
	for _, v := range variable.FindAllStringSubmatch(expr, -1) {
		if !variables[v[1]] {
			t.Errorf("%s: %s uses $%s, which there is not", where, expr, v[1])
		}
	}
	for _, name := range metricName.FindAllString(expr, -1) {
		labels, there := names[name]
		if !there {
			t.Errorf("%s: %s uses %s, which the collector does not export", where, expr, name)
		}
		used[name] = true
		if isCount := strings.HasSuffix(name, "_total") && !strings.Contains(expr, "rate("+name); isCount && !strings.Contains(expr, " - ") {
			t.Errorf("%s: %s shows a count that only grows", where, expr)
		}
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			if !strings.Contains(" "+strings.Join(labels, " ")+" ", " "+g[1]+" ") {
				t.Errorf("%s: %s groups by %s, which %s has not", where, expr, g[1], name)
			}
		}
	}
}

// TestOperations: docs/operations.md has every metric, and none that there is not.
func TestOperations(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names, told := exported(t), map[string]bool{}
	for _, name := range metricName.FindAllString(string(page), -1) {
		if name == "comet_channel_" { // of any
			continue
		}
		told[name] = true
		if _, there := names[name]; !there && names[name+"_count"] == nil {
			t.Errorf("operations.md tells of %s, which is not exported", name)
		}
	}
	for name := range names {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if !told[name] {
			t.Errorf("operations.md does not tell of %s", name)
		}
	}
}
