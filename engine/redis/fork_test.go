package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
)

// A fork is a log that goes on from before its end: what came after kept was
// acknowledged, and is lost.
type fork struct {
	kept, lost []engine.Position
}

// forked appends to the primary, whose replica has kept and never gets lost.
func forked(t *testing.T, e engine.Engine, primary, replica *redistest.Server) (f fork) {
	t.Helper()
	f.kept = append([]engine.Position{ensure(t, e, engine.Spec{Size: 1000})}, send(t, e, numbered("kept", 10)...)...)
	copied(t, primary)
	replica.Pause()
	primary.CutReplicas()
	f.lost = send(t, e, numbered("lost", 20)...)
	return f
}

// copied waits until a replica has everything.
func copied(t *testing.T, primary *redistest.Server) {
	t.Helper()
	client := primary.Client()
	redistest.Until(t, "the replica has everything", func() bool {
		err := client.Set(ctx, "written", 1, 0).Err() // WAIT speaks of its connection's writes
		if err != nil {
			return false
		}
		n, err := client.Wait(ctx, 1, time.Second).Result()
		return err == nil && n == 1
	})
}

// promote makes a primary of a paused replica, before it hears of the other again.
func promote(replica, primary *redistest.Server) {
	primary.Pause()
	replica.Resume()
	replica.Promote()
	primary.Resume()
}

// demote makes a replica of the old primary, and waits until it has the new one's log.
func demote(t *testing.T, old, primary *redistest.Server) {
	t.Helper()
	host, port, _ := strings.Cut(primary.Addr, ":")
	client := old.Client()
	if err := client.ReplicaOf(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "the old primary has the new one's log", func() bool {
		text, err := client.Info(ctx, "replication").Result()
		return err == nil && strings.Contains(text, "master_link_status:up")
	})
}

// told demands that a reader anywhere before or beyond the fork is told, and that who
// begins anew gets these texts.
func (f fork) told(t *testing.T, e engine.Engine, texts ...string) {
	t.Helper()
	for _, p := range append(f.kept, f.lost...) {
		refuses(t, e, p, engine.ErrEpoch)
	}
	batch := must[engine.Batch](t)(e.Last(ctx, chat, 1000))
	var got []string
	for _, entry := range batch.Entries {
		got = append(got, string(entry.Data))
	}
	if fmt.Sprint(got) != fmt.Sprint(texts) {
		t.Fatalf("the log has %q, want %q", got, texts)
	}
	first := batch.Entries[0]
	expect(t, e, first.Position, texts[1:]...)
	if tail := must[engine.Position](t)(e.Tail(ctx, chat)); tail != batch.Top {
		t.Fatalf("tail %v, and Last says %v", tail, batch.Top)
	}
	if tails := must[[]engine.Position](t)(e.Tails(ctx, []engine.Name{chat})); tails[0] != batch.Top {
		t.Fatalf("tails %v, and Last says %v", tails, batch.Top)
	}
	if tail := ensure(t, e, engine.Spec{Size: 1000}); tail != batch.Top {
		t.Fatalf("Ensure says %v, and Last %v", tail, batch.Top)
	}
}

// A replica that was behind is promoted. Who heard nothing of what is lost reads on
// from before it, and has to be told.
func TestBeforeTheFork(t *testing.T) {
	for _, first := range []string{"read", "append"} {
		t.Run(first, func(t *testing.T) {
			primary := redistest.Start(t)
			replica := redistest.StartReplica(t, primary)
			f := forked(t, open(t, primary.Client()), primary, replica)
			primary.Kill()
			replica.Resume()
			replica.Promote()
			b := open(t, replica.Client())
			texts := numbered("kept", 10)
			if first == "append" {
				send(t, b, numbered("other", 40)...)
				texts = append(texts, numbered("other", 40)...)
			}
			f.told(t, b, texts...)
			f.told(t, b, texts...)
		})
	}
}

// A primary is demoted, gets the other's log, and is promoted again: it is the same
// process, and lost what it acknowledged. Nobody has asked in between.
func TestPromotedBack(t *testing.T) {
	a := redistest.Start(t)
	b := redistest.StartReplica(t, a)
	e := open(t, a.Client())
	f := forked(t, e, a, b)
	promote(b, a)
	demote(t, a, b)
	a.Promote()
	f.told(t, e, numbered("kept", 10)...)
}

// A subscription survives the fork: its server became a replica, and publishes what the
// new primary does. Nothing of that may be offered as if it followed, and the log's end
// is not missed.
func TestFeedSurvivesTheFork(t *testing.T) {
	for _, first := range []string{"append", "delete"} {
		t.Run(first, func(t *testing.T) {
			a := redistest.Start(t)
			b := redistest.StartReplica(t, a)
			proxy := redistest.StartProxy(t, a)
			e := open(t, a.Client(func(o *goredis.Options) { o.Addr = proxy.Addr }), redis.Config{Probe: time.Hour, Feeds: 1})
			ensure(t, e, engine.Spec{Size: 1000})
			r := watch(t, e)
			forked(t, open(t, a.Client()), a, b)
			promote(b, a)
			proxy.Forward(b)
			demote(t, a, b)
			other := open(t, b.Client())
			if first == "delete" {
				if err := other.Delete(ctx, chat); err != nil {
					t.Fatal(err)
				}
				redistest.Until(t, "the watcher is told of the end", func() bool { return r.dirty(engine.ErrNoChannel) })
				return
			}
			send(t, other, "other")
			redistest.Until(t, "the watcher is told, or offered", func() bool { return r.dirty(nil) || r.offered("other") })
			if r.offered("other") {
				t.Error("an entry of the new primary was offered to who knows the old one's log")
			}
			hears(t, other, r)
			if r.dirty(engine.ErrNoChannel) {
				t.Errorf("told %q", r.told())
			}
		})
	}
}

