package results

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ocsigo/comet/bench/internal/harness"
)

// runs are three of Comet, the floor and two peers, one of which failed.
func runs() Set {
	var s Set
	add := func(row, metric string, values ...float64) {
		for i, v := range values {
			s.Samples = append(s.Samples, harness.Sample{Run: i + 1, Row: row, N: 1000, Metric: metric, Value: v})
		}
	}
	add("comet/site", harness.Paced64, 9, 30, 10)
	add("floor/site", harness.Paced64, 10, 10, 10)
	add("gosse/site", harness.Paced64, 12, 13, 14)
	add("comet/site", harness.Replay, 50, 50, 50) // of which there is no other
	add("comet/private", harness.PrivateOne, 12, 12, 12)
	add("floor/private", harness.PrivateOne, 10, 10, 10)
	s.Samples = append(s.Samples,
		harness.Sample{Run: 1, Row: "r3labs/site", N: 1000, Fault: "r3labs/site: 7 lost"},
		harness.Sample{Run: 1, Row: "r3labs/site", N: harness.Readers, Fault: "r3labs: readers wait"},
		harness.Sample{Run: 1, Row: harness.CostRow, N: 1, Metric: harness.PublishNS, Value: 1234})
	return s
}

func TestMarkdownTellsMediansFaultsAndGoals(t *testing.T) {
	text := runs().Markdown()
	for _, want := range []string{
		"### Fan-out, 1,000 streams",
		"| **Comet** | 10.0 / – |",       // the median, not the mean
		"| tmaxmax/go-sse | 13.0 / – |",  // a figure that is not there is a dash
		"| r3labs/sse | failed / failed", // a failed one is told
		"- r3labs/site: 7 lost",          // and why
		"held up",                        // by a stalled reader
		"| paced, 64 B | 10.0 | 10.0 | 1.00 | 1.05 × | 13.0 (gosse) | 3.33 × | reached |",
		"| 1 | 1,234 |",
		"| reconnect + replay | 50.0 | – | – | below peers | – | 1.00 × | – |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	_, line, found := strings.Cut(text, "| private message | 12.0 | 10.0 | 1.20 |")
	if line, _, _ = strings.Cut(line, "\n"); !found || !strings.Contains(line, "**not reached**") {
		t.Errorf("1.20 times the floor's is to be not reached: %s", line)
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	s := runs()
	s.Machine.Date = `<&">`
	svg := s.SVG()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	if !strings.Contains(svg, ">13.0</text>") {
		t.Error("go-sse's bar has not its figure")
	}
}

func TestInsertKeepsWhatIsAround(t *testing.T) {
	first, err := Insert("above\n"+Empty+"below\n", "one")
	if err != nil {
		t.Fatal(err)
	}
	second, err := Insert(first, "two")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(second, "above\n") || !strings.HasSuffix(second, "below\n") || strings.Contains(second, "one") || !strings.Contains(second, "two") {
		t.Errorf("got %q", second)
	}
	if _, err := Insert("no markers", "text"); err == nil {
		t.Error("a README without markers is written to")
	}
}
