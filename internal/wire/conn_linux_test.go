package wire_test

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// The kernel is told how much it may take from us ahead of the peer, and how
// long to wait for it; a negative option leaves it alone.
func TestSocketOptions(t *testing.T) {
	for _, k := range kinds {
		if k.name != "tcp" && k.name != "tls" {
			continue
		}
		for _, c := range []struct {
			name                string
			options             wire.Options
			notSent, userMillis int
		}{
			{"default", wire.Options{}, 16 << 10, 15000},
			{"given", wire.Options{NotSentLowat: 5000, PeerTimeout: time.Minute}, 5000, 30000},
			{"tiny", wire.Options{PeerTimeout: 1}, 16 << 10, 1},
			{"left alone", wire.Options{NotSentLowat: -1, PeerTimeout: -1}, -1, 0},
		} {
			t.Run(k.way.name+"/"+k.name+"/"+c.name, func(t *testing.T) {
				src := newScript(t)
				var conn net.Conn
				var notSent, userMillis int
				src.collect = func(b *sse.Batch, budget int) (bool, error) {
					notSent = option(t, conn, unix.TCP_NOTSENT_LOWAT)
					userMillis = option(t, conn, unix.TCP_USER_TIMEOUT)
					src.collect = nil
					return src.take(b, budget)
				}
				srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
					conn = ctx.Conn()
					wire.Serve(ctx, src, c.options)
				})
				srv.connect(get).header()
				src.finish(nil)
				src.waitGone(nil)
				if notSent != c.notSent || userMillis != c.userMillis {
					t.Errorf("TCP_NOTSENT_LOWAT %d, TCP_USER_TIMEOUT %d, want %d and %d", notSent, userMillis, c.notSent, c.userMillis)
				}
			})
		}
	}
}

func option(t *testing.T, c net.Conn, name int) (value int) {
	switch over := c.(type) {
	case *tls.Conn:
		c = over.NetConn()
	case shyTCP:
		c = over.TCPConn
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Error(err)
		return 0
	}
	if cerr := raw.Control(func(fd uintptr) {
		value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name)
	}); cerr != nil || err != nil {
		t.Error(cerr, err)
	}
	return value
}
