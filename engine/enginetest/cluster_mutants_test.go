package enginetest_test

import (
	"context"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/memory"
)

// clusterMutant is the memory engine with one promise of engine.Cluster broken.
type clusterMutant struct {
	*memory.Engine
	serve   func(ctx context.Context, n engine.Node, answer engine.Answer) (func(), error)
	ask     func(ctx context.Context, n engine.Node, request []byte) ([]byte, error)
	set     func(ctx context.Context, n engine.Node, record []byte, ttl time.Duration) error
	records func(ctx context.Context, prefix string) (map[string][]byte, error)
}

func (m *clusterMutant) Serve(ctx context.Context, n engine.Node, answer engine.Answer) (func(), error) {
	if m.serve != nil {
		return m.serve(ctx, n, answer)
	}
	return m.Engine.Serve(ctx, n, answer)
}

func (m *clusterMutant) Ask(ctx context.Context, n engine.Node, request []byte) ([]byte, error) {
	if m.ask != nil {
		return m.ask(ctx, n, request)
	}
	return m.Engine.Ask(ctx, n, request)
}

func (m *clusterMutant) SetRecord(ctx context.Context, n engine.Node, record []byte, ttl time.Duration) error {
	if m.set != nil {
		return m.set(ctx, n, record, ttl)
	}
	return m.Engine.SetRecord(ctx, n, record, ttl)
}

func (m *clusterMutant) Records(ctx context.Context, prefix string) (map[string][]byte, error) {
	if m.records != nil {
		return m.records(ctx, prefix)
	}
	return m.Engine.Records(ctx, prefix)
}

var clusterBreaks = []struct {
	name, caughtBy string
	mutate         func(m *clusterMutant)
}{
	{"prefix of nodes ignored", "ask", func(m *clusterMutant) {
		m.serve = func(ctx context.Context, n engine.Node, answer engine.Answer) (func(), error) {
			return m.Engine.Serve(ctx, engine.Node{Prefix: "same", ID: n.ID}, answer)
		}
		m.ask = func(ctx context.Context, n engine.Node, request []byte) ([]byte, error) {
			return m.Engine.Ask(ctx, engine.Node{Prefix: "same", ID: n.ID}, request)
		}
	}},
	{"one request at a time", "ask", func(m *clusterMutant) {
		m.serve = func(ctx context.Context, n engine.Node, answer engine.Answer) (func(), error) {
			turn := make(chan struct{}, 1) // no mutex: who waits for one holds the bubble's time up
			return m.Engine.Serve(ctx, n, func(ctx context.Context, request []byte) []byte {
				turn <- struct{}{}
				defer func() { <-turn }()
				return answer(ctx, request)
			})
		}
	}},
	{"nobody is waited for", "nonode", func(m *clusterMutant) {
		m.ask = func(ctx context.Context, n engine.Node, request []byte) ([]byte, error) {
			reply, err := m.Engine.Ask(ctx, n, request)
			if err != nil {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return reply, nil
		}
	}},
	{"long replies are cut", "asklimits", func(m *clusterMutant) {
		m.serve = func(ctx context.Context, n engine.Node, answer engine.Answer) (func(), error) {
			return m.Engine.Serve(ctx, n, func(ctx context.Context, request []byte) []byte {
				reply := answer(ctx, request)
				return reply[:min(len(reply), m.Caps().MaxEntry)]
			})
		}
	}},
	{"records end early", "record", func(m *clusterMutant) {
		m.set = func(ctx context.Context, n engine.Node, record []byte, ttl time.Duration) error {
			if ttl >= engine.MinTTL {
				ttl = max(ttl-200*time.Millisecond, engine.MinTTL)
			}
			return m.Engine.SetRecord(ctx, n, record, ttl)
		}
	}},
	{"records of others", "records", func(m *clusterMutant) {
		m.records = func(ctx context.Context, prefix string) (map[string][]byte, error) {
			records, err := m.Engine.Records(ctx, prefix)
			foreign, _ := m.Engine.Records(ctx, prefix+"x")
			if records != nil {
				maps.Copy(records, foreign)
			}
			return records, err
		}
	}},
	{"serving goes on after Close", "clusterclose", func(m *clusterMutant) {
		m.ask = func(ctx context.Context, n engine.Node, request []byte) ([]byte, error) {
			reply, err := m.Engine.Ask(ctx, n, request)
			if err != nil && ctx.Err() == nil && m.Health(ctx) != nil {
				return nil, nil
			}
			return reply, err
		}
	}},
}

// TestClusterMutant is the child of TestEveryClusterCaseCatchesItsMutant, and
// fails by design.
func TestClusterMutant(t *testing.T) {
	if os.Getenv("COMET_MUTANTS") == "" {
		t.Skip("runs in a child process of TestEveryClusterCaseCatchesItsMutant only")
	}
	for _, b := range clusterBreaks {
		t.Run(b.name, func(t *testing.T) {
			enginetest.RunInBubble(t, func(t *testing.T) enginetest.Cluster {
				m := &clusterMutant{Engine: memory.New(memory.Config{Nodes: true})}
				b.mutate(m)
				return enginetest.Cluster{Handles: []engine.Engine{m}}
			})
		})
	}
}

func TestEveryClusterCaseCatchesItsMutant(t *testing.T) {
	caughtBy := map[string]string{}
	for _, b := range clusterBreaks {
		caughtBy[b.name] = b.caughtBy
	}
	catch(t, "TestClusterMutant", caughtBy)
}
