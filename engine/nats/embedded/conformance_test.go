package embedded_test

import (
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
)

// handle opens an engine that the kit closes.
func handle(t *testing.T, s *embedded.Server, c nats.Config) engine.Engine {
	t.Helper()
	e, err := s.Engine(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestOneServer(t *testing.T) {
	s := natstest.Single(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Cluster {
		return enginetest.Cluster{Handles: []engine.Engine{handle(t, s, nats.Config{}), handle(t, s, nats.Config{})}}
	})
}

// TestThreeServers is all that needs a cluster whose servers live.
func TestThreeServers(t *testing.T) {
	servers := natstest.Three(t)
	for name, test := range map[string]func(*testing.T, []*embedded.Server){
		"nobody hears":        testNobodyHears,
		"append after delete": testAppendAfterDeleteElsewhere,
		"after the end":       testPositionAfterTheEnd,
		"chain":               testOffersAreAChain,
		"storage":             testStorageReadsWhatWasWrittenElsewhere,
		"sessions":            testSessionsFollowTheUser,
	} {
		t.Run(name, func(t *testing.T) { test(t, servers) })
	}
	enginetest.Run(t, func(t *testing.T) enginetest.Cluster {
		var c enginetest.Cluster
		for _, s := range servers[:2] {
			c.Handles = append(c.Handles, handle(t, s, nats.Config{}))
		}
		return c
	})
}
