//go:build linux

package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var server string

func TestMain(m *testing.M) {
	os.Exit(withServer(m))
}

// withServer builds the servers, which are measured as processes here too.
func withServer(m *testing.M) int {
	dir, err := os.MkdirTemp("", "harness")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	server = filepath.Join(dir, "server")
	if out, err := exec.Command("go", "build", "-o", server, "github.com/ocsigo/comet/bench/server").CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// TestRun has a small crowd before a server of each mode: every case comes to its
// figure, with all deliveries right.
func TestRun(t *testing.T) {
	crowd := []string{Connect, RSSSlope, HeapSlope, Goroutines}
	paced := append(slices.Clone(crowd), Paced64, Paced64P50, Paced64P99)
	fan := append(slices.Clone(paced), Paced1K, Paced1KP50, Paced1KP99, Flat64, Flat1K, Burst64, Burst1K)
	want := map[string][]string{
		"comet/site":      append(slices.Clone(fan), RSSAfter, Replay),
		"centrifuge/site": append(slices.Clone(fan), RSSAfter, Replay),
		"r3labs/site":     append(slices.Clone(fan), RSSAfter, Replay),
		"fiberv3/site":    append(slices.Clone(fan), RSSAfter),
		"comet/many":      fan,
		"comet/process":   paced,
		"comet/private":   append(slices.Clone(crowd), PrivateOne),
		"gosse/private":   append(slices.Clone(crowd), PrivateOne),
	}
	for _, row := range Rows {
		metrics, ok := want[row.ID()]
		if !ok {
			continue
		}
		t.Run(row.ID(), func(t *testing.T) {
			t.Parallel()
			var got []string
			if err := Run(server, row, 20, func(metric string, _ float64) { got = append(got, metric) }); err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			slices.Sort(metrics)
			if !slices.Equal(got, metrics) {
				t.Errorf("figures %q, want %q", got, metrics)
			}
		})
	}
}

func TestCost(t *testing.T) {
	figures := map[string]float64{}
	if err := Cost(server, 10, func(metric string, v float64) { figures[metric] = v }); err != nil {
		t.Fatal(err)
	}
	if figures[PublishNS] <= 0 || figures[PublishAllocs] <= 0 {
		t.Errorf("figures %v", figures)
	}
}

func TestStartTellsWhatAServerSays(t *testing.T) {
	for _, row := range []Row{{Kind: "none", Mode: Site}, {Kind: "r3labs", Mode: Many}} {
		if _, err := Start(server, row); err == nil || !strings.Contains(err.Error(), "no ") {
			t.Errorf("%+v: error %v", row, err)
		}
	}
}
