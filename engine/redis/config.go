package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Config says how an Engine uses its server. A field of 0 means its default.
type Config struct {
	// Namespace begins every key and every pub/sub channel, so that apps may share a
	// server: at most 64 bytes, without braces. Default "comet".
	Namespace string

	// MaxEntry is the largest Data of an entry in bytes, at most 16 MiB. Default 1 MiB.
	MaxEntry int

	// MaxIDs is how many item IDs a channel remembers. Above it an Append with a new
	// ID is ErrUnavailable until older ones have expired, because forgetting one
	// early could store an item twice. Default 131072, which is a steady rate of 546
	// items with IDs a second in one channel.
	MaxIDs int

	// Replicas lets an Append succeed only once so many replicas have its entries
	// (WAIT). One that is not confirmed within ReplicaTimeout is ErrUnknown: it is
	// stored on the primary, and may be lost in a failover. It makes a loss less
	// likely and not impossible, because no election of Redis knows what was
	// confirmed: Caps.Durability stays Primary. Default 0, which waits for none.
	Replicas int

	// ReplicaTimeout is below the client's ReadTimeout. Default 1 s.
	ReplicaTimeout time.Duration

	// Shards is into how many hash slots the channels of a cluster are divided, and so
	// the most masters that share the work; each has a connection for the live feed.
	// At most 1024. All Engines of a namespace have the same number, which the server
	// remembers; another is an error of New. Default 16.
	Shards int

	// Feeds is the number of connections for the live feed to a server that is no
	// cluster. Default 2.
	Feeds int

	// Probe is how often a message to itself shows whether a connection of the live
	// feed still hears, and how long it may then be silent until it is given up and made
	// anew. Default 5 s.
	Probe time.Duration

	// Lossless is the app's promise that its servers never lose what they acknowledged:
	// not in a restart (appendfsync always, and a disk that keeps what it was given),
	// and not in a failover (there is none, or the app's own means make sure of it,
	// which WAIT and Replicas do not). Then a restart is not told to readers. Without
	// it every start and every promotion of a server is, as full, reason reset, because
	// something may be missing that a reader has not heard yet. Where the promise does
	// not hold, such a reader has a hole that nobody tells it. All Engines of a namespace
	// have to make it, or none; the server remembers which.
	Lossless bool

	// AllowEviction accepts a server that discards keys when its memory is full. A log
	// that lost a part is then gone as a deleted one is, and its readers hear full,
	// reason reset; an item ID that was discarded is forgotten, so that a repeated item
	// may be stored twice.
	AllowEviction bool
}

const (
	maxNamespace = 64
	maxMaxEntry  = 16 << 20
	maxShards    = 1024
)

func (c Config) normal() (Config, error) {
	if c.MaxEntry < 0 || c.MaxIDs < 0 || c.Replicas < 0 || c.ReplicaTimeout < 0 || c.Shards < 0 || c.Feeds < 0 || c.Probe < 0 {
		return c, fmt.Errorf("%+v: no field may be negative; 0 is the default", c)
	}
	if len(c.Namespace) > maxNamespace || strings.ContainsAny(c.Namespace, "{}") {
		return c, fmt.Errorf("Config.Namespace %.80q: at most %d bytes without braces, which begin a hash tag, are allowed", c.Namespace, maxNamespace)
	}
	if c.MaxEntry > maxMaxEntry {
		return c, fmt.Errorf("Config.MaxEntry %d: at most %d bytes are allowed, because a server ends by default a subscriber that has 32 MiB before it", c.MaxEntry, maxMaxEntry)
	}
	if c.Shards > maxShards {
		return c, fmt.Errorf("Config.Shards %d: at most %d are allowed", c.Shards, maxShards)
	}
	if c.Namespace == "" {
		c.Namespace = "comet"
	}
	for _, field := range []struct {
		value *int
		def   int
	}{{&c.MaxEntry, 1 << 20}, {&c.MaxIDs, 1 << 17}, {&c.Shards, 16}, {&c.Feeds, 2}} {
		if *field.value == 0 {
			*field.value = field.def
		}
	}
	if c.ReplicaTimeout == 0 {
		c.ReplicaTimeout = time.Second
	}
	if c.Probe == 0 {
		c.Probe = 5 * time.Second
	}
	if c.ReplicaTimeout < time.Millisecond {
		return c, fmt.Errorf("Config.ReplicaTimeout %v: at least a millisecond, which is what WAIT counts in", c.ReplicaTimeout)
	}
	return c, nil
}

