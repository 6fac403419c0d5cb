package memory_test

import (
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/memory"
)

// Rules 1, 2, 5 and 6 as far as a log keeps them.
func TestConformance(t *testing.T) {
	enginetest.RunInBubble(t, func(t *testing.T) enginetest.Cluster {
		return enginetest.Cluster{Handles: []engine.Engine{memory.New()}}
	})
}

// The nodes of one app, which share an engine within a process.
func TestConformanceOfNodes(t *testing.T) {
	enginetest.RunInBubble(t, func(t *testing.T) enginetest.Cluster {
		return enginetest.Cluster{Handles: []engine.Engine{memory.New(memory.Config{Nodes: true})}}
	})
}
