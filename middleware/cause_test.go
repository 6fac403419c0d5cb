package middleware

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/scope"
)

// TestCauses: each cause of wire's is counted under its own name, which scope has.
func TestCauses(t *testing.T) {
	seen := map[string]bool{}
	for _, err := range []error{
		wire.ErrPeerClosed, wire.ErrPeerSpoke, wire.ErrWriteTimeout, wire.ErrNotStarted, wire.ErrShutdown, wire.ErrPanic,
	} {
		name := causeOf(fmt.Errorf("wrapped: %w", err))
		if name == "other" || seen[name] || !slices.Contains(scope.Causes[:], name) {
			t.Errorf("%v is counted as %q", err, name)
		}
		seen[name] = true
	}
	if name := causeOf(errors.New("what nobody knows")); name != "other" {
		t.Errorf("an unknown cause is counted as %q", name)
	}
}
