package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
)

// Engine is an engine.Engine and an engine.Cluster on Redis. Make it with New.
type Engine struct {
	client  goredis.UniversalClient
	config  Config
	cluster bool // the server is a Redis Cluster
	keys    keyspace
	scripts scripts
	feeds   []*feed
	keeper  *keeper
	inbox   *inbox

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running int           // calls and goroutines that Close waits for
	idle    chan struct{} // closed when closed and running is 0
}

var (
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Cluster = (*Engine)(nil)
)

// New returns an Engine on the server, the Sentinel group or the Redis Cluster of
// client, which stays the caller's: the app may use it for other things, and closes
// it after the Engine. New asks the server whether it can serve and returns an error
// that says the remedy if it cannot, or if it cannot be reached.
func New(ctx context.Context, client goredis.UniversalClient, config ...Config) (*Engine, error) {
	e, err := open(ctx, client, config)
	if err != nil {
		return nil, fmt.Errorf("engine/redis: New: %w", err)
	}
	return e, nil
}

func open(ctx context.Context, client goredis.UniversalClient, config []Config) (*Engine, error) {
	var c Config
	if len(config) > 0 {
		c = config[0]
	}
	c, err := c.normal()
	if err != nil {
		return nil, err
	}
	cluster, err := checkClient(client, c)
	if err != nil {
		return nil, err
	}
	if err := checkServers(ctx, client, c, cluster); err != nil {
		return nil, err
	}
	keys := newKeyspace(c.Namespace, c.Shards)
	if err := checkLayout(ctx, client, c, keys); err != nil {
		return nil, err
	}
	e := &Engine{client: client, config: c, cluster: cluster, keys: keys, idle: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	feeds, publish := min(c.Feeds, c.Shards), "PUBLISH"
	if cluster { // what one connection subscribes to must be of one slot
		feeds, publish = c.Shards, "SPUBLISH"
	}
	e.scripts = newScripts(publish, c.Lossless)
	for i := range feeds {
		e.feeds = append(e.feeds, newFeed(e, i))
	}
	e.keeper = newKeeper(e)
	e.inbox = newInbox(e)
	if err := e.trial(ctx); err != nil {
		e.cancel()
		return nil, fmt.Errorf("a trial of every script: %w; the user's ACL has to allow what engine/redis/README.md lists", err)
	}
	return e, nil
}

// trial runs the scripts on a log of its own, so that a command which the server does
// not allow is found now, and not in the middle of a script that has written already.
func (e *Engine) trial(ctx context.Context) error {
	n, node := engine.Name{Prefix: random(16), Channel: "trial"}, engine.Node{Prefix: random(16), ID: "trial"}
	info, err := e.Ensure(ctx, n, engine.Spec{MaxBytes: 1, IdleTTL: time.Second})
	if err != nil {
		return err
	}
	items := []engine.Item{{ID: "1", Data: []byte("1")}, {Data: []byte("2")}} // one is over MaxBytes
	var unconfirmed errReplicas
	if _, err := e.Append(ctx, n, items...); err != nil && !errors.As(err, &unconfirmed) {
		return err // replicas that are late now may be in time later
	}
	if _, err := e.Read(ctx, n, info.Tail, 1); err != nil && !errors.Is(err, engine.ErrTrimmed) {
		return err
	}
	if _, err := e.Last(ctx, n, 1); err != nil {
		return err
	}
	if _, err := e.tails(ctx, []engine.Name{n}, true); err != nil {
		return err
	}
	if err := e.SetRecord(ctx, node, nil, engine.MinTTL); err != nil {
		return err
	}
	if _, err := e.Records(ctx, node.Prefix); err != nil {
		return err
	}
	return errors.Join(e.DropRecord(ctx, node), e.Delete(ctx, n))
}

// Caps reports Primary durability, contiguous sequences, tags, and a feed that may
// lose.
func (e *Engine) Caps() engine.Caps {
	return engine.Caps{
		Durability:    engine.Primary,
		MaxEntry:      e.config.MaxEntry,
		ContiguousSeq: true,
		Shared:        true,
		Tags:          true,
		Cluster:       true,
	}
}

// Ensure implements engine.Engine.
func (e *Engine) Ensure(ctx context.Context, n engine.Name, spec engine.Spec) (engine.Info, error) {
	info, err := e.ensure(ctx, n, spec)
	return info, explain("ensure", n.String(), readError(ctx, err))
}

func (e *Engine) ensure(ctx context.Context, n engine.Name, spec engine.Spec) (engine.Info, error) {
	if err := check(ctx, n); err != nil {
		return engine.Info{}, err
	}
	spec, err := spec.Normal()
	if err != nil {
		return engine.Info{}, err
	}
	k := e.keys.log(n)
	newest := 0
	if spec.Newest {
		newest = 1
	}
	reply, err := call(e, ctx, func() ([]any, error) {
		keys := []string{k.meta, k.stream, k.ids[0], k.ids[1], e.keys.own(k.shard, "fence")}
		return e.run(ctx, e.scripts.ensure, keys,
			k.feed, random(lifeLength), specText(spec), spec.Size, spec.MaxBytes, newest, lifetime(spec.IdleTTL))
	})
	if err != nil {
		return engine.Info{}, err
	}
	tail, err := parseTail(reply)
	if err != nil {
		return engine.Info{}, err
	}
	have, err := parseSpec(text(reply, 3))
	if err != nil {
		return engine.Info{}, err
	}
	info := engine.Info{Spec: have, Tail: tail}
	if have != spec {
		return info, fmt.Errorf("%w: it has %+v, asked for %+v", engine.ErrSpecConflict, have, spec)
	}
	return info, nil
}

// lifeLength makes it unlikely enough, 1 to 10^12, that two lives of one name are
// called the same. With the server's history it is an epoch.
const lifeLength = 8

// Append implements engine.Engine. It stores all items or none.
func (e *Engine) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	if err := check(ctx, n); err != nil {
		return nil, explain("append", n.String(), err)
	}
	positions, err := e.append(ctx, n, items)
	return positions, explain("append", n.String(), writeError(ctx, err))
}

