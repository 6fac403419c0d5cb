//go:build unix

package redistest

import (
	"os"
	"syscall"
)

var terminate os.Signal = syscall.SIGTERM

func pause(p *os.Process)  { _ = p.Signal(syscall.SIGSTOP) }
func resume(p *os.Process) { _ = p.Signal(syscall.SIGCONT) }
