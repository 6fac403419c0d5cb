package wire

import (
	"net"

	"golang.org/x/sys/unix"
)

// limitUnsent sets TCP_NOTSENT_LOWAT. It goes through Control and not through
// File, whose duplicate would put the socket into blocking mode. A failure is
// no reason to refuse the stream: the peer is only judged slow later.
func limitUnsent(c net.Conn, bytes int) {
	tcp := tcpConn(c)
	if tcp == nil || bytes < 0 {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
	})
}