func (e *Engine) append(ctx context.Context, n engine.Name, items []engine.Item) ([]engine.Position, error) {
	for i, item := range items {
		if len(item.Data) > e.config.MaxEntry {
			return nil, fmt.Errorf("%w: item %d has %d bytes, at most %d are allowed (Config.MaxEntry)", engine.ErrTooLarge, i, len(item.Data), e.config.MaxEntry)
		}
		if len(item.ID) > engine.MaxID {
			return nil, fmt.Errorf("%w: the ID of item %d has %d bytes, at most %d are allowed", engine.ErrTooLarge, i, len(item.ID), engine.MaxID)
		}
	}
	k := e.keys.log(n)
	keys := []string{k.meta, k.stream, k.ids[0], k.ids[1], e.keys.own(k.shard, "fence")}
	args := make([]any, 2, 2+3*len(items))
	args[0], args[1] = k.feed, e.config.MaxIDs
	for _, item := range items { // copies: the command may outlive the call
		args = append(args, strings.Clone(item.ID), newTag(), string(item.Data))
	}
	reply, err := call(e, ctx, func() ([]any, error) {
		if e.config.Replicas > 0 {
			return e.runAndWait(ctx, e.scripts.append, keys, args...)
		}
		return e.runOnce(ctx, e.scripts.append, keys, args...)
	})
	if err != nil {
		return nil, err
	}
	switch text(reply, 0) {
	case "ok":
		return parsePlaces(reply, len(items))
	case "none":
		return nil, engine.ErrNoChannel
	case "large":
		return nil, fmt.Errorf("%w: item %s is over the %s bytes of the channel's MaxBytes", engine.ErrTooLarge, text(reply, 1), text(reply, 2))
	case "ids":
		return nil, fmt.Errorf("%w: the channel remembers %s item IDs of the last minutes, at most %d are allowed: append later, or without IDs, or raise Config.MaxIDs", engine.ErrUnavailable, text(reply, 1), e.config.MaxIDs)
	}
	return nil, errReply(reply)
}

// Read implements engine.Engine. With max < 1 it returns at most 1000 entries.
func (e *Engine) Read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	batch, err := e.read(ctx, n, after, max)
	return batch, explain("read", n.String(), readError(ctx, err))
}

