//go:build race

package wire

import "syscall"

// announce tells the race detector what Go's own writes tell it: that whatever
// was done before a write happened before the peer's read of it. Tests whose
// client is in the same process rely on that, and a raw system call does not
// say it; a write to no descriptor does.
func announce() { _, _ = syscall.Write(-1, nil) }
