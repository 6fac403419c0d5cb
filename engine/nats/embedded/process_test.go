//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
)

// Three processes that embed their server: the leader of the log is killed while
// entries are appended, the next one is asked to stop, both come back, and at the
// end everything acknowledged is on every one of them.
func TestThreeProcesses(t *testing.T) {
	cluster := natstest.Start(t, 3)
	n := engine.Name{Channel: "c"}
	const stream = "COMET_comet_1024_0"
	var engines []*nats.Engine
	for i := range 3 {
		engines = append(engines, cluster.Open(i, nats.Config{Timeout: time.Minute}))
	}
	genesis := ensure(t, engines[0], n, engine.Spec{})
	var acked []string
	put := func(e *nats.Engine) {
		t.Helper()
		text := fmt.Sprint("text ", len(acked))
		if _, err := e.Append(t.Context(), n, engine.Item{ID: text, Data: []byte(text)}); err != nil {
			t.Fatalf("Append: %v", err)
		}
		acked = append(acked, text)
	}
	for i := range 30 {
		put(engines[i%3])
	}
	for _, stop := range []func(int){cluster.Kill, cluster.Terminate} {
		leader := cluster.Leader(0, stream)
		if leader < 0 {
			t.Fatal("the stream has no leader")
		}
		stop(leader)
		for i := range 30 {
			put(engines[(leader+1+i%2)%3])
		}
		cluster.Restart(leader)
		cluster.Ready(leader)
		eventually(t, "the restarted server serves", func() bool { return engines[leader].Health(t.Context()) == nil })
		put(engines[leader])
	}
	for i, e := range engines {
		var got []string
		eventually(t, "all is read", func() bool {
			batch, err := e.Read(t.Context(), n, genesis, 0)
			if err != nil && !engine.Retryable(err) {
				t.Fatal(err)
			}
			got = nil
			for _, entry := range batch.Entries {
				got = append(got, string(entry.Data))
			}
			return err == nil
		})
		if !slices.Equal(got, acked) {
			t.Fatalf("node %d has %d entries, %d were acknowledged, or they differ", i, len(got), len(acked))
		}
	}
}

// A node whose server is without a majority says so, stores nothing, and is well
// again when the others are back.
func TestWithoutAMajority(t *testing.T) {
	cluster := natstest.Start(t, 3)
	e := cluster.Open(0, nats.Config{Timeout: time.Second})
	n := engine.Name{Channel: "c"}
	genesis := ensure(t, e, n, engine.Spec{})
	put(t, e, n, "a")
	if err := e.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	cluster.Pause(1)
	cluster.Pause(2)
	time.Sleep(1100 * time.Millisecond) // one answer of Health serves for a second
	if err := e.Health(t.Context()); err == nil {
		t.Fatal("healthy without a majority")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	_, err := e.Append(ctx, n, engine.Item{Data: []byte("b")})
	cancel()
	if err == nil {
		t.Fatal("stored without a majority")
	}
	unknown := errors.Is(err, engine.ErrUnknown)
	cluster.Resume(1)
	cluster.Resume(2)
	eventually(t, "healthy again", func() bool { return e.Health(t.Context()) == nil })
	eventually(t, "readable again", func() bool {
		_, err := e.Tail(t.Context(), n)
		return err == nil
	})
	got := read(t, e, n, genesis)
	if !slices.Equal(got, []string{"a"}) && !(unknown && slices.Equal(got, []string{"a", "b"})) {
		t.Fatalf("the log has %q, the Append said %v", got, err)
	}
}