// Numbers of a script are exact up to here.
const maxSeq = 1 << 53

func (e *Engine) read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	if err := check(ctx, n); err != nil {
		return engine.Batch{}, err
	}
	if max < 1 {
		max = 1000
	}
	seq := min(after.Seq, maxSeq)
	reply, err := e.query(ctx, n, e.scripts.read, strings.Clone(after.Epoch), seq, seq+1, min(max, 1<<31-1))
	if err != nil {
		return engine.Batch{}, err
	}
	log, err := parseLog(reply)
	if err != nil {
		return engine.Batch{}, err
	}
	return log.after(after)
}

// Last implements engine.Engine.
func (e *Engine) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	batch, err := e.last(ctx, n, k)
	return batch, explain("last", n.String(), readError(ctx, err))
}

func (e *Engine) last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	if err := check(ctx, n); err != nil {
		return engine.Batch{}, err
	}
	reply, err := e.query(ctx, n, e.scripts.last, min(max(k, 0), 1<<31-1))
	if err != nil {
		return engine.Batch{}, err
	}
	log, err := parseLog(reply)
	if err != nil {
		return engine.Batch{}, err
	}
	return log.newest(), nil
}

// query runs one of the scripts that read a log.
func (e *Engine) query(ctx context.Context, n engine.Name, s script, args ...any) ([]any, error) {
	k := e.keys.log(n)
	return call(e, ctx, func() ([]any, error) {
		return e.run(ctx, s, []string{e.keys.own(k.shard, "fence"), k.meta, k.stream}, args...)
	})
}

// Tail implements engine.Engine.
func (e *Engine) Tail(ctx context.Context, n engine.Name) (engine.Position, error) {
	tail, err := e.tail(ctx, n)
	return tail.at, explain("tail", n.String(), readError(ctx, err))
}

// tail is what one answer of the script tails says of a log.
type tail struct {
	at    engine.Position // zero where there is no log
	every time.Duration   // between two refreshes of its life; 0 when it never expires
}

func (e *Engine) tail(ctx context.Context, n engine.Name) (tail, error) {
	if err := check(ctx, n); err != nil {
		return tail{}, err
	}
	reply, err := e.query(ctx, n, e.scripts.tails, 0)
	if err != nil {
		return tail{}, err
	}
	t, err := parseTailAt(reply, 0)
	if err == nil && t.at.IsZero() {
		err = engine.ErrNoChannel
	}
	return t, err
}

// Tails implements engine.Engine: one script for each 200 names, all in one pipeline.
func (e *Engine) Tails(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
	tails, err := e.tails(ctx, names, false)
	if err != nil {
		return nil, explain("tails of", strconv.Itoa(len(names))+" names", readError(ctx, err))
	}
	positions := make([]engine.Position, len(tails))
	for i, t := range tails {
		positions[i] = t.at
	}
	return positions, nil
}

// tails lets the time to live of the logs begin anew if keep is set.
func (e *Engine) tails(ctx context.Context, names []engine.Name, keep bool) ([]tail, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := n.Validate(); err != nil {
			return nil, err
		}
	}
	groups := e.group(names)
	return call(e, ctx, func() ([]tail, error) {
		tails := make([]tail, len(names))
		pipe := e.client.Pipeline()
		cmds := make([]*goredis.Cmd, len(groups))
		for i, g := range groups {
			cmds[i] = evalCommand("evalsha", e.scripts.tails.sha, g.keys, []any{bit(keep)})
			_ = pipe.Process(ctx, cmds[i]) // only queued
		}
		if len(groups) > 0 {
			_, _ = pipe.Exec(ctx) // each command has its own error
		}
		for i, g := range groups {
			err := cmds[i].Err()
			if goredis.HasErrorPrefix(err, "NOSCRIPT") {
				cmds[i] = evalCommand("eval", e.scripts.tails.source, g.keys, []any{bit(keep)})
				err = e.client.Process(ctx, cmds[i])
			}
			if err != nil {
				return nil, err
			}
			reply, _ := cmds[i].Val().([]any)
			for j, index := range g.indexes {
				if tails[index], err = parseTailAt(reply, 4*j); err != nil {
					return nil, err
				}
			}
		}
		return tails, nil
	})
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// group is names that one script answers for.
type group struct {
	indexes []int
	keys    []string
}

