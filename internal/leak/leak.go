// Package leak fails a test run that leaves a goroutine behind.
package leak

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long a goroutine may take to end after the last test.
const patience = 15 * time.Second

// Main runs the tests and exits. It fails the run if a goroutine is left whose stack
// names none of known: what dependencies leave running, each by the function it
// runs.
func Main(m *testing.M, known ...string) {
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(code) // go test's own goroutines listen for signals
	}
	if left := wait(known); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "leak: %d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// wait returns what is left when everything ended, or patience did.
func wait(known []string) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left := slices.DeleteFunc(Stacks(), func(stack string) bool {
			return strings.Contains(stack, "internal/leak.Main") ||
				slices.ContainsFunc(known, func(f string) bool { return strings.Contains(stack, f) })
		})
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// Stacks returns the stack of every goroutine.
func Stacks() []string {
	for size := 1 << 20; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size {
			return strings.Split(strings.TrimSpace(string(b[:n])), "\n\n")
		}
	}
}
