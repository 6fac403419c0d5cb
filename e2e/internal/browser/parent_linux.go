package browser

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the system kill the browser when this program ends without doing so.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
