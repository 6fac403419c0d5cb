//go:build !linux

package wire

import "net"

// limitUnsent does nothing: how much these systems buffer is left to them.
func limitUnsent(net.Conn, int) {}
