//go:build !linux

package browser

import "os/exec"

// dieWithParent does nothing: only Linux can promise it.
func dieWithParent(*exec.Cmd) {}
