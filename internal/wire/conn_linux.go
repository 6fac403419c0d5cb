package wire

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// Left reports whether the peer has closed its side of the connection already, and
// sent nothing more before that: nobody waits for the answer. It does not block, and
// is false where it cannot be known, as on other systems than Linux.
func Left(ctx *fasthttp.RequestCtx) (left bool) {
	tcp := tcpConn(ctx.Conn())
	if tcp == nil {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		left = err == nil && n == 0 || err == unix.ECONNRESET
	})
	return left
}

// tune sets TCP_NOTSENT_LOWAT and TCP_USER_TIMEOUT. It goes through Control and
// not through File, whose duplicate would put the socket into blocking mode. A
// failure is no reason to refuse the stream: the peer is only judged later.
func tune(c net.Conn, o *Options) {
	tcp := tcpConn(c)
	if tcp == nil {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if o.NotSentLowat > 0 {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat)
		}
		if o.PeerTimeout > 0 {
			ms := max(1, o.PeerTimeout/2/time.Millisecond) // 0 would be the system's setting
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(ms))
		}
	})
}

// takeable tells whether c is a bare socket: one whose descriptor alone is the
// connection. Under TLS there is state besides, and a wrapper may have reasons.
func takeable(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}