const groupSize = 200

// group divides names into groups: of one hash slot each in a cluster.
func (e *Engine) group(names []engine.Name) []*group {
	var groups []*group
	open := make(map[int]*group)
	for i, n := range names {
		k := e.keys.log(n)
		slot := 0
		if e.cluster {
			slot = k.shard
		}
		g := open[slot]
		if g == nil || len(g.indexes) == groupSize {
			g = &group{keys: []string{e.keys.own(k.shard, "fence")}}
			open[slot], groups = g, append(groups, g)
		}
		g.indexes = append(g.indexes, i)
		g.keys = append(g.keys, k.meta, k.stream)
	}
	return groups
}

// Delete implements engine.Engine. Like an Append, one that had no answer is
// ErrUnknown: made again it could end a new life of the name.
func (e *Engine) Delete(ctx context.Context, n engine.Name) error {
	if err := check(ctx, n); err != nil {
		return explain("delete", n.String(), err)
	}
	k := e.keys.log(n)
	_, err := call(e, ctx, func() ([]any, error) {
		return e.runOnce(ctx, e.scripts.delete, []string{k.meta, k.stream, k.ids[0], k.ids[1]}, k.feed)
	})
	return explain("delete", n.String(), writeError(ctx, err))
}

// Health implements engine.Engine: it writes to every shard as an Append would, and
// fails too while a connection of the live feed has been down for some seconds.
func (e *Engine) Health(ctx context.Context) error {
	_, err := call(e, ctx, func() (struct{}, error) { return struct{}{}, e.health(ctx) })
	if err == nil {
		for _, f := range e.feeds {
			if err = f.health(); err != nil {
				break
			}
		}
	}
	if err = readError(ctx, err); err != nil {
		return fmt.Errorf("engine/redis: health: %w", err)
	}
	return nil
}

func (e *Engine) health(ctx context.Context) error {
	shards := 1
	if e.cluster {
		shards = len(e.keys.tags)
	}
	for shard := range shards {
		run, keys := e.run, []string{e.keys.own(shard, "health")}
		if e.config.Replicas > 0 {
			run = e.runAndWait
		}
		_, err := run(ctx, e.scripts.health, keys)
		if err != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close implements engine.Engine. The client stays open. A call that was abandoned
// because its context ended holds Close up until its command is over: at most the
// client's timeouts, and no longer than ctx.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		e.cancel()
		if e.running == 0 {
			close(e.idle)
		}
	}
	e.mu.Unlock()
	e.keeper.close()
	select {
	case <-e.idle:
	default:
		select {
		case <-e.idle:
		case <-ctx.Done():
			return fmt.Errorf("engine/redis: close: %w", ctx.Err())
		}
	}
	return nil
}

// enter counts what Close waits for; false once the Engine is closed.
func (e *Engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.running++
	return true
}

func (e *Engine) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	if e.closed && e.running == 0 {
		close(e.idle)
	}
}

// spawn runs f on a goroutine that Close waits for, unless the Engine is closed.
func (e *Engine) spawn(f func()) bool {
	if !e.enter() {
		return false
	}
	go func() {
		defer e.leave()
		f()
	}()
	return true
}

func check(ctx context.Context, n engine.Name) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return n.Validate()
}

// lifetime is what a log's keys live for, in milliseconds, when nothing refreshes
// them: its IdleTTL, and longer by two of the intervals in which a watcher refreshes
// them, so that a log which is watched never lives shorter.
func lifetime(idle time.Duration) int64 {
	if idle == 0 {
		return 0
	}
	slack := 2 * min(max(idle/8, shortestKeep), longestKeep)
	return (idle + slack).Milliseconds() + 1
}

const (
	shortestKeep = 50 * time.Millisecond
	longestKeep  = time.Minute
)

// keepEvery is that interval, of the lifetime that the meta hash has.
func keepEvery(lifetime int64) time.Duration {
	if lifetime == 0 {
		return 0
	}
	return min(max(time.Duration(lifetime)*time.Millisecond/10, shortestKeep), longestKeep)
}
