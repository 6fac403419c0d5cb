package faults

import (
	"context"
	"errors"
	"testing"
	"time"

	storage "github.com/gofiber/storage/redis/v3"
	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
	"github.com/ocsigo/comet/faults/internal/app"
	"github.com/ocsigo/comet/faults/internal/storm"
)

// onRedis has three nodes of an app under load, breaks what they stand on, and judges
// what readers heard. Each node has one client, for its engine and its sessions.
func onRedis(t *testing.T, client func() goredis.UniversalClient, breakIt func(), config ...redis.Config) *storm.Storm {
	t.Helper()
	names := channels(6)
	var nodes []*app.Node
	for range 3 {
		nodes = append(nodes, startOnRedis(t, client(), names, config...))
	}
	s := storm.Start(t, storm.Config{
		Nodes: addrs(nodes), Channels: names, Senders: 12, Pause: 5 * time.Millisecond,
		Tabs: 24, Cut: 500 * time.Millisecond, Mine: true, Seed: seed(t),
	})
	s.Acked(500)
	breakIt()
	s.Acked(500)
	s.Judge()
	return s
}

func startOnRedis(t *testing.T, client goredis.UniversalClient, names []string, config ...redis.Config) *app.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log, err := redis.New(ctx, client, config...)
	must(t, "an engine", err)
	node, err := app.Start(app.Config{Engine: log, Storage: storage.NewFromConnection(client), Channels: names, Size: 100})
	must(t, "a node", err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(node.Stop(ctx), log.Close(ctx)); err != nil {
			t.Errorf("stop a node: %v", err)
		}
	})
	return node
}

// holes counts what the tabs were told, by reason.
func holes(s *storm.Storm, names []string) map[string]int {
	count := map[string]int{}
	for _, tb := range s.Tabs() {
		for _, name := range names {
			for _, h := range tb.Heard(name) {
				if h.Hole != "" {
					count[h.Hole]++
				}
			}
		}
	}
	return count
}

// A server that keeps nothing comes back empty: every reader is told.
func TestRedisKilledAndEmpty(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := onRedis(t, func() goredis.UniversalClient { return server.Client() }, func() {
		server.Kill()
		server.Restart()
	})
	everybodyReset(t, s)
}

// A server with a file syncs it every second, and may lose what it acknowledged since.
func TestRedisRestarted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes")
	onRedis(t, func() goredis.UniversalClient { return server.Client() }, func() {
		server.Kill()
		server.Restart()
	})
}

// A replica that was stalled does not have what its primary acknowledged last, and is
// promoted: the numbers of what was lost are given to other values.
func TestRedisStalledReplicaPromoted(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	sentinel := redistest.StartSentinel(t, primary)
	onRedis(t, func() goredis.UniversalClient { return redistest.FailoverClient(t, sentinel) }, func() {
		replica.Pause()
		primary.CutReplicas()
		time.Sleep(300 * time.Millisecond) // in which it falls behind
		primary.Kill()
		replica.Resume()
	})
}

// What the stalled replica does not have, no reader has heard either: the live feed of every node was deaf. All are before
// the fork, where no number and no tag tells them anything, and have to be told.
func TestRedisLostUnheard(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	proxy := redistest.StartProxy(t, primary)
	s := onRedis(t, func() goredis.UniversalClient {
		return primary.Client(func(o *goredis.Options) { o.Addr = proxy.Addr })
	}, func() {
		proxy.Deafen()
		replica.Pause()
		primary.CutReplicas()
		time.Sleep(300 * time.Millisecond) // in which it falls behind
		primary.Pause()                    // or the replica would have it all before it is promoted
		replica.Resume()
		replica.Promote()
		proxy.Forward(replica)
		primary.Kill()
	})
	everybodyReset(t, s)
}

// A server that saves its memory now and then comes back with what it had then, and nobody heard what came after.
func TestRedisRestartedFromOldSnapshot(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	s := onRedis(t, func() goredis.UniversalClient {
		return server.Client(func(o *goredis.Options) { o.Addr = proxy.Addr })
	}, func() {
		proxy.Deafen()
		must(t, "save", server.Client().Save(t.Context()).Err())
		time.Sleep(300 * time.Millisecond)
		server.Kill()
		server.Restart()
	})
	everybodyReset(t, s)
}

// everybodyReset demands that every reader of every channel was told of a reset.
func everybodyReset(t *testing.T, s *storm.Storm) {
	t.Helper()
	if n := holes(s, channels(6))["reset"]; n < 24*3 {
		t.Errorf("%d readers of channels were told of the reset, want all %d", n, 24*3)
	}
}

// The connections of the live feed are killed again and again: nothing is missed.
func TestRedisFeedKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := onRedis(t, func() goredis.UniversalClient { return server.Client() }, func() {
		for range 20 {
			must(t, "client kill", server.Client().Do(t.Context(), "client", "kill", "type", "pubsub").Err())
			time.Sleep(100 * time.Millisecond)
		}
	})
	if n := holes(s, channels(6))["reset"]; n > 0 {
		t.Errorf("%d readers were told of a reset, and there was none", n)
	}
}