// A server comes back from a file that is older than what it acknowledged.
func TestRestartFromAnOlderFile(t *testing.T) {
	t.Run("snapshot", func(t *testing.T) {
		server := redistest.Start(t)
		e := open(t, server.Client())
		var f fork
		f.kept = append([]engine.Position{ensure(t, e, engine.Spec{Size: 1000})}, send(t, e, numbered("kept", 10)...)...)
		if err := server.Client().Save(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		f.lost = send(t, e, numbered("lost", 20)...)
		server.Kill()
		server.Restart()
		f.told(t, e, numbered("kept", 10)...)
		send(t, e, numbered("other", 40)...)
		f.told(t, e, append(numbered("kept", 10), numbered("other", 40)...)...)
	})
	// What a machine's end takes of such a file cannot be had here; nobody knows that it
	// took nothing.
	t.Run("everysec", func(t *testing.T) {
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
		e := open(t, server.Client())
		f := fork{kept: []engine.Position{ensure(t, e, engine.Spec{Size: 1000})}}
		f.kept = append(f.kept, send(t, e, numbered("kept", 10)...)...)
		server.Kill()
		server.Restart()
		f.told(t, e, numbered("kept", 10)...)
	})
}

// An item that is repeated over the fork is stored once, and its place is one of the
// new history.
func TestRepeatedOverTheFork(t *testing.T) {
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	a := open(t, primary.Client())
	ensure(t, a, engine.Spec{})
	item := engine.Item{ID: "id", Data: []byte("once")}
	before := must[[]engine.Position](t)(a.Append(ctx, chat, item))
	copied(t, primary)
	primary.Kill()
	replica.Promote()
	b := open(t, replica.Client())
	again := must[[]engine.Position](t)(b.Append(ctx, chat, item))
	tail := must[engine.Position](t)(b.Tail(ctx, chat))
	if again[0] != tail || again[0].Epoch == before[0].Epoch || again[0].Seq != before[0].Seq || again[0].Tag != before[0].Tag {
		t.Errorf("first at %v, again at %v, and the tail is %v", before[0], again[0], tail)
	}
}

// A process that slept has lost nothing.
func TestPausedServerResetsNobody(t *testing.T) {
	server := redistest.Start(t)
	e := open(t, server.Client())
	genesis := ensure(t, e, engine.Spec{Size: 1000})
	p := send(t, e, "a", "b")
	server.Pause()
	time.Sleep(200 * time.Millisecond)
	server.Resume()
	send(t, e, "c")
	expect(t, e, genesis, "a", "b", "c")
	expect(t, e, p[0], "b", "c")
}

// Each master of a cluster has its own history: one that restarts resets the logs that
// it has, and no other.
func TestMasterOfClusterRestarts(t *testing.T) {
	servers := redistest.StartCluster(t, 3, "--appendonly", "yes")
	client := redistest.ClusterClient(t, servers)
	e := open(t, client)
	positions := map[engine.Name]engine.Position{}
	for i := range 40 {
		n := engine.Name{Channel: fmt.Sprint("c", i)}
		must[engine.Info](t)(e.Ensure(ctx, n, engine.Spec{}))
		positions[n] = must[[]engine.Position](t)(e.Append(ctx, n, engine.Item{Data: []byte("a")}))[0]
	}
	servers[0].Kill()
	servers[0].Restart()
	redistest.Until(t, "the cluster serves again", func() bool { return e.Health(ctx) == nil })
	mine := int64(0)
	for _, key := range must[[]string](t)(servers[0].Client().Keys(ctx, "comet{*}m:*").Result()) {
		if strings.Contains(key, "}m:0:/c") {
			mine++
		}
	}
	told := int64(0)
	for n, p := range positions {
		batch, err := e.Read(ctx, n, p, 0)
		if err == nil && batch.Top == p {
			continue
		}
		want(t, err, engine.ErrEpoch)
		told++
	}
	if told != mine || told == 0 || told == 40 {
		t.Errorf("%d of 40 logs were reset, and the server has %d", told, mine)
	}
}

// An app that promises that nothing is lost has restarts that nobody is told of, and
// may not be mixed with one that does not.
func TestLossless(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e := open(t, server.Client(), redis.Config{Lossless: true})
	genesis := ensure(t, e, engine.Spec{})
	p := send(t, e, "a", "b")
	server.Kill()
	server.Restart()
	send(t, e, "c")
	expect(t, e, genesis, "a", "b", "c")
	expect(t, e, p[0], "b", "c")
	if _, err := redis.New(ctx, server.Client()); err == nil || !strings.Contains(err.Error(), "Config.Lossless") {
		t.Errorf("New without Lossless: %v", err)
	}
}
