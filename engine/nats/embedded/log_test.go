package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
)

// open returns an engine that is closed with the test.
func open(t testing.TB, s *embedded.Server, c nats.Config) *nats.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := s.Engine(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

func ensure(t testing.TB, e engine.Engine, n engine.Name, s engine.Spec) engine.Position {
	t.Helper()
	info, err := e.Ensure(t.Context(), n, s)
	if err != nil {
		t.Fatal(err)
	}
	return info.Tail
}

func put(t testing.TB, e engine.Engine, n engine.Name, texts ...string) []engine.Position {
	t.Helper()
	var all []engine.Position
	for _, text := range texts {
		p, err := e.Append(t.Context(), n, engine.Item{Data: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p...)
	}
	return all
}

func read(t testing.TB, e engine.Engine, n engine.Name, after engine.Position) []string {
	t.Helper()
	batch, err := e.Read(t.Context(), n, after, 0)
	if err != nil {
		t.Fatalf("Read after %v: %v", after, err)
	}
	var texts []string
	for _, entry := range batch.Entries {
		texts = append(texts, string(entry.Data))
	}
	return texts
}

func refused(t testing.TB, err error, want ...error) {
	t.Helper()
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		t.Fatalf("got error %v, want one of %q", err, want)
	}
}

func numbered(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprint("text ", i)
	}
	return texts
}

// sink keeps why it was dirty, and what it was offered.
type sink struct {
	mu      sync.Mutex
	offered []engine.Entry
	causes  []error
}

func (s *sink) Offer(e engine.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered = append(s.offered, e)
}

func (s *sink) Dirty(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.causes = append(s.causes, cause)
}

func (s *sink) heard(cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.causes, func(err error) bool { return errors.Is(err, cause) })
}

