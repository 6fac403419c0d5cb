package channel

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run if a goroutine of this module outlives the tests (rule
// 13).
func TestMain(m *testing.M) {
	code := m.Run()
	if leaked := leftGoroutines(); code == 0 && leaked != "" {
		fmt.Fprintln(os.Stderr, "goroutines outlive the tests:\n"+leaked)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines gives goroutines that are about to end a while for it.
func leftGoroutines() string {
	var left []string
	for range 200 {
		buf := make([]byte, 1<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		left = left[:0]
		for _, s := range stacks[1:] {
			if strings.Contains(s, "github.com/ocsigo/comet") {
				left = append(left, s)
			}
		}
		if len(left) == 0 {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}
