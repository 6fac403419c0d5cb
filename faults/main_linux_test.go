package faults

import (
	"os"
	"testing"

	"github.com/ocsigo/comet/faults/internal/proc"
)

func TestMain(m *testing.M) {
	proc.Main(map[string]proc.Role{"nats": serveNATS, "node": serveNode, "prefork": servePrefork})
	os.Exit(m.Run())
}
