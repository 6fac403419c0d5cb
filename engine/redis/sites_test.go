package redis_test

import (
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest/sitetest"
	"github.com/ocsigo/comet/engine/redis/redistest"
)

// What Sites of two nodes make of a server's logs, by a feed that loses, doubles, delays
// and reorders.
func TestSites(t *testing.T) {
	server := redistest.Start(t)
	sitetest.Run(t, func(t *testing.T) []engine.Engine {
		return []engine.Engine{open(t, server.Client()), open(t, server.Client())}
	})
}
