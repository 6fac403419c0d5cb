package nats

import (
	"fmt"
	"time"
)

// Config says how an Engine uses JetStream. A field of 0 means its default. All
// nodes of an app, and all versions of it that run at once, have the same
// Namespace, Replicas, Memory and Shards: New refuses what contradicts the
// streams that exist, and changes none.
type Config struct {
	// Namespace begins the names of all streams and subjects of the Engine: 1 to 32
	// of the characters a-z, 0-9 and the hyphen. Engines with different ones share
	// nothing. Default "comet".
	Namespace string
	// Replicas is how many servers keep each stream: 1, 3 or 5. With 1, what is
	// acknowledged is on one server. Default 1.
	Replicas int
	// Memory keeps the streams in the servers' memory instead of files. A server
	// that restarts alone with Replicas 1 has then forgotten all.
	Memory bool
	// Shards is over how many streams the logs of one size class are spread, 1 to
	// 64. One stream has one leader, which is the ceiling of its appends. Default 1.
	Shards int
	// MaxEntry is the largest Data of an entry in bytes. Default, and at most: what
	// the server takes in one message (its max_payload, usually 1 MiB) less 4 KiB
	// for headers.
	MaxEntry int
	// Timeout bounds what a call waits for the servers when its context has no
	// deadline, and an attempt to store an item with an ID again. Default 10 s.
	Timeout time.Duration
}

const (
	maxShards      = 64
	headerRoom     = 4 << 10
	defaultTimeout = 10 * time.Second
)

// normal returns c with its defaults.
func (c Config) normal(maxPayload int64) (Config, error) {
	if c.Namespace == "" {
		c.Namespace = "comet"
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.Shards == 0 {
		c.Shards = 1
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	limit := int(maxPayload) - headerRoom
	if c.MaxEntry == 0 {
		c.MaxEntry = limit
	}
	switch {
	case !validNamespace(c.Namespace):
		return c, fmt.Errorf("engine/nats: Namespace %.40q, want 1 to 32 characters of a-z, 0-9 and the hyphen", c.Namespace)
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return c, fmt.Errorf("engine/nats: Replicas %d, want 1, 3 or 5", c.Replicas)
	case c.Shards < 1 || c.Shards > maxShards:
		return c, fmt.Errorf("engine/nats: Shards %d, want 1 to %d", c.Shards, maxShards)
	case c.MaxEntry < 1 || c.MaxEntry > limit:
		return c, fmt.Errorf("engine/nats: MaxEntry %d, want 1 to %d: the server's max_payload is %d and headers need %d of it", c.MaxEntry, limit, maxPayload, headerRoom)
	case c.Timeout < 0:
		return c, fmt.Errorf("engine/nats: Timeout %v is negative; 0 is the default", c.Timeout)
	}
	return c, nil
}

func validNamespace(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 32
}
