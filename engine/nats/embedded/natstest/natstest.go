// Package natstest gives tests NATS clusters of real servers: inside the test's
// process, or as processes of their own that may be killed, stopped and started
// again. Everything listens on loopback, and ends with the test.
package natstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded"
)

// Patience is how long a cluster may take to be ready: its first votes may be
// split more than once.
const Patience = time.Minute

// Single starts one server with files in a directory of the test's.
func Single(t testing.TB) *embedded.Server {
	t.Helper()
	s := start(t, embedded.Config{Dir: t.TempDir()})
	t.Cleanup(s.Stop)
	return s
}

// Three starts a cluster of three servers in this process, with files.
func Three(t testing.TB) []*embedded.Server {
	t.Helper()
	configs := Configs(t, 3)
	servers := make([]*embedded.Server, len(configs))
	var wg sync.WaitGroup
	for i, c := range configs {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), Patience)
			defer cancel()
			s, err := embedded.Start(ctx, c)
			if err != nil {
				t.Errorf("server %s: %v", c.Name, err)
				return
			}
			servers[i] = s
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, s := range servers {
			if s != nil {
				wg.Go(s.Stop)
			}
		}
		wg.Wait()
	})
	if t.Failed() {
		t.FailNow()
	}
	return servers
}

func start(t testing.TB, c embedded.Config) *embedded.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	s, err := embedded.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Configs returns the configurations of n servers that are one cluster on loopback
// ports that were free, with files in directories of the test's, and open for
// clients.
func Configs(t testing.TB, n int) []embedded.Config {
	t.Helper()
	ports := ports(t, 2*n)
	var routes []string
	for _, port := range ports[:n] {
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", port))
	}
	configs := make([]embedded.Config, n)
	for i := range configs {
		configs[i] = embedded.Config{
			Name:    fmt.Sprintf("n%d", i),
			Dir:     t.TempDir(),
			Listen:  fmt.Sprintf("127.0.0.1:%d", ports[n+i]),
			Cluster: &embedded.Cluster{Listen: routes[i], Routes: routes, Password: "test"},
		}
	}
	return configs
}

// ports returns free ports, below those that systems give to whoever asks for any: of
// these one might go to another server's clients before it is used.
func ports(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		port := 10000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if tries > 100 {
				t.Fatal(err)
			}
			continue
		}
		defer l.Close()
		ports = append(ports, port)
	}
	return ports
}

// Open returns an engine on a server that is reached by its URL alone, so that it
// is that server's client until it ends. It is closed with the test.
func Open(t testing.TB, url string, c nats.Config) *nats.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := nats.Connect(url, natsgo.IgnoreDiscoveredServers(), natsgo.IgnoreAuthErrorAbort())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e, err := nats.New(ctx, conn, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}
