package faults

import (
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
	"github.com/ocsigo/comet/faults/internal/proc"
	"github.com/ocsigo/comet/faults/internal/storm"
)

// TestNodeKilled kills a node of the app with most of 1,000 tabs on it: their site
// channels go on elsewhere without a word, and those whose client process was made
// there hear that it is gone.
func TestNodeKilled(t *testing.T) {
	const tabs = 1000
	c := startCluster(t, natstest.Configs(t, 3), nil)
	names := channels(6)
	var processes []*proc.Process
	var nodes []string
	for i := range 3 {
		p := startNode(t, nodeConfig{URLs: c.urls(i), Channels: names, Size: 1000}, "")
		processes = append(processes, p)
		nodes = append(nodes, p.Said)
	}
	var mu sync.Mutex
	alive := nodes[:1] // all tabs are there at first
	s := storm.Start(t, storm.Config{
		Nodes: func() []string {
			mu.Lock()
			defer mu.Unlock()
			return alive
		},
		Channels: names, Senders: 6, Pause: 100 * time.Millisecond, Tabs: tabs, Mine: true, Seed: seed(t),
	})
	mu.Lock()
	alive = nodes
	mu.Unlock()
	s.Acked(60)
	processes[0].Kill()
	killed := time.Now()
	mu.Lock()
	alive = nodes[1:]
	mu.Unlock()
	until(t, "every tab is told that its process is gone", func() bool {
		for _, tb := range s.Tabs() {
			if tb.Gone() == 0 {
				return false
			}
		}
		return true
	})
	t.Logf("%d tabs were told that their processes are gone within %v of the kill", tabs, time.Since(killed).Round(time.Millisecond))
	s.Acked(60)
	s.Judge()
}
