package results

import (
	"fmt"
	"strings"

	"github.com/ocsigo/comet/bench/internal/harness"
)

// A column is one figure, or several with a slash between them.
type column struct {
	title   string
	metrics []string
}

var (
	idleColumns = []column{
		{"RSS, B/stream", []string{harness.RSSSlope}},
		{"heap, B", []string{harness.HeapSlope}},
		{"goroutines", []string{harness.Goroutines}},
		{"RSS after use, B", []string{harness.RSSAfter}},
		{"connect, µs", []string{harness.Connect}},
	}
	fanOutColumns = []column{
		{"paced, µs", []string{harness.Paced64, harness.Paced1K}},
		{"p50, ms", []string{harness.Paced64P50, harness.Paced1KP50}},
		{"p99, ms", []string{harness.Paced64P99, harness.Paced1KP99}},
		{"flat out, µs", []string{harness.Flat64, harness.Flat1K}},
		{"bursts of 10, µs", []string{harness.Burst64, harness.Burst1K}},
		{"reconnect + replay, µs", []string{harness.Replay}},
	}
	privateColumns = []column{
		{"message, µs", []string{harness.PrivateOne}},
		{"RSS, B/stream", []string{harness.RSSSlope}},
		{"goroutines", []string{harness.Goroutines}},
		{"connect, µs", []string{harness.Connect}},
	}
	stalledColumns = []column{
		{"publish, µs: all read", []string{harness.PublishFree}},
		{"one stalled", []string{harness.PublishStalled}},
		{"others' p99, ms: all read", []string{harness.PublishFreeP99}},
		{"one stalled", []string{harness.PublishStalledP99}},
	}
)

// Markdown is all tables, one after the other.
func (s Set) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "![Comet beside other servers](figures.svg)\n\n%s\n\n`%s`\n", s.Machine, s.Machine.Command)
	for _, n := range s.sizes() {
		streams := thousands(int64(n)) + " streams"
		s.table(&b, n, "Idle, "+streams, idleColumns, harness.Site, harness.Process, harness.Tabs, harness.Private)
		s.table(&b, n, "Fan-out, "+streams+": server CPU per delivery, 64 B / 1 KiB", fanOutColumns, harness.Site, harness.Many)
		s.table(&b, n, "Private messages, "+streams+" with a channel each", privateColumns, harness.Private)
	}
	s.table(&b, harness.Readers, fmt.Sprintf("Publishing 1 KiB to %d readers", harness.Readers), stalledColumns, harness.Site)
	s.cost(&b)
	s.reach(&b)
	s.faults(&b)
	return b.String()
}

// table writes the rows of some modes that have a figure, if there are any.
func (s Set) table(b *strings.Builder, n int, heading string, columns []column, modes ...string) {
	rows := s.rows(n, modes)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s\n\n| server |", heading)
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(columns)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |", title(row, modes))
		for _, c := range columns {
			fmt.Fprintf(b, " %s |", s.cell(row.ID(), n, c.metrics))
		}
		b.WriteString("\n")
	}
}

// rows are those of some modes that were measured with n streams, mode by mode.
func (s Set) rows(n int, modes []string) (rows []harness.Row) {
	for _, mode := range modes {
		for _, row := range harness.Rows {
			if row.Mode == mode && s.has(row.ID(), n) {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// title tells private channels apart where other rows stand beside them.
func title(row harness.Row, modes []string) string {
	if row.Mode == harness.Private && len(modes) > 1 {
		return row.Title + ", a private channel each"
	}
	return row.Title
}

func (s Set) has(row string, n int) bool {
	for _, m := range s.Samples {
		if m.Row == row && m.N == n {
			return true
		}
	}
	return false
}

// cell is the medians of metrics; a dash stands for what a server does not do, and
// a word for what it failed at.
func (s Set) cell(row string, n int, metrics []string) string {
	var parts []string
	for _, m := range metrics {
		value, fault, ok := s.median(row, n, m)
		switch {
		case ok:
			parts = append(parts, figure(m, value))
		case fault != "":
			parts = append(parts, failure(m))
		default:
			parts = append(parts, "–")
		}
	}
	return strings.Join(parts, " / ")
}

// failure is the word for a figure that is missing because of a fault.
func failure(metric string) string {
	if metric == harness.PublishStalled || metric == harness.PublishStalledP99 {
		return "held up"
	}
	return "failed"
}

// figure writes a value as exactly as it is worth.
func figure(metric string, v float64) string {
	switch {
	case strings.HasSuffix(metric, "_b"):
		return thousands(int64(v))
	case metric == harness.Goroutines || v < 1:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return thousands(int64(v + 0.5))
	}
}

func thousands(n int64) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// cost is what publishing costs among many channels.
func (s Set) cost(b *strings.Builder) {
	if !s.has(harness.CostRow, harness.CostChannels[0]) {
		return
	}
	b.WriteString("\n### Comet: one publish that nobody hears, 64 B, among other channels\n\n| channels | ns | allocations |\n|--:|--:|--:|\n")
	for _, n := range harness.CostChannels {
		fmt.Fprintf(b, "| %s | %s | %s |\n", thousands(int64(n)),
			s.cell(harness.CostRow, n, []string{harness.PublishNS}), s.cell(harness.CostRow, n, []string{harness.PublishAllocs}))
	}
}

// faults names every fault once.
func (s Set) faults(b *strings.Builder) {
	seen := map[string]bool{}
	for _, m := range s.Samples {
		if m.Fault == "" || seen[m.Row+m.Fault] {
			continue
		}
		if len(seen) == 0 {
			b.WriteString("\n### What failed\n\n")
		}
		seen[m.Row+m.Fault] = true
		fmt.Fprintf(b, "- %s\n", m.Fault)
	}
}

// sizes are the numbers of streams of the rows, ascending as they were measured.
func (s Set) sizes() (sizes []int) {
	seen := map[int]bool{}
	for _, m := range s.Samples {
		if m.Row == harness.CostRow || m.N == harness.Readers || seen[m.N] {
			continue
		}
		seen[m.N] = true
		sizes = append(sizes, m.N)
	}
	return sizes
}
