package embedded_test

import (
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest/sitetest"
	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded/natstest"
)

// What Sites of two nodes make of a cluster's logs.
func TestSites(t *testing.T) {
	servers := natstest.Three(t)
	sitetest.Run(t, func(t *testing.T) []engine.Engine {
		return []engine.Engine{open(t, servers[0], nats.Config{}), open(t, servers[1], nats.Config{})}
	})
}