// eventually waits for what another goroutine or process does.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// One server that is stopped and started again on its files has every entry that
// was acknowledged, under its position, and goes on after it.
func TestRestartKeepsWhatWasAcknowledged(t *testing.T) {
	config := embedded.Config{Dir: t.TempDir()}
	n, spec := engine.Name{Prefix: "p", Channel: "c"}, engine.Spec{Size: 200, MaxBytes: 1 << 20}
	var genesis engine.Position
	var positions []engine.Position
	for i := range 3 {
		s, err := embedded.Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		e, err := s.Engine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tail := ensure(t, e, n, spec)
		if i == 0 {
			genesis = tail
		} else if tail != positions[len(positions)-1] {
			t.Fatalf("after start %d the tail is %v, was %v", i+1, tail, positions[len(positions)-1])
		}
		if got := read(t, e, n, genesis); !slices.Equal(got, numbered(50*i)) {
			t.Fatalf("after start %d there are %d entries, want %d", i+1, len(got), 50*i)
		}
		positions = append(positions, put(t, e, n, numbered(50 * (i + 1))[50*i:]...)...)
		if got := read(t, e, n, positions[10]); !slices.Equal(got, numbered(50 * (i + 1))[11:]) {
			t.Fatalf("resumed after %v: %d entries", positions[10], len(got))
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Stop()
	}
}

// Somebody deletes the stream that has the logs. What is made in its place is of
// other lives, however long it grows, and nothing hangs.
func TestStreamDeletedAndMadeAnew(t *testing.T) {
	s := natstest.Single(t)
	a, b := open(t, s, nats.Config{}), open(t, s, nats.Config{})
	n, spec := engine.Name{Channel: "c"}, engine.Spec{Size: 10, MaxBytes: 1000}
	old := append([]engine.Position{ensure(t, a, n, spec)}, put(t, b, n, numbered(5)...)...)
	watcher := &sink{}
	stop, err := b.Watch(t.Context(), n, watcher)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	deleteStream(t, s, "COMET_comet_16_0")

	_, err = b.Append(t.Context(), n, engine.Item{Data: []byte("x")})
	refused(t, err, engine.ErrNoChannel)
	_, err = a.Tail(t.Context(), n)
	refused(t, err, engine.ErrNoChannel)
	eventually(t, "the watcher hears that the log is no more", func() bool { return watcher.heard(engine.ErrNoChannel) })
	genesis := ensure(t, b, n, spec)
	for _, text := range numbered(8) {
		put(t, a, n, text)
		for _, p := range old {
			for _, e := range []*nats.Engine{a, b} {
				_, err := e.Read(t.Context(), n, p, 0)
				refused(t, err, engine.ErrEpoch)
			}
		}
	}
	if got := read(t, b, n, genesis); !slices.Equal(got, numbered(8)) {
		t.Fatalf("the new log has %q", got)
	}
	if err := a.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func deleteStream(t *testing.T, s *embedded.Server, name string) {
	t.Helper()
	conn, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// A node that knows a log only from memory must not append to one that another
// node has deleted, and must append to the one that is there now.
func testAppendAfterDeleteElsewhere(t *testing.T, servers []*embedded.Server) {
	a, b := open(t, servers[0], nats.Config{}), open(t, servers[1], nats.Config{})
	n, spec := engine.Name{Prefix: t.Name(), Channel: "c"}, engine.Spec{Size: 10, MaxBytes: 1000}
	for i := range 30 {
		ensure(t, a, n, spec)
		put(t, b, n, "old")
		if err := a.Delete(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_, err := b.Append(t.Context(), n, engine.Item{Data: []byte("nowhere")})
			refused(t, err, engine.ErrNoChannel)
		}
		genesis := ensure(t, a, n, engine.Spec{Size: 20 + i, MaxBytes: 1000})
		put(t, b, n, "new")
		if got := read(t, a, n, genesis); !slices.Equal(got, []string{"new"}) {
			t.Fatalf("round %d: the new log has %q", i, got)
		}
		if err := b.Delete(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
}

// A stream's leader has just been elected, and this node's server does not know yet who
// hears for it: that is waited for.
func testNobodyHears(t *testing.T, servers []*embedded.Server) {
	e := open(t, servers[0], nats.Config{Namespace: "unheard"})
	a, b, c := engine.Name{Channel: "a"}, engine.Name{Channel: "b"}, engine.Name{Channel: "c"}
	ensure(t, e, a, engine.Spec{})
	ensure(t, e, b, engine.Spec{})
	const names, logs = "COMET_unheard_names", "COMET_unheard_1024_0"
	for _, test := range []struct {
		op, stream string
		call       func() error
	}{
		{"Ensure", names, func() error { _, err := e.Ensure(t.Context(), c, engine.Spec{}); return err }},
		{"Delete", names, func() error { return e.Delete(t.Context(), b) }},
		{"Health", names, func() error { return e.Health(t.Context()) }},
		{"Tail", logs, func() error { _, err := e.Tail(t.Context(), a); return err }},
	} {
		hear := deafen(t, servers[0], test.stream)
		time.AfterFunc(50*time.Millisecond, hear)
		if err := test.call(); err != nil {
			t.Errorf("%s: %v", test.op, err)
		}
		hear()
	}
}

// deafen takes a stream its subject, until hear is called, which returns when it has it
// again, however often it is called.
func deafen(t *testing.T, s *embedded.Server, name string) (hear func()) {
	t.Helper()
	conn, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	hears := stream.CachedInfo().Config
	deaf := hears
	deaf.Subjects = []string{"elsewhere." + name}
	if _, err := js.UpdateStream(t.Context(), deaf); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if _, err := js.UpdateStream(context.Background(), hears); err != nil {
			t.Error(err)
		}
	})
}

// More than one page of the server is one answer, and both bounds stay exact.
func TestLogsOfManyPages(t *testing.T) {
	s := natstest.Single(t)
	e := open(t, s, nats.Config{})
	const entries, size = 300, 64 << 10 // 18 MiB
	n := engine.Name{Prefix: t.Name(), Channel: "c"}
	genesis := ensure(t, e, n, engine.Spec{Size: 1000, MaxBytes: entries * size})
	var positions []engine.Position
	for i := range entries {
		positions = append(positions, put(t, e, n, fmt.Sprintf("%0*d", size, i))...)
	}
	batch, err := e.Read(t.Context(), n, genesis, 0)
	if err != nil || len(batch.Entries) != entries || batch.Top != positions[entries-1] {
		t.Fatalf("%d entries up to %v, %v", len(batch.Entries), batch.Top, err)
	}
	for i, entry := range batch.Entries {
		if entry.Position != positions[i] || string(entry.Data) != fmt.Sprintf("%0*d", size, i) {
			t.Fatalf("entry %d is at %v with %.20q", i, entry.Position, entry.Data)
		}
	}
	put(t, e, n, "one byte too many")
	_, err = e.Read(t.Context(), n, genesis, 1)
	refused(t, err, engine.ErrTrimmed)
	if got := read(t, e, n, positions[0]); len(got) != entries {
		t.Fatalf("%d entries after the first", len(got))
	}
}

// Nodes that do not agree on how the streams are laid out must not work on them.
func TestOtherConfigIsRefused(t *testing.T) {
	s := natstest.Single(t)
	e := open(t, s, nats.Config{})
	ensure(t, e, engine.Name{Prefix: t.Name(), Channel: "c"}, engine.Spec{})
	for _, c := range []nats.Config{{Memory: true}, {Shards: 2}} {
		_, err := s.Engine(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), "this node's Config says") {
			t.Errorf("%+v beside {}: %v", c, err)
		}
	}
	open(t, s, nats.Config{Namespace: "other", Memory: true})
	for _, c := range []nats.Config{{Namespace: "A"}, {Replicas: 2}, {Shards: 65}, {MaxEntry: 1 << 20}, {Timeout: -1}} {
		if _, err := s.Engine(t.Context(), c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// A position that is after the end of the log, where the log has a majority, is of
// no history of it: its reader must not wait for ever.
func testPositionAfterTheEnd(t *testing.T, servers []*embedded.Server) {
	e := open(t, servers[2], nats.Config{})
	n := engine.Name{Prefix: t.Name(), Channel: "c"}
	ensure(t, e, n, engine.Spec{})
	p := put(t, e, n, "a")[0]
	p.Seq += 1000
	var err error
	eventually(t, "ErrEpoch", func() bool {
		_, err = e.Read(t.Context(), n, p, 0)
		return errors.Is(err, engine.ErrEpoch)
	})
}

// Offers carry their predecessor, so that who hears all of them reads nothing.
func testOffersAreAChain(t *testing.T, servers []*embedded.Server) {
	e, other := open(t, servers[0], nats.Config{}), open(t, servers[1], nats.Config{})
	n := engine.Name{Prefix: t.Name(), Channel: "c"}
	last := ensure(t, e, n, engine.Spec{})
	s := &sink{}
	stop, err := other.Watch(t.Context(), n, s)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	put(t, e, n, numbered(100)...)
	eventually(t, "100 offers", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.offered) == 100
	})
	for i, o := range s.offered {
		if o.Prev != last.Seq || o.PrevTag != last.Tag || string(o.Data) != numbered(100)[i] {
			t.Fatalf("offer %d is %q at %v after %d, the one before is at %v", i, o.Data, o.Position, o.Prev, last)
		}
		last = o.Position
	}
}
