package redis

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/ocsigo/comet/engine"
)

// keyspace makes the keys of one namespace. A key is
//
//	namespace{tag}kind:length:prefix/channel
//
// where tag is the hash tag of the name's shard and length the bytes of prefix, so
// that two names never have one key and no byte of a name needs an escape: the hash
// tag of a key is its first pair of braces, and the namespace has none.
type keyspace struct {
	namespace string
	tags      []string
}

// newKeyspace has one hash tag for each of n shards, the i-th in the i-th of n equal
// ranges of the hash slots: the masters of a cluster own ranges, too.
func newKeyspace(namespace string, n int) keyspace {
	k := keyspace{namespace: namespace, tags: make([]string, n)}
	for found, i := 0, 0; found < n; i++ {
		tag := strconv.Itoa(i)
		if s := int(slot(tag)) * n / slots; k.tags[s] == "" {
			k.tags[s] = tag
			found++
		}
	}
	return k
}

const slots = 16384 // of a Redis Cluster

// slot is Redis Cluster's hash slot of a tag: CRC16 (XMODEM) modulo 16384.
func slot(tag string) uint16 {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % slots
}

// shard returns the shard of a name by FNV-1a.
func (k keyspace) shard(n engine.Name) int {
	h := uint32(2166136261)
	add := func(s string) {
		for i := range len(s) {
			h = (h ^ uint32(s[i])) * 16777619
		}
	}
	add(n.Prefix)
	add("\xff") // in no valid UTF-8
	add(n.Channel)
	return int(h % uint32(len(k.tags)))
}

func (k keyspace) key(shard int, kind, prefix, rest string) string {
	return k.namespace + "{" + k.tags[shard] + "}" + kind + ":" + strconv.Itoa(len(prefix)) + ":" + prefix + "/" + rest
}

// logKeys are those of one log, all in one hash slot.
type logKeys struct {
	shard  int
	meta   string // hash: what Ensure and Tail answer from
	stream string // the entries
	ids    [2]string
	feed   string // the pub/sub channel
}

func (k keyspace) log(n engine.Name) logKeys {
	s := k.shard(n)
	return logKeys{
		shard:  s,
		meta:   k.key(s, "m", n.Prefix, n.Channel),
		stream: k.key(s, "s", n.Prefix, n.Channel),
		ids:    [2]string{k.key(s, "i0", n.Prefix, n.Channel), k.key(s, "i1", n.Prefix, n.Channel)},
		feed:   k.key(s, "f", n.Prefix, n.Channel),
	}
}

// own is a key or a pub/sub channel that is not of a name.
func (k keyspace) own(shard int, what string) string {
	return k.namespace + "{" + k.tags[shard] + "}" + what
}

const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"

// random returns n characters of 0-9 and a-z, over five bits of chance in each.
func random(n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(base36[rand.IntN(len(base36))])
	}
	return b.String()
}

// newTag returns the tag of an entry: never 0, which is the genesis's.
func newTag() uint32 {
	for {
		if t := rand.Uint32(); t != 0 {
			return t
		}
	}
}
