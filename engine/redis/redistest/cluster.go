package redistest

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// StartCluster starts a Redis Cluster of n masters without replicas, at least three,
// and waits until it serves every slot.
func StartCluster(tb testing.TB, n int, args ...string) []*Server {
	tb.Helper()
	cli := Program(tb, "redis-cli")
	servers := make([]*Server, n)
	create := []string{"--cluster", "create"}
	for i := range servers {
		servers[i] = Start(tb, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}, args...)...)
		create = append(create, servers[i].Addr)
	}
	if out, err := exec.Command(cli, append(create, "--cluster-yes")...).CombinedOutput(); err != nil {
		tb.Fatalf("redis-cli --cluster create: %v\n%s", err, out)
	}
	for _, s := range servers {
		c := s.Client()
		Until(tb, "the cluster serves every slot", func() bool {
			text, err := c.ClusterInfo(context.Background()).Result()
			return err == nil && strings.Contains(text, "cluster_state:ok")
		})
	}
	return servers
}

// ClusterClient returns a client of the cluster of servers, which is closed at the end
// of the test.
func ClusterClient(tb testing.TB, servers []*Server) *goredis.ClusterClient {
	o := &goredis.ClusterOptions{}
	for _, s := range servers {
		o.Addrs = append(o.Addrs, s.Addr)
	}
	c := goredis.NewClusterClient(o)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}
