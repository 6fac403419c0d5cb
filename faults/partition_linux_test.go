package faults

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/faults/internal/netns"
	"github.com/ocsigo/comet/faults/internal/storm"
)

// TestNATSPartition cuts one host off from the other two: the one whose NATS server
// leads, with the node of the app that stands on it. That node must know that it is
// not ready, send its readers away, and tell none of them that something is missing:
// nothing is. Nobody hears twice what the cut-off leader still believes.
func TestNATSPartition(t *testing.T) {
	hosts, err := netns.New(t, 3)
	if errors.Is(err, netns.ErrMissing) && os.Getenv("COMET_FAULTS") != "required" {
		t.Skip(err)
	}
	must(t, "hosts", err)
	var configs []embedded.Config
	var routes, netnses []string
	for i := range 3 {
		routes = append(routes, hosts.Address(i)+":6222")
	}
	for i := range 3 {
		netnses = append(netnses, hosts.Name(i))
		configs = append(configs, embedded.Config{
			Name: string(rune('a' + i)), Dir: t.TempDir(), Listen: hosts.Reach(i) + ":4222",
			Cluster: &embedded.Cluster{Listen: routes[i], Routes: routes, Password: "test"},
		})
	}
	c := startCluster(t, configs, netnses)
	names := channels(6)
	var nodes []string
	for i := range 3 {
		n := startNode(t, nodeConfig{URLs: "nats://" + configs[i].Listen, Channels: names, Size: 20_000, Addr: hosts.Reach(i) + ":3000"}, hosts.Name(i))
		nodes = append(nodes, n.Said)
	}
	b := newBalancer(t, nodes)
	s := storm.Start(t, storm.Config{
		Nodes: b.healthy, Channels: names, Senders: 12, Pause: 10 * time.Millisecond,
		Tabs: 24, Cut: time.Second, Seed: seed(t),
	})
	s.Acked(500)
	i, _ := c.leader()
	must(t, "cut", hosts.Cut(i))
	began := time.Now()
	until(t, "the node on the minority is not ready", func() bool { return !b.isReady(nodes[i]) })
	t.Logf("not ready after %v", time.Since(began).Round(time.Millisecond))
	s.Acked(500) // on the majority
	until(t, "twelve seconds", func() bool { return time.Since(began) > 12*time.Second })
	must(t, "heal", hosts.Heal(i))
	healed := time.Now()
	until(t, "the node is ready again", func() bool { return b.isReady(nodes[i]) })
	t.Logf("ready again after %v", time.Since(healed).Round(time.Millisecond))
	s.Acked(500)
	s.Judge()
	for k, tb := range s.Tabs() {
		for _, name := range names {
			for _, h := range tb.Heard(name) {
				if h.Hole != "" {
					t.Errorf("tab %d was told that values of %s are missing (%s), and all were kept", k, name, h.Hole)
				}
			}
		}
	}
}