// checkClient refuses a client that cannot keep the contract, and says whether it is
// one of a cluster.
func checkClient(client goredis.UniversalClient, c Config) (cluster bool, err error) {
	var readTimeout time.Duration
	switch client := client.(type) {
	case nil:
		return false, errors.New("the client is nil: give one of redis.NewUniversalClient")
	case *goredis.Client:
		readTimeout = client.Options().ReadTimeout
	case *goredis.ClusterClient:
		cluster = true
		o := client.Options()
		readTimeout = o.ReadTimeout
		if o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return false, errors.New("the cluster client subscribes at replicas, where nobody sees who listens: give one without ReadOnly, RouteByLatency and RouteRandomly")
		}
	default:
		return false, fmt.Errorf("a %T cannot subscribe where a channel's keys are: give a *redis.Client (also of NewFailoverClient) or a *redis.ClusterClient", client)
	}
	if readTimeout <= 0 {
		return false, errors.New("the client has no ReadTimeout, so that a server that stops answering would hold its connections for ever: set one")
	}
	if c.Replicas > 0 && c.ReplicaTimeout >= readTimeout {
		return false, fmt.Errorf("Config.ReplicaTimeout %v is not below the client's ReadTimeout %v: raise ReadTimeout", c.ReplicaTimeout, readTimeout)
	}
	return cluster, nil
}

// checkServers asks the server, or every master of a cluster, whether the engine can
// work on it.
func checkServers(ctx context.Context, client goredis.UniversalClient, c Config, cluster bool) error {
	check := func(ctx context.Context, node *goredis.Client) error {
		text, err := node.Info(ctx).Result()
		if err == nil {
			err = checkInfo(parseInfo(text), c, cluster)
		}
		if err != nil {
			return fmt.Errorf("server %s: %w", node.Options().Addr, err)
		}
		return nil
	}
	switch client := client.(type) {
	case *goredis.ClusterClient:
		return client.ForEachMaster(ctx, check)
	case *goredis.Client:
		return check(ctx, client)
	}
	return nil
}

func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[key] = value
		}
	}
	return info
}

func checkInfo(info map[string]string, c Config, cluster bool) error {
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 7 {
		return fmt.Errorf("its version is %q: Redis 7.0 or newer, or Valkey, is needed", version)
	}
	if role := info["role"]; role != "" && role != "master" {
		return fmt.Errorf("it is a %s: give the primary's address, or redis.NewFailoverClient with the sentinels'", role)
	}
	switch enabled := info["cluster_enabled"] == "1"; {
	case enabled && !cluster:
		return errors.New("it is a node of a Redis Cluster: give a client of redis.NewClusterClient")
	case cluster && !enabled:
		return errors.New("it is not a node of a Redis Cluster: give a client of redis.NewClient")
	}
	if policy := info["maxmemory_policy"]; info["maxmemory"] != "0" && policy != "" && policy != "noeviction" && !c.AllowEviction {
		return fmt.Errorf("its maxmemory-policy is %s, which discards parts of logs when memory is full: set noeviction, or accept that by Config.AllowEviction", policy)
	}
	if replicas, _ := strconv.Atoi(info["connected_slaves"]); replicas < c.Replicas {
		return fmt.Errorf("it has %d replicas, and Config.Replicas asks for %d: no Append could succeed", replicas, c.Replicas)
	}
	return nil
}

// checkLayout compares what decides where a channel's keys are, and what its positions
// are, with the other Engines of the namespace, by a key that the first of them sets.
func checkLayout(ctx context.Context, client goredis.UniversalClient, c Config, keys keyspace) error {
	const format = 2
	key := keys.namespace + "{layout}"
	want := fmt.Sprintf("format %d shards %d", format, len(keys.tags))
	if c.Lossless {
		want += " lossless"
	}
	if err := client.SetNX(ctx, key, want, 0).Err(); err != nil {
		return err
	}
	have, err := client.Get(ctx, key).Result()
	if err == nil && have != want {
		err = fmt.Errorf("the namespace %q has %q there, and this Engine asks for %q: give all the same Config.Shards and Config.Lossless, or another Config.Namespace; to change them stop all Engines and delete the key %s", keys.namespace, have, want, key)
	}
	return err
}
