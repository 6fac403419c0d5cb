package faults

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/faults/internal/app"
	"github.com/ocsigo/comet/faults/internal/proc"
)

// patience bounds what is waited for. Nothing here takes that long; only what never
// happens does.
const patience = time.Minute

// serveNATS is the role of one server of a cluster.
func serveNATS(config []byte, ready func(string), end <-chan os.Signal) error {
	var c embedded.Config
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	// A server of a cluster is ready when a majority of the others is, which are
	// started after it.
	ready(c.Listen)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := embedded.Start(ctx, c)
	if err != nil {
		return err
	}
	<-end
	server.Stop()
	return nil
}

// A cluster is three servers of NATS, each a process of its own.
type cluster struct {
	t       *testing.T
	configs []embedded.Config
	servers []*proc.Process
	netns   []string // of each server; empty for none
}

func startCluster(t *testing.T, configs []embedded.Config, netns []string) *cluster {
	t.Helper()
	c := &cluster{t: t, configs: configs, servers: make([]*proc.Process, len(configs)), netns: netns}
	for i := range configs {
		c.start(i)
	}
	return c
}

// start starts server i, anew if it was there before.
func (c *cluster) start(i int) {
	c.t.Helper()
	ns := ""
	if c.netns != nil {
		ns = c.netns[i]
	}
	c.servers[i] = proc.Start(c.t, "nats", c.configs[i], ns)
}

// urls are where clients connect, server i first.
func (c *cluster) urls(first int) string {
	var urls []string
	for k := range c.configs {
		urls = append(urls, "nats://"+c.configs[(first+k)%len(c.configs)].Listen)
	}
	return strings.Join(urls, ",")
}

// connect waits until some server takes the connection.
func connect(t *testing.T, urls string) *natsgo.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := dial(ctx, urls)
	must(t, "connect", err)
	t.Cleanup(conn.Close)
	return conn
}

// dial tries again: the servers were just started.
func dial(ctx context.Context, urls string) (*natsgo.Conn, error) {
	for {
		conn, err := nats.Connect(urls, natsgo.DontRandomize())
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// open returns an engine on a cluster of three that was just started.
func open(ctx context.Context, urls string) (*nats.Engine, error) { return openReplicas(ctx, urls, 3) }

func openReplicas(ctx context.Context, urls string, replicas int) (*nats.Engine, error) {
	conn, err := dial(ctx, urls)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		log, err := nats.New(try, conn, nats.Config{Replicas: replicas})
		cancel()
		if err == nil || ctx.Err() != nil || !engine.Retryable(err) {
			return log, err
		}
	}
}

// leader is the server that leads the stream with the most messages, which is the one
// that the load goes to.
func (c *cluster) leader() (server int, stream string) {
	c.t.Helper()
	conn := connect(c.t, c.urls(0))
	js, err := jetstream.New(conn)
	if err != nil {
		c.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var busiest *jetstream.StreamInfo
		infos := js.ListStreams(ctx)
		for info := range infos.Info() {
			if info.Cluster != nil && info.Cluster.Leader != "" && (busiest == nil || info.State.Msgs > busiest.State.Msgs) {
				busiest = info
			}
		}
		cancel()
		if busiest == nil {
			continue
		}
		for i, config := range c.configs {
			if config.Name == busiest.Cluster.Leader {
				return i, busiest.Config.Name
			}
		}
	}
	c.t.Fatal("no stream has a leader")
	return 0, ""
}

// startNodes starts n nodes of an app, each with an engine of its own.
func startNodes(t *testing.T, n int, urls func(i int) string, names []string, size int) []*app.Node {
	t.Helper()
	var nodes []*app.Node
	for i := range n {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		log, err := open(ctx, urls(i))
		cancel()
		must(t, "an engine", err)
		node, err := app.Start(app.Config{Engine: log, Storage: log.Storage("sessions"), Channels: names, Size: size})
		must(t, "a node", err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := errors.Join(node.Stop(ctx), log.Close(ctx)); err != nil {
				t.Errorf("stop a node: %v", err)
			}
		})
		nodes = append(nodes, node)
	}
	return nodes
}

func addrs(nodes []*app.Node) func() []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Addr)
	}
	return func() []string { return list }
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
