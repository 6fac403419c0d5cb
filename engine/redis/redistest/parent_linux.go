package redistest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the system kill the server when this program ends without doing so.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
