package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/redis"
	"github.com/ocsigo/comet/engine/redis/redistest"
)

var chat = engine.Name{Prefix: "app", Channel: "chat"}

func must[R any](t testing.TB) func(R, error) R {
	return func(r R, err error) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func want(t testing.TB, got error, errs ...error) {
	t.Helper()
	if !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(got, e) }) {
		t.Fatalf("got error %v, want one of %q", got, errs)
	}
}

func ensure(t testing.TB, e engine.Engine, s engine.Spec) engine.Position {
	t.Helper()
	return must[engine.Info](t)(e.Ensure(ctx, chat, s)).Tail
}

// send appends one entry for each text.
func send(t testing.TB, e engine.Engine, texts ...string) (positions []engine.Position) {
	t.Helper()
	for _, text := range texts {
		positions = append(positions, must[[]engine.Position](t)(e.Append(ctx, chat, engine.Item{Data: []byte(text)}))...)
	}
	return positions
}

func numbered(what string, n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprint(what, " ", i))
	}
	return texts
}

// expect demands exactly these texts after a position.
func expect(t testing.TB, e engine.Engine, after engine.Position, texts ...string) {
	t.Helper()
	batch := must[engine.Batch](t)(e.Read(ctx, chat, after, 0))
	var got []string
	for _, entry := range batch.Entries {
		got = append(got, string(entry.Data))
	}
	if !slices.Equal(got, texts) {
		t.Fatalf("after %v: %q, want %q", after, got, texts)
	}
}

func refuses(t testing.TB, e engine.Engine, after engine.Position, err error) {
	t.Helper()
	batch, got := e.Read(ctx, chat, after, 0)
	if !errors.Is(got, err) {
		t.Fatalf("after %v: %d entries, %v, want %v", after, len(batch.Entries), got, err)
	}
}

// recorder is a sink that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	texts  []string
	causes []error
}

func (r *recorder) Offer(e engine.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, string(e.Data))
}

func (r *recorder) Dirty(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.causes = append(r.causes, cause)
}

func (r *recorder) offered(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.texts, text)
}

// dirty reports whether the sink was told a Dirty, of this cause unless that is nil.
func (r *recorder) dirty(cause error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.causes, func(c error) bool { return cause == nil || errors.Is(c, cause) })
}

func (r *recorder) told() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.causes)
}

func watch(t testing.TB, e engine.Engine) *recorder {
	t.Helper()
	r := &recorder{}
	stop := must[func()](t)(e.Watch(ctx, chat, r))
	t.Cleanup(stop)
	return r
}

// hears sends through one engine until a watcher of another is offered something.
func hears(t testing.TB, e engine.Engine, r *recorder) {
	t.Helper()
	redistest.Until(t, "the watcher is offered what is appended", func() bool {
		text := fmt.Sprint("still there? ", time.Now().UnixNano())
		send(t, e, text)
		for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if r.offered(text) {
				return true
			}
		}
		return false
	})
}

