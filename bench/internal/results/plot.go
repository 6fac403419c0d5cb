package results

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"github.com/ocsigo/comet/bench/internal/harness"
)

// A panel is one figure's bars.
type panel struct {
	title  string
	mode   string
	metric string
}

var panels = []panel{
	{"Idle: resident bytes a stream", harness.Site, harness.RSSSlope},
	{"Paced, 64 B: server CPU µs a delivery", harness.Site, harness.Paced64},
	{"Bursts of 10, 64 B: CPU µs a delivery", harness.Site, harness.Burst64},
	{"Paced, 64 B: p99 ms from publish to read", harness.Site, harness.Paced64P99},
	{"Reconnect and replay of 10: CPU µs", harness.Site, harness.Replay},
	{"Private message: CPU µs", harness.Private, harness.PrivateOne},
}

// What a panel measures, in the plot's units.
const (
	panelWidth  = 460
	panelHeight = 220
	barHeight   = 17
	barGap      = 7
	labelWidth  = 92
	barWidth    = 270
)

// style follows the reader's light or dark.
const style = `text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.v{font-size:12px}` +
	`.bar{fill:#8c959f}.comet{fill:#0969da}.floor{fill:#d0d7de}.bg{fill:#fff}` +
	`@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.comet{fill:#4493f8}.floor{fill:#30363d}.bg{fill:#0d1117}}`

// SVG is the plot of the most streams that were measured.
func (s Set) SVG() string {
	n := 0
	if sizes := s.sizes(); len(sizes) > 0 {
		n = slices.Max(sizes)
	}
	var b strings.Builder
	height := (len(panels)+1)/2*panelHeight + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="Comet beside other servers, %d streams">`,
		2*panelWidth, height, n)
	fmt.Fprintf(&b, "\n<style>%s</style>\n<rect class=\"bg\" width=\"100%%\" height=\"100%%\"/>\n", style)
	for i, p := range panels {
		fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n", i%2*panelWidth+10, i/2*panelHeight+24)
		s.panel(&b, p, n)
		b.WriteString("</g>\n")
	}
	fmt.Fprintf(&b, "<text class=\"v\" x=\"10\" y=\"%d\">%s</text>\n</svg>\n", height-10,
		escape(fmt.Sprintf("%d streams, less is better; %d cores shared with the client, %s, %s", n, s.Machine.Cores, s.Machine.Go, s.Machine.Date)))
	return b.String()
}

func (s Set) panel(b *strings.Builder, p panel, n int) {
	fmt.Fprintf(b, "<text class=\"t\">%s</text>\n", escape(p.title))
	most := 0.0
	for _, row := range harness.Rows {
		if v, _, ok := s.median(row.ID(), n, p.metric); ok && row.Mode == p.mode {
			most = max(most, v)
		}
	}
	y := 14
	for _, row := range harness.Rows {
		if row.Mode != p.mode {
			continue
		}
		v, _, ok := s.median(row.ID(), n, p.metric)
		told, width := "–", 0.0
		if ok {
			told = figure(p.metric, v)
		}
		if most > 0 {
			width = max(v, 0) / most * barWidth
		}
		fmt.Fprintf(b, "<text x=\"0\" y=\"%d\">%s</text><rect class=\"bar %s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/><text class=\"v\" x=\"%.1f\" y=\"%d\">%s</text>\n",
			y+barHeight-4, escape(row.Kind), row.Kind, labelWidth, y, width, barHeight, labelWidth+width+5, y+barHeight-4, told)
		y += barHeight + barGap
	}
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
