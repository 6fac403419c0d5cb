package faults

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	storage "github.com/gofiber/storage/redis/v3"
	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
	"github.com/ocsigo/comet/faults/internal/app"
	"github.com/ocsigo/comet/faults/internal/proc"
	"github.com/ocsigo/comet/faults/internal/storm"
)

// preforkConfig is the config of the role prefork: an app under Fiber's Prefork, whose
// children run the same role.
type preforkConfig struct {
	Redis, Addr string
	Channels    []string
}

func servePrefork(config []byte, ready func(string), _ <-chan os.Signal) error {
	var c preforkConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	if fiber.IsChild() {
		go endWithMaster()
	}
	client := goredis.NewClient(&goredis.Options{Addr: c.Redis})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log, err := redis.New(ctx, client)
	if err != nil {
		return err
	}
	ready(c.Addr)
	return app.Prefork(app.Config{Engine: log, Storage: storage.NewFromConnection(client), Addr: c.Addr, Channels: c.Channels, Size: 1000})
}

// endWithMaster ends a child whose master was killed. Fiber does so where an orphan's
// parent becomes process 1, which it does not under every supervisor.
func endWithMaster() {
	for master := os.Getppid(); os.Getppid() == master; {
		time.Sleep(100 * time.Millisecond)
	}
	os.Exit(1)
}

// TestPrefork: the children of Fiber's Prefork are nodes of one app. A tab comes to any
// of them each time it connects, and so does every POST.
func TestPrefork(t *testing.T) {
	server := redistest.Start(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, "a port", err)
	c := preforkConfig{Redis: server.Addr, Addr: ln.Addr().String(), Channels: channels(6)}
	must(t, "free it", ln.Close())
	proc.Start(t, "prefork", c, "")
	until(t, "a child serves", func() bool {
		resp, err := http.Get("http://" + c.Addr + "/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode < 300
	})
	http.DefaultClient.CloseIdleConnections()
	s := storm.Start(t, storm.Config{
		Nodes: func() []string { return []string{c.Addr} }, Channels: c.Channels, Senders: 12, Pause: 10 * time.Millisecond,
		Tabs: 24, Cut: 300 * time.Millisecond, Seed: seed(t),
	})
	s.Acked(1000)
	s.Judge()
	if n := holes(s, c.Channels); len(n) > 0 {
		t.Errorf("tabs were told of %v, and nothing was missing", n)
	}
}