// A server forgets its scripts when it restarts, or when somebody tells it to.
func TestScriptsAreForgotten(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	e := open(t, client)
	flush := func() {
		t.Helper()
		if err := client.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	genesis := ensure(t, e, engine.Spec{})
	flush()
	p := send(t, e, "a")
	flush()
	expect(t, e, genesis, "a")
	flush()
	if got := must[engine.Position](t)(e.Tail(ctx, chat)); got != p[0] {
		t.Errorf("tail %v, want %v", got, p[0])
	}
	flush()
	if got := must[[]engine.Position](t)(e.Tails(ctx, []engine.Name{chat, {Channel: "none"}})); got[0] != p[0] || !got[1].IsZero() {
		t.Errorf("tails %v", got)
	}
	flush()
	if err := e.Delete(ctx, chat); err != nil {
		t.Error(err)
	}
}

func TestPubSubConnectionsAreKilled(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	a, b := open(t, client), open(t, server.Client())
	ensure(t, a, engine.Spec{Size: 10000})
	r := watch(t, a)
	hears(t, b, r)
	if n, err := client.Do(ctx, "client", "kill", "type", "pubsub").Int(); err != nil || n == 0 {
		t.Fatalf("%d connections killed, %v", n, err)
	}
	redistest.Until(t, "the watcher is told", func() bool { return r.dirty(nil) })
	before := len(r.told())
	hears(t, b, r)
	if now := r.told(); len(now) != before {
		t.Errorf("told again without a reason: %q", now)
	}
	want(t, a.Health(ctx), nil)
}

// A watcher that does not keep up makes the server's output buffer overflow, and the
// server ends the connection.
func TestOutputBufferOverflows(t *testing.T) {
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 256kb 0 0")
	a, b := open(t, server.Client()), open(t, server.Client())
	ensure(t, a, engine.Spec{Size: 10000})
	r, release := &recorder{}, make(chan struct{})
	stop := must[func()](t)(a.Watch(ctx, chat, blocking{r, release}))
	defer stop()
	big := strings.Repeat("x", 64<<10)
	for range 200 { // 12.5 MiB: more than the sockets' buffers and the server's
		send(t, b, big)
	}
	close(release)
	redistest.Until(t, "the watcher is told", func() bool { return r.dirty(nil) })
	hears(t, b, r)
}

// blocking is a sink that its author wrote badly.
type blocking struct {
	*recorder
	release chan struct{}
}

func (b blocking) Offer(e engine.Entry) {
	<-b.release
	b.recorder.Offer(e)
}

func TestFlushAll(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	a, b := open(t, client), open(t, server.Client())
	old := append([]engine.Position{ensure(t, a, engine.Spec{})}, send(t, a, "a", "b")...)
	r := watch(t, a)
	if err := client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := a.Tail(ctx, chat)
	want(t, err, engine.ErrNoChannel)
	_, err = a.Append(ctx, chat, engine.Item{})
	want(t, err, engine.ErrNoChannel)
	if now := ensure(t, b, engine.Spec{}); now.Epoch == old[0].Epoch {
		t.Fatalf("the epoch is %q again", now.Epoch)
	}
	// The watch of the lost life goes on in the new one, and says so.
	hears(t, b, r)
	if !r.dirty(nil) || r.dirty(engine.ErrNoChannel) {
		t.Errorf("the watcher was told %q", r.told())
	}
	for _, p := range old {
		refuses(t, b, p, engine.ErrEpoch)
	}
}

// An eviction takes one key of a log and leaves the others.
func TestPartsAreEvicted(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	e := open(t, client)
	for _, kind := range []string{"m", "s"} {
		old := append([]engine.Position{ensure(t, e, engine.Spec{})}, send(t, e, "a", "b", "c")...)
		first := must[[]engine.Position](t)(e.Append(ctx, chat, engine.Item{ID: "id", Data: []byte("d")}))
		r := watch(t, e)
		keys := must[[]string](t)(client.Keys(ctx, "comet{*}"+kind+":*").Result())
		if len(keys) != 1 {
			t.Fatalf("keys of kind %s: %q", kind, keys)
		}
		if err := client.Del(ctx, keys[0]).Err(); err != nil {
			t.Fatal(err)
		}
		for _, p := range old {
			refuses(t, e, p, engine.ErrNoChannel)
		}
		_, err := e.Append(ctx, chat, engine.Item{Data: []byte("x")})
		want(t, err, engine.ErrNoChannel)
		_, err = e.Last(ctx, chat, 1)
		want(t, err, engine.ErrNoChannel)
		if tails := must[[]engine.Position](t)(e.Tails(ctx, []engine.Name{chat})); !tails[0].IsZero() {
			t.Fatalf("tails %v of what is left", tails)
		}
		genesis := ensure(t, e, engine.Spec{})
		again := must[[]engine.Position](t)(e.Append(ctx, chat, engine.Item{ID: "id", Data: []byte("new")}))
		if again[0].Epoch == first[0].Epoch {
			t.Errorf("an ID of the lost life at %v again", again[0])
		}
		expect(t, e, genesis, "new")
		send(t, e, "b", "c", "d", "e", "f")
		for _, p := range append(old, first...) {
			refuses(t, e, p, engine.ErrEpoch)
		}
		redistest.Until(t, "the watcher is told", func() bool { return r.dirty(nil) })
		if err := e.Delete(ctx, chat); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestartEmpty(t *testing.T) {
	server := redistest.Start(t)
	e := open(t, server.Client(func(o *goredis.Options) { o.MaxRetries = -1 }))
	old := append([]engine.Position{ensure(t, e, engine.Spec{})}, send(t, e, "a", "b")...)
	r := watch(t, e)
	server.Kill()
	_, err := e.Append(ctx, chat, engine.Item{Data: []byte("x")})
	want(t, err, engine.ErrUnavailable, engine.ErrUnknown)
	_, err = e.Tail(ctx, chat)
	want(t, err, engine.ErrUnavailable)
	want(t, e.Health(ctx), engine.ErrUnavailable)
	server.Restart()
	redistest.Until(t, "the log is known to be gone", func() bool {
		_, err := e.Tail(ctx, chat)
		return errors.Is(err, engine.ErrNoChannel)
	})
	redistest.Until(t, "the watcher is told", func() bool { return r.dirty(engine.ErrNoChannel) })
	ensure(t, e, engine.Spec{})
	send(t, e, numbered("new", 5)...)
	for _, p := range old {
		refuses(t, e, p, engine.ErrEpoch)
	}
	want(t, e.Health(ctx), nil)
}

// What was acknowledged by a server that syncs its append-only file is there after
// kill -9, and whoever resumes gets it, where the app says that this is so.
func TestRestartFromAppendOnlyFile(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e := open(t, server.Client(), redis.Config{Lossless: true})
	genesis := ensure(t, e, engine.Spec{Size: 100000})
	acked := make([][]engine.Position, 4)
	var wg sync.WaitGroup
	enough := make(chan struct{}, len(acked))
	for i := range acked {
		wg.Go(func() {
			for n := 0; ; n++ {
				p, err := e.Append(ctx, chat, engine.Item{Data: []byte(fmt.Sprint(i, "-", n))})
				if err != nil {
					return
				}
				if acked[i] = append(acked[i], p...); n == 100 {
					enough <- struct{}{}
				}
			}
		})
	}
	for range acked {
		<-enough
	}
	server.Kill()
	wg.Wait()
	server.Restart()
	at := map[engine.Position]string{}
	for after, more := genesis, true; more; {
		batch, err := e.Read(ctx, chat, after, 0)
		if engine.Retryable(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range batch.Entries {
			at[entry.Position], after = string(entry.Data), entry.Position
		}
		more = batch.More
	}
	total := 0
	for i := range acked {
		total += len(acked[i])
		for n, p := range acked[i] {
			if want := fmt.Sprint(i, "-", n); at[p] != want {
				t.Fatalf("acknowledged %q at %v, found %q", want, p, at[p])
			}
		}
	}
	t.Logf("%d acknowledged, %d in the log", total, len(at))
}

// A replica that was promoted without the end of the log gives the numbers of what is
// lost to others. Where the app promised that this cannot be it does so in the same
// epoch, and the tags tell.
func TestStalledReplicaIsPromoted(t *testing.T) {
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	promise := redis.Config{Lossless: true}
	a := open(t, primary.Client(), promise)
	genesis := ensure(t, a, engine.Spec{Size: 1000})
	kept := append([]engine.Position{genesis}, send(t, a, numbered("kept", 10)...)...)
	redistest.Until(t, "the replica has them", func() bool {
		n, err := primary.Client().Wait(ctx, 1, time.Second).Result()
		return err == nil && n == 1
	})
	replica.Pause()
	primary.CutReplicas()
	lost := send(t, a, numbered("lost", 20)...)
	primary.Kill()
	replica.Resume()
	replica.Promote()

	b := open(t, replica.Client(), promise)
	if tail := must[engine.Position](t)(b.Tail(ctx, chat)); tail != kept[10] {
		t.Fatalf("the promoted replica's tail is %v, want %v", tail, kept[10])
	}
	for _, p := range lost { // as long as the log is shorter
		refuses(t, b, p, engine.ErrEpoch)
	}
	others := numbered("other", 40)
	reused := 0
	for i := range others {
		p := send(t, b, others[i])
		if p[0].Epoch != kept[0].Epoch {
			t.Fatalf("epoch %q after the failover, %q before: nothing is proven", p[0].Epoch, kept[0].Epoch)
		}
		if i < len(lost) && p[0].Seq == lost[i].Seq {
			reused++
		}
		for _, p := range lost {
			refuses(t, b, p, engine.ErrEpoch)
		}
	}
	if reused != len(lost) {
		t.Errorf("%d of %d numbers were given again", reused, len(lost))
	}
	for i, p := range kept {
		expect(t, b, p, append(numbered("kept", 10)[i:], others...)...)
	}
}

// A primary that becomes a replica, as after a failover that it slept through, may
// not answer for the log.
func TestDemotedPrimaryRefuses(t *testing.T) {
	server := redistest.Start(t)
	e := open(t, server.Client(func(o *goredis.Options) { o.MaxRetries = -1 }))
	p := send(t, made(t, e), "a")
	known := engine.Item{ID: "known", Data: []byte("known")}
	must[[]engine.Position](t)(e.Append(ctx, chat, known))
	// Of a primary that it does not reach, so that it keeps what it has.
	if err := server.Client().ReplicaOf(ctx, "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := e.Tail(ctx, chat)
	want(t, err, engine.ErrUnavailable)
	_, err = e.Read(ctx, chat, p[0], 0)
	want(t, err, engine.ErrUnavailable)
	_, err = e.Last(ctx, chat, 1)
	want(t, err, engine.ErrUnavailable)
	_, err = e.Tails(ctx, []engine.Name{chat})
	want(t, err, engine.ErrUnavailable)
	_, err = e.Append(ctx, chat, engine.Item{Data: []byte("b")})
	want(t, err, engine.ErrUnavailable)
	_, err = e.Append(ctx, chat, known)
	want(t, err, engine.ErrUnavailable)
	_, err = e.Ensure(ctx, chat, engine.Spec{})
	want(t, err, engine.ErrUnavailable)
	_, err = e.Ensure(ctx, engine.Name{Channel: "new"}, engine.Spec{})
	want(t, err, engine.ErrUnavailable)
	want(t, e.Delete(ctx, chat), engine.ErrUnavailable)
	want(t, e.Health(ctx), engine.ErrUnavailable)
	_, err = e.Record(ctx, engine.Node{ID: "n"})
	want(t, err, engine.ErrUnavailable)
	_, err = redis.New(ctx, server.Client())
	if err == nil || !strings.Contains(err.Error(), "primary") {
		t.Errorf("New on a replica: %v", err)
	}
}

// made makes the log of chat and returns e.
func made(t *testing.T, e *redis.Engine) *redis.Engine {
	ensure(t, e, engine.Spec{})
	return e
}

// A server that stops answering holds nobody longer than its context.
func TestServerStopsAnswering(t *testing.T) {
	server := redistest.Start(t)
	e := open(t, server.Client())
	genesis := ensure(t, e, engine.Spec{})
	watch(t, e)
	server.Pause()
	defer server.Resume()
	calls := map[string]func(context.Context) error{
		"Ensure": func(ctx context.Context) error { _, err := e.Ensure(ctx, chat, engine.Spec{}); return err },
		"Read":   func(ctx context.Context) error { _, err := e.Read(ctx, chat, genesis, 1); return err },
		"Last":   func(ctx context.Context) error { _, err := e.Last(ctx, chat, 1); return err },
		"Tail":   func(ctx context.Context) error { _, err := e.Tail(ctx, chat); return err },
		"Tails":  func(ctx context.Context) error { _, err := e.Tails(ctx, []engine.Name{chat}); return err },
		"Health": e.Health,
		"Watch": func(ctx context.Context) error {
			_, err := e.Watch(ctx, engine.Name{Channel: "other"}, &recorder{})
			return err
		},
		"Record": func(ctx context.Context) error { _, err := e.Record(ctx, engine.Node{ID: "n"}); return err },
		"Serve": func(ctx context.Context) error {
			_, err := e.Serve(ctx, engine.Node{ID: "n"}, func(context.Context, []byte) []byte { return nil })
			return err
		},
	}
	unknown := map[string]func(context.Context) error{
		"Append": func(ctx context.Context) error { _, err := e.Append(ctx, chat, engine.Item{}); return err },
		"Delete": func(ctx context.Context) error { return e.Delete(ctx, engine.Name{Channel: "other"}) },
	}
	within := func(name string, do func(context.Context) error) error {
		given, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := do(given)
		if took := time.Since(start); took > 2*time.Second { // the client's ReadTimeout is 3 s
			t.Errorf("%s took %v", name, took)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		return err
	}
	for name, do := range calls {
		within(name, do)
	}
	for name, do := range unknown {
		if err := within(name, do); !errors.Is(err, engine.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnknown too", name, err)
		}
	}
	server.Resume()
	redistest.Until(t, "the server serves again", func() bool { return e.Health(ctx) == nil })
}

// go-redis sends a command again when its answer did not come in time, which would
// store an item without an ID twice.
func TestNothingIsAppendedTwice(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(func(o *goredis.Options) {
		o.ReadTimeout, o.MaxRetries = 200*time.Millisecond, 5
	})
	e := open(t, client)
	ensure(t, e, engine.Spec{})
	first := send(t, e, "first") // the server knows the script from now on
	var wg sync.WaitGroup
	for range 8 { // each has a connection, which a repetition would find ready
		wg.Go(func() { client.BLPop(ctx, time.Second, "nothing") })
	}
	wg.Wait()
	server.Pause()
	_, err := e.Append(ctx, chat, engine.Item{Data: []byte("once")})
	server.Resume()
	want(t, err, engine.ErrUnknown)
	redistest.Until(t, "the append is done", func() bool {
		tail, err := e.Tail(ctx, chat)
		return err == nil && tail != first[0]
	})
	expect(t, e, first[0], "once")
}

// A connection that is alive and hears nothing is found by a message to itself.
func TestDeafFeed(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server)
	through := server.Client(func(o *goredis.Options) { o.Addr = proxy.Addr })
	a, b := open(t, through, redis.Config{Probe: 100 * time.Millisecond, Feeds: 1}), open(t, server.Client())
	ensure(t, a, engine.Spec{Size: 10000})
	r := watch(t, a)
	hears(t, b, r)
	time.Sleep(500 * time.Millisecond) // several probes that are heard
	if causes := r.told(); len(causes) != 0 {
		t.Fatalf("a feed that was only silent: %q", causes)
	}
	if n := proxy.Deafen(); n != 1 {
		t.Fatalf("%d connections made deaf", n)
	}
	send(t, b, "not heard")
	redistest.Until(t, "the watcher is told", func() bool { return r.dirty(nil) })
	if r.offered("not heard") {
		t.Fatal("the connection was not deaf")
	}
	hears(t, b, r)
}

func TestOutOfMemory(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	e := open(t, client)
	genesis := ensure(t, e, engine.Spec{})
	p := send(t, e, "a")
	if err := client.ConfigSet(ctx, "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := e.Append(ctx, chat, engine.Item{Data: []byte("b")}, engine.Item{ID: "id", Data: []byte("c")})
	want(t, err, engine.ErrUnavailable)
	_, err = e.Ensure(ctx, engine.Name{Channel: "new"}, engine.Spec{})
	want(t, err, engine.ErrUnavailable)
	want(t, e.Health(ctx), engine.ErrUnavailable)
	if tail := must[engine.Position](t)(e.Tail(ctx, chat)); tail != p[0] {
		t.Errorf("tail %v, want %v", tail, p[0])
	}
	expect(t, e, genesis, "a")
	if err := client.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	send(t, e, "b")
	expect(t, e, genesis, "a", "b")
}

// With Config.Replicas a nil error says that they have it, and ErrUnknown that they
// may not.
func TestReplicasConfirm(t *testing.T) {
	primary := redistest.Start(t)
	client := primary.Client()
	_, err := redis.New(ctx, client, redis.Config{Replicas: 1})
	if err == nil || !strings.Contains(err.Error(), "Replicas") {
		t.Errorf("New without a replica: %v", err)
	}
	replica := redistest.StartReplica(t, primary)
	config := redis.Config{Replicas: 1, ReplicaTimeout: time.Second}
	e, other := open(t, client, config), open(t, primary.Client(), config)
	redistest.Until(t, "the replica confirms", func() bool { return e.Health(ctx) == nil })
	genesis := ensure(t, e, engine.Spec{})
	send(t, e, "a", "b")
	for _, entry := range must[engine.Batch](t)(e.Last(ctx, chat, 2)).Entries {
		found := must[int64](t)(replica.Client().Exists(ctx, must[[]string](t)(client.Keys(ctx, "comet{*}s:*").Result())...).Result())
		if found != 1 {
			t.Errorf("%v is not on the replica", entry.Position)
		}
	}
	replica.Pause()
	c := engine.Item{ID: "c", Data: []byte("c")}
	_, err = e.Append(ctx, chat, c)
	want(t, err, engine.ErrUnknown)
	want(t, e.Health(ctx), engine.ErrUnavailable)
	_, err = other.Append(ctx, chat, c) // the repetition waits for the replica, too: it writes something
	want(t, err, engine.ErrUnknown)
	replica.Resume()
	redistest.Until(t, "the replica confirms", func() bool { return e.Health(ctx) == nil })
	must[[]engine.Position](t)(e.Append(ctx, chat, c))
	expect(t, e, genesis, "a", "b", "c")
	if got := e.Caps().Durability; got != engine.Primary {
		t.Errorf("durability %v", got)
	}
}

// Behind Sentinel: the primary dies, the replica is promoted, and an engine that knows
// only the Sentinel goes on by itself, its watches and requests included.
func TestSentinelFailover(t *testing.T) {
	primary := redistest.Start(t)
	redistest.StartReplica(t, primary)
	sentinel := redistest.StartSentinel(t, primary)
	a := open(t, redistest.FailoverClient(t, sentinel), redis.Config{Probe: 500 * time.Millisecond})
	b := open(t, redistest.FailoverClient(t, sentinel), redis.Config{Probe: 500 * time.Millisecond})
	genesis := ensure(t, a, engine.Spec{Size: 100000})
	r := watch(t, a)
	n := engine.Node{ID: "a"}
	stop := must[func()](t)(a.Serve(ctx, n, func(_ context.Context, request []byte) []byte { return request }))
	defer stop()
	send(t, b, numbered("before", 10)...)
	redistest.Until(t, "the replica has them", func() bool {
		n, err := primary.Client().Wait(ctx, 1, time.Second).Result()
		return err == nil && n == 1
	})
	primary.Kill()
	redistest.Until(t, "appends are served again", func() bool {
		within, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := b.Append(within, chat, engine.Item{ID: "after", Data: []byte("after")})
		return err == nil
	})
	refuses(t, a, genesis, engine.ErrEpoch) // nobody knows that the replica had everything
	first := must[engine.Batch](t)(a.Last(ctx, chat, 100)).Entries[0]
	expect(t, a, first.Position, append(numbered("before", 10), "after")[1:]...)
	redistest.Until(t, "the watcher is told", func() bool { return r.dirty(nil) })
	hears(t, b, r)
	redistest.Until(t, "the node is heard again", func() bool {
		within, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		reply, err := b.Ask(within, n, []byte("hello"))
		return err == nil && string(reply) == "hello"
	})
}

// What README.md says that an ACL has to allow.
func TestACL(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	acl := []any{"acl", "setuser", "app", "on", ">secret", "~comet{*", "&comet{*",
		"+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+info", "+wait", "+time"}
	if err := admin.Do(ctx, acl...).Err(); err != nil {
		t.Fatal(err)
	}
	client := server.Client(func(o *goredis.Options) { o.Username, o.Password = "app", "secret" })
	for _, needed := range []string{"publish", "time", "xadd", "evalsha"} {
		if err := admin.Do(ctx, "acl", "setuser", "app", "-"+needed).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := redis.New(ctx, client); err == nil || !strings.Contains(err.Error(), "ACL") {
			t.Errorf("New without %s: %v", needed, err)
		}
		if err := admin.Do(ctx, "acl", "setuser", "app", "+"+needed).Err(); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, client)
	genesis := ensure(t, e, engine.Spec{Size: 1000})
	r := watch(t, e)
	hears(t, e, r)
	must[engine.Batch](t)(e.Read(ctx, chat, genesis, 0))
	n := engine.Node{ID: "n"}
	stop := must[func()](t)(e.Serve(ctx, n, func(_ context.Context, request []byte) []byte { return request }))
	defer stop()
	must[[]byte](t)(e.Ask(ctx, n, nil))
	want(t, e.SetRecord(ctx, n, nil, time.Minute), nil)
	want(t, e.Health(ctx), nil)
	want(t, e.Delete(ctx, chat), nil)
	if err := client.ConfigGet(ctx, "*").Err(); err == nil {
		t.Error("the user may do everything: nothing is proven")
	}
}
