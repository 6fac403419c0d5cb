package results

import (
	"slices"

	"github.com/ocsigo/comet/bench/internal/harness"
)

// A Set is all samples of one measurement.
type Set struct {
	Machine Machine          `json:"machine"`
	Samples []harness.Sample `json:"samples"`
}

// median is that of a figure over the runs. A fault in any of them is the figure's.
func (s Set) median(row string, n int, metric string) (value float64, fault string, ok bool) {
	var values []float64
	for _, m := range s.Samples {
		switch {
		case m.Row != row || m.N != n:
		case m.Fault != "":
			fault = m.Fault
		case m.Metric == metric:
			values = append(values, m.Value)
		}
	}
	if len(values) == 0 {
		return 0, fault, false
	}
	slices.Sort(values)
	mid := len(values) / 2
	if len(values)%2 == 0 {
		return (values[mid-1] + values[mid]) / 2, fault, true
	}
	return values[mid], fault, true
}

// spread is how far the runs of a figure lie apart: the greatest over the least.
func (s Set) spread(row string, n int, metric string) float64 {
	least, most := 0.0, 0.0
	for _, m := range s.Samples {
		if m.Row != row || m.N != n || m.Metric != metric || m.Fault != "" {
			continue
		}
		if least == 0 || m.Value < least {
			least = m.Value
		}
		most = max(most, m.Value)
	}
	if least <= 0 {
		return 1
	}
	return most / least
}
