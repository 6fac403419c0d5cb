// Package redis is an engine on Redis or Valkey, for apps of several processes: a
// driver of the contract in package engine, and a Cluster of it.
//
// It needs Redis 7.0 or newer: one server, a Sentinel group, or a Redis Cluster. The
// client is the app's, and may serve its session store too.
//
// # Where a log is
//
// All keys of a log have one hash tag, so that one Lua script works on them:
//
//	comet{tag}m:3:app/chat    hash: life, sequence and tag of the newest entry, spec, bytes
//	comet{tag}s:3:app/chat    stream: the entries, as ID sequence-tag
//	comet{tag}i0:… and i1:…   hashes: item IDs of the last two to four minutes
//	comet{tag}f:3:app/chat    pub/sub channel: the live feed
//
// with the namespace, the length of the prefix, the prefix and the channel as they
// are. There are Config.Shards tags; a channel's is the hash of its name.
//
// An append is one script: it checks everything, adds to the stream, trims it by
// number and by bytes, moves the meta hash, and publishes each entry. Redis copies its
// writes to replicas and to the append-only file as one. A read is one script that
// also makes sure that the server may be written to, and so is the primary.
//
// # Positions
//
// Sequences are contiguous from 1, the genesis is 0. The epoch is eight random
// characters for every life of a log, and eight of its server's replication ID, which
// is another after every start and every promotion of a server. What was
// acknowledged before may be missing then, so a position from before is ErrEpoch, also
// of who never heard what is missing. It costs the server an INFO in every script.
// Config.Lossless, an app's promise that its servers lose nothing, leaves that half out.
//
// The tag of an entry is random and stands in the entry after it, too:
// a position is complete if the next entry is kept, and is of this log's history if
// that one names its tag. So numbers that were given away again are ErrEpoch for
// who has the lost ones, also when the log has grown past them. A log of which Redis
// evicted a part is no log: ErrNoChannel, and another epoch afterwards.
//
// # The live feed
//
// A handle has a few pub/sub connections that all its watches share. What is cut is
// made anew, with a pause from 20 ms to a second, and every watch is then told Dirty.
// A message to itself finds a connection that is alive and deaf (Config.Probe).
//
// # What cannot be promised
//
// Redis answers before its replicas have an entry, and an election does not ask what
// was acknowledged: Durability is Primary. A failover may lose the end of a log, a
// Delete, or a whole new log, all of which were acknowledged; every reader hears of it
// (full, reason reset) and goes on with what is kept. So does everyone after a restart
// or a failover that lost nothing, because no server can prove that; when the first
// replica comes to a primary that has none, or had none for its repl-backlog-ttl; and
// when a hash slot moves to another master. A memory-only server
// loses everything with its process, one that syncs every second the last second with
// its machine. A primary that is cut off from its replicas and does not know that
// another was elected takes appends that will be lost; min-replicas-to-write bounds
// that. A machine that is put back to a snapshot of its running memory is the same
// process, and nobody is told.
//
// # Errors
//
// ErrUnavailable says that nothing was done, or, of calls that may be made twice, that
// they may be made again. An Append, a Delete, an Ask or a SetRecord whose answer was
// lost is ErrUnknown and is never sent a second time, whatever the client's MaxRetries
// says. A call whose context ends returns at once; its command may be under way until the
// client's ReadTimeout, and holds a connection of the pool until then.
package redis
