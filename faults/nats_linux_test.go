package faults

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
	"github.com/ocsigo/comet/faults/internal/storm"
)

// inStorm has three nodes of an app under load on three servers, breaks something, and
// judges what readers heard. Values are acknowledged again before it judges.
func inStorm(t *testing.T, breakIt func(c *cluster)) {
	t.Parallel()
	c := startCluster(t, natstest.Configs(t, 3), nil)
	names := channels(6)
	nodes := startNodes(t, 3, c.urls, names, 100)
	s := storm.Start(t, storm.Config{
		Nodes: addrs(nodes), Channels: names, Senders: 12, Pause: 10 * time.Millisecond,
		Tabs: 24, Cut: 500 * time.Millisecond, Mine: true, Seed: seed(t),
	})
	s.Acked(500)
	breakIt(c)
	s.Acked(500)
	s.Judge()
}

func TestNATSLeaderKilled(t *testing.T) {
	inStorm(t, func(c *cluster) {
		i, _ := c.leader()
		c.servers[i].Kill()
		time.Sleep(2 * time.Second) // dead for a while, as long as an election takes or not
		c.start(i)
	})
}

func TestNATSLeaderTerminated(t *testing.T) {
	inStorm(t, func(c *cluster) {
		i, _ := c.leader()
		must(t, "SIGTERM", c.servers[i].End(patience))
		c.start(i)
	})
}

// A leader that is stopped for longer than an election takes comes back believing that
// it leads.
func TestNATSLeaderStopped(t *testing.T) {
	inStorm(t, func(c *cluster) {
		i, _ := c.leader()
		must(t, "SIGSTOP", c.servers[i].Stop())
		time.Sleep(12 * time.Second)
		must(t, "SIGCONT", c.servers[i].Continue())
	})
}

func TestNATSClusterRestarted(t *testing.T) {
	inStorm(t, func(c *cluster) {
		for _, p := range c.servers {
			p.Kill()
		}
		for i := range c.servers {
			c.start(i)
		}
	})
}

// A stream that somebody deletes takes its logs with it: readers are told, and the
// channels are there again.
func TestNATSStreamDeleted(t *testing.T) {
	inStorm(t, func(c *cluster) {
		_, stream := c.leader()
		js, err := jetstream.New(connect(t, c.urls(0)))
		must(t, "jetstream", err)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		must(t, "delete the stream "+stream, js.DeleteStream(ctx, stream))
	})
}
