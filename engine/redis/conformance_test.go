package redis_test

import (
	"context"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
	"github.com/ocsigo/comet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

var ctx = context.Background()

func open(t testing.TB, client goredis.UniversalClient, config ...redis.Config) *redis.Engine {
	t.Helper()
	e, err := redis.New(ctx, client, config...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		within, cancel := context.WithTimeout(ctx, redistest.Patience)
		defer cancel()
		if err := e.Close(within); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestConformance(t *testing.T) {
	server := redistest.Start(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Cluster {
		var c enginetest.Cluster
		for range 3 {
			c.Handles = append(c.Handles, open(t, server.Client()))
		}
		return c
	})
}

// The same on a Redis Cluster of three masters, through one client for all handles.
func TestConformanceOnCluster(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	client := redistest.ClusterClient(t, servers)
	enginetest.Run(t, func(t *testing.T) enginetest.Cluster {
		return enginetest.Cluster{Handles: []engine.Engine{open(t, client), open(t, client)}}
	})
}
