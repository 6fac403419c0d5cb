package e2e

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
)

// reserve gives a loopback address that is the test's until it ends. Connections to it are refused until somebody listens
// there, and again when nobody does any more. A socket that is bound and does not listen has Linux give the port to nobody
// who asks for any, and lets those have it who ask for it with SO_REUSEADDR, as Go does.
func reserve(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(bound.(*syscall.SockaddrInet4).Port)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String()
}

func TestReserve(t *testing.T) {
	addr := reserve(t)
	for range 2 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Fatal("somebody listens where nobody should")
		}
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		listener.Close()
	}
}
