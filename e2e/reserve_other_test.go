//go:build !linux

package e2e

import (
	"net"
	"testing"
)

// reserve gives a loopback address that nobody listens at. Somebody else may come to have it.
func reserve(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
