package leak

import (
	"strings"
	"testing"
)

func parked(release chan struct{}) { <-release }

func TestAGoroutineIsSeenByItsFunction(t *testing.T) {
	release := make(chan struct{})
	go parked(release)
	found := func() bool { return strings.Contains(strings.Join(Stacks(), "\n"), "leak.parked") }
	for !found() {
	}
	close(release)
	if left := wait([]string{"testing.", "leak.parked"}); len(left) > 0 {
		t.Fatal(left)
	}
}
