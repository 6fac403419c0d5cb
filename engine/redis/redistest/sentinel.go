package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// SentinelMaster is the name of the primary that StartSentinel watches.
const SentinelMaster = "primary"

// StartSentinel starts one Sentinel that may decide alone, and waits until it knows
// the replica of primary.
func StartSentinel(tb testing.TB, primary *Server) *Server {
	tb.Helper()
	host, port, _ := net.SplitHostPort(primary.Addr)
	file := filepath.Join(tb.TempDir(), "sentinel.conf")
	conf := fmt.Sprintf("sentinel monitor %[1]s %s %s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n", SentinelMaster, host, port)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	Program(tb, "redis-server")
	s := newServer(tb)
	s.file, s.args = file, []string{"--sentinel"}
	s.Restart()
	tb.Cleanup(s.Kill)
	c := s.Client()
	Until(tb, "the sentinel knows the replica", func() bool {
		text, err := c.Info(context.Background(), "sentinel").Result()
		return err == nil && strings.Contains(text, "status=ok") && strings.Contains(text, "slaves=1")
	})
	return s
}

// FailoverClient returns a client of the primary that a Sentinel names, which is closed
// at the end of the test.
func FailoverClient(tb testing.TB, sentinel *Server) *goredis.Client {
	c := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: SentinelMaster, SentinelAddrs: []string{sentinel.Addr}})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}
