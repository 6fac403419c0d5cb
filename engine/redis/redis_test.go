package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
)

func TestCaps(t *testing.T) {
	e := open(t, redistest.Start(t).Client(), redis.Config{MaxEntry: 7})
	want := engine.Caps{Durability: engine.Primary, MaxEntry: 7, ContiguousSeq: true, Shared: true, Tags: true, Cluster: true}
	if got := e.Caps(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// What New refuses, and what it says to do.
func TestNewRefuses(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	open(t, client) // so that the layout is known
	refused := func(client goredis.UniversalClient, c redis.Config, remedy string) {
		t.Helper()
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if _, err := redis.New(within, client, c); err == nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%+v: %v, want %q in it", c, err, remedy)
		}
	}
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"a": server.Addr}})
	defer ring.Close()
	refused(nil, redis.Config{}, "NewUniversalClient")
	refused(ring, redis.Config{}, "give a *redis.Client")
	refused(server.Client(func(o *goredis.Options) { o.ReadTimeout = -1 }), redis.Config{}, "set one")
	refused(client, redis.Config{Namespace: "a{b}"}, "without braces")
	refused(client, redis.Config{Namespace: strings.Repeat("x", 65)}, "at most 64")
	refused(client, redis.Config{MaxEntry: -1}, "negative")
	refused(client, redis.Config{MaxEntry: 1 << 30}, "at most 16777216")
	refused(client, redis.Config{Shards: 1025}, "at most 1024")
	refused(client, redis.Config{Shards: 8}, "the same Config.Shards")
	refused(client, redis.Config{Replicas: 1, ReplicaTimeout: time.Minute}, "raise ReadTimeout")
	refused(client, redis.Config{ReplicaTimeout: time.Microsecond}, "at least a millisecond")
	refused(server.Client(func(o *goredis.Options) { o.Addr = "127.0.0.1:1" }), redis.Config{}, "refused")
	other := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{server.Addr}})
	defer other.Close()
	refused(other, redis.Config{}, "cluster support disabled")

	set := func(key, value string) {
		t.Helper()
		if err := client.ConfigSet(ctx, key, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("maxmemory-policy", "allkeys-lru")
	open(t, client) // nothing is discarded without a limit
	set("maxmemory", "100mb")
	refused(client, redis.Config{}, "set noeviction")
	open(t, client, redis.Config{AllowEviction: true})
	set("maxmemory-policy", "noeviction")
	open(t, client)
	open(t, client, redis.Config{Namespace: "other", Shards: 8})
}

func TestClusterNeedsItsClient(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	if _, err := redis.New(ctx, servers[0].Client()); err == nil || !strings.Contains(err.Error(), "NewClusterClient") {
		t.Errorf("New on one node: %v", err)
	}
	client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{servers[0].Addr}, RouteRandomly: true})
	defer client.Close()
	if _, err := redis.New(ctx, client); err == nil || !strings.Contains(err.Error(), "without ReadOnly") {
		t.Errorf("New on replicas: %v", err)
	}

	// The shards are spread over the masters.
	node := servers[0].Client()
	per := map[uint16]int{}
	for _, tag := range redis.Keys(16) {
		slot := must[int64](t)(node.ClusterKeySlot(ctx, "comet{"+tag+"}m:1:a/b").Result())
		if int64(redis.Slot(tag)) != slot {
			t.Fatalf("tag %s: slot %d, the server says %d", tag, redis.Slot(tag), slot)
		}
		per[uint16(slot)/5462]++
	}
	for third, n := range per {
		if n < 5 || n > 6 {
			t.Errorf("%d of 16 shards are in third %d of the slots", n, third)
		}
	}
}

// Two engines of one server with namespaces of their own know nothing of each other.
func TestNamespaces(t *testing.T) {
	client := redistest.Start(t).Client()
	a, b := open(t, client), open(t, client, redis.Config{Namespace: "other"})
	genesis := ensure(t, a, engine.Spec{})
	_, err := b.Tail(ctx, chat)
	want(t, err, engine.ErrNoChannel)
	ensure(t, b, engine.Spec{Size: 5})
	r := watch(t, b)
	send(t, a, "a")
	expect(t, a, genesis, "a")
	hears(t, b, r)
	if r.offered("a") {
		t.Error("an entry of another namespace was offered")
	}
}

