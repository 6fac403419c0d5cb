package results

import (
	"fmt"
	"strings"

	"github.com/ocsigo/comet/bench/internal/harness"
)

// A goal is what one figure of Comet's is to reach: at most a factor of the
// floor's, or a value.
type goal struct {
	what     string
	mode     string
	metric   string
	ofFloor  float64 // a factor; 0: atMost holds instead
	atMost   float64
	anyPeers bool // and below all peers' figures
}

// memoryFrom is from how many streams on memory goals hold: the slope from a
// thousand to ten thousand, as fewer are lost among the pages of anything else.
const memoryFrom = 10_000

var goals = []goal{
	{"RSS of an idle stream of site channels, B", harness.Site, harness.RSSSlope, 0, 1280, true},
	{"RSS of an idle tab: session, process, stream, B", harness.Tabs, harness.RSSSlope, 0, 2048, false},
	{"goroutines of an idle stream", harness.Site, harness.Goroutines, 0, 0.05, true},
	{"paced, 64 B", harness.Site, harness.Paced64, 1.05, 0, true},
	{"paced, 1 KiB", harness.Site, harness.Paced1K, 1.05, 0, true},
	{"flat out, 64 B", harness.Site, harness.Flat64, 1.1, 0, true},
	{"flat out, 1 KiB", harness.Site, harness.Flat1K, 1.1, 0, true},
	{"bursts of 10, 64 B", harness.Site, harness.Burst64, 1.5, 0, true},
	{"bursts of 10, 1 KiB", harness.Site, harness.Burst1K, 1.5, 0, true},
	{"fan-out p99, 64 B", harness.Site, harness.Paced64P99, 1.2, 0, false},
	{"fan-out p99, 1 KiB", harness.Site, harness.Paced1KP99, 1.2, 0, false},
	{"reconnect + replay", harness.Site, harness.Replay, 0, 0, true},
	{"private message", harness.Private, harness.PrivateOne, 1.15, 0, true},
}

// reach compares Comet with the floor, the goals and the best peer.
func (s Set) reach(b *strings.Builder) {
	for _, n := range s.sizes() {
		fmt.Fprintf(b, "\n### Comet beside its goals, %s streams\n\n", thousands(int64(n)))
		b.WriteString("| | Comet | the floor | ratio | goal | best peer | runs apart | |\n|---|--:|--:|--:|--:|--:|--:|---|\n")
		for _, g := range goals {
			s.compare(b, n, g)
		}
	}
}

func (s Set) compare(b *strings.Builder, n int, g goal) {
	row := "comet/" + g.mode
	ours, _, ok := s.median(row, n, g.metric)
	if !ok || g.metric == harness.RSSSlope && n < memoryFrom {
		return
	}
	reached, compared := true, g.atMost > 0
	floor, ratio, aim := "–", "–", "below peers"
	if f, _, ok := s.median("floor/"+g.mode, n, g.metric); ok {
		floor = figure(g.metric, f)
		if f > 0 {
			ratio = fmt.Sprintf("%.2f", ours/f)
		}
		if g.ofFloor > 0 {
			aim = fmt.Sprintf("%.2f ×", g.ofFloor)
			reached, compared = ours <= f*g.ofFloor, true
		}
	}
	if g.atMost > 0 {
		aim = figure(g.metric, g.atMost)
		reached = reached && ours <= g.atMost
	}
	best, peer := s.bestPeer(g, n)
	if g.anyPeers && peer != "" {
		reached, compared = reached && ours < best, true
	}
	verdict := map[bool]string{true: "reached", false: "**not reached**"}[reached]
	if !compared {
		verdict = "–"
	}
	told := "–"
	if peer != "" {
		told = figure(g.metric, best) + " (" + peer + ")"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %.2f × | %s |\n",
		g.what, figure(g.metric, ours), floor, ratio, aim, told, s.spread(row, n, g.metric), verdict)
}

// bestPeer is the least figure of those that are neither Comet nor the floor.
func (s Set) bestPeer(g goal, n int) (best float64, peer string) {
	for _, row := range harness.Rows {
		if row.Kind == "comet" || row.Kind == "floor" || row.Mode != g.mode {
			continue
		}
		if v, _, ok := s.median(row.ID(), n, g.metric); ok && (peer == "" || v < best) {
			best, peer = v, row.Kind
		}
	}
	return best, peer
}
