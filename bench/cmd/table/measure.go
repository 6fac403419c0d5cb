package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ocsigo/comet/bench/internal/harness"
	"github.com/ocsigo/comet/bench/internal/results"
)

// measuring is one measurement under way.
type measuring struct {
	settings
	binary string
	set    *results.Set
	run    int
}

// all takes the servers in turn, run after run, each run beginning with another,
// so that what changes on the machine meanwhile is nobody's alone.
func (m *measuring) all() {
	for m.run = range m.runs {
		for i := range harness.Rows {
			row := harness.Rows[(i+m.run*len(harness.Rows)/m.runs)%len(harness.Rows)]
			if m.rows.MatchString(row.ID()) {
				m.row(row)
			}
		}
		if m.cases.MatchString("cost") && m.rows.MatchString("comet/site") {
			for _, n := range harness.CostChannels {
				m.take(harness.CostRow, n, func(report func(string, float64)) error { return harness.Cost(m.binary, n, report) })
			}
		}
	}
}

func (m *measuring) row(row harness.Row) {
	if m.cases.MatchString("crowd") {
		for _, n := range m.sizes {
			m.take(row.ID(), n, func(report func(string, float64)) error { return harness.Run(m.binary, row, n, report) })
		}
	}
	if row.Mode == harness.Site && m.cases.MatchString("stalled") {
		for _, stalled := range []bool{false, true} {
			m.take(row.ID(), harness.Readers, func(report func(string, float64)) error {
				return harness.Stalled(m.binary, row, stalled, report)
			})
		}
	}
}

// take keeps what one process was measured at, or the fault that ended it.
func (m *measuring) take(row string, n int, measure func(report func(string, float64)) error) {
	fmt.Fprintf(os.Stderr, "%s run %d, %s with %d\n", time.Now().Format(time.TimeOnly), m.run+1, row, n)
	err := measure(func(metric string, value float64) {
		fmt.Fprintf(os.Stderr, "  %-24s %12.3f\n", metric, value)
		m.set.Samples = append(m.set.Samples, harness.Sample{Run: m.run + 1, Row: row, N: n, Metric: metric, Value: value})
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "  %v\n", err)
		m.set.Samples = append(m.set.Samples, harness.Sample{Run: m.run + 1, Row: row, N: n, Fault: err.Error()})
	}
}

// profileOne profiles the first row that is meant, with the most streams.
func (m *measuring) profileOne() error {
	path, err := filepath.Abs(m.profile)
	if err != nil {
		return err
	}
	for _, row := range harness.Rows {
		if m.rows.MatchString(row.ID()) {
			return harness.Profile(m.binary, row, slices.Max(m.sizes), path)
		}
	}
	return fmt.Errorf("no row is like %q", m.rows)
}