// IDs are known for two to four minutes, and nothing else of a log has a time to live
// that asked for none.
func TestTimesToLive(t *testing.T) {
	client := redistest.Start(t).Client()
	e := open(t, client)
	ensure(t, e, engine.Spec{})
	must[[]engine.Position](t)(e.Append(ctx, chat, engine.Item{ID: "id"}))
	for _, key := range must[[]string](t)(client.Keys(ctx, "comet{*}*:*/chat").Result()) {
		ttl := must[time.Duration](t)(client.PTTL(ctx, key).Result())
		if _, kind, _ := strings.Cut(key, "}"); kind[0] == 'i' {
			if ttl < 2*time.Minute-time.Second || ttl > 4*time.Minute {
				t.Errorf("%s lives for %v", key, ttl)
			}
		} else if ttl >= 0 {
			t.Errorf("%s lives for %v", key, ttl)
		}
	}
}

func TestIDsAreBounded(t *testing.T) {
	e := open(t, redistest.Start(t).Client(), redis.Config{MaxIDs: 3})
	genesis := ensure(t, e, engine.Spec{})
	item := func(id, data string) engine.Item { return engine.Item{ID: id, Data: []byte(data)} }
	must[[]engine.Position](t)(e.Append(ctx, chat, item("a", "A"), item("b", "B"), item("c", "C")))
	_, err := e.Append(ctx, chat, item("", "no ID"), item("d", "D"))
	want(t, err, engine.ErrUnavailable)
	must[[]engine.Position](t)(e.Append(ctx, chat, item("b", "again"), item("", "no ID")))
	expect(t, e, genesis, "A", "B", "C", "no ID")
}

// Watches that come and go while the connection is cut: the last to come hear, and
// when all have gone the server has no subscription left.
func TestWatchesComeAndGo(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	e, other := open(t, client), open(t, server.Client())
	var names []engine.Name
	for i := range 5 {
		names = append(names, engine.Name{Prefix: "app", Channel: fmt.Sprint("c", i)})
		must[engine.Info](t)(e.Ensure(ctx, names[i], engine.Spec{}))
	}
	ensure(t, e, engine.Spec{Size: 10000})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range 300 {
				stop, err := e.Watch(ctx, names[rng.IntN(len(names))], &recorder{})
				if errors.Is(err, engine.ErrUnavailable) { // cut
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					t.Errorf("watch: %v", err)
					return
				}
				if rng.IntN(3) > 0 {
					time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
				}
				stop()
			}
		})
	}
	for range 6 {
		time.Sleep(50 * time.Millisecond)
		client.Do(ctx, "client", "kill", "type", "pubsub")
	}
	wg.Wait()
	r := &recorder{}
	var stop func()
	redistest.Until(t, "the feed is there again", func() bool {
		var err error
		stop, err = e.Watch(ctx, chat, r)
		return err == nil
	})
	hears(t, other, r)
	stop()
	redistest.Until(t, "no channel of a log is subscribed to", func() bool {
		return len(must[[]string](t)(client.PubSubChannels(ctx, "comet{*}f:*").Result())) == 0
	})
}

// What is being asked while the connection is cut is unknown at once, not when the
// context ends.
func TestAskIsCut(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	a, b := open(t, client), open(t, server.Client())
	n := engine.Node{Prefix: "app", ID: "b"}
	heard := make(chan struct{}, 1)
	stop := must[func()](t)(b.Serve(ctx, n, func(ctx context.Context, request []byte) []byte {
		if string(request) == "hold" {
			heard <- struct{}{}
			<-ctx.Done()
		}
		return request
	}))
	defer stop()
	outcome := make(chan error, 1)
	go func() {
		_, err := a.Ask(ctx, n, []byte("hold"))
		outcome <- err
	}()
	<-heard
	if err := client.Do(ctx, "client", "kill", "type", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	want(t, <-outcome, engine.ErrUnknown)
	redistest.Until(t, "the node hears again", func() bool {
		reply, err := a.Ask(ctx, n, []byte("go"))
		return err == nil && string(reply) == "go"
	})
}

// A log that is watched does not expire, and one whose server was away for longer than
// its life has.
func TestExpiryWhileWatched(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	e := open(t, client)
	spec := engine.Spec{IdleTTL: 300 * time.Millisecond}
	genesis := ensure(t, e, spec)
	r := watch(t, e)
	time.Sleep(1500 * time.Millisecond)
	if tail := must[engine.Position](t)(e.Tail(ctx, chat)); tail != genesis || len(r.told()) != 0 {
		t.Fatalf("tail %v, told %q", tail, r.told())
	}
	server.Pause()
	time.Sleep(time.Second)
	server.Resume()
	redistest.Until(t, "the watcher is told", func() bool { return r.dirty(engine.ErrNoChannel) })
	if now := ensure(t, e, spec); now.Epoch == genesis.Epoch {
		t.Errorf("the epoch is %q again", now.Epoch)
	}
}
