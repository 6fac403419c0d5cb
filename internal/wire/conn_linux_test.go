package wire_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/ocsigo/comet/internal/wire"
)

// The kernel is told how much it may take from us ahead of the peer, on TCP and
// under TLS; a negative option leaves it alone.
func TestNotSentLowat(t *testing.T) {
	tcp := kind{name: "tcp", listen: listenTCP}
	for _, c := range []struct {
		name   string
		listen kind
		option int
		want   func(int) bool
	}{
		{"default", tcp, 0, func(n int) bool { return n == 16<<10 }},
		{"given", tcp, 5000, func(n int) bool { return n == 5000 }},
		{"left alone", tcp, -1, func(n int) bool { return n != 16<<10 }},
		{"tls", kind{name: "tls", listen: listenTLS}, 0, func(n int) bool { return n == 16<<10 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := newScript(t)
			var conn net.Conn
			srv := c.listen.serve(t, func(ctx *fasthttp.RequestCtx) {
				conn = ctx.Conn()
				wire.Serve(ctx, src, wire.Options{NotSentLowat: c.option})
			})
			srv.connect(get).header()
			if got := notSentLowat(t, conn); !c.want(got) {
				t.Errorf("TCP_NOTSENT_LOWAT is %d", got)
			}
			src.finish(nil)
			src.waitGone(nil)
		})
	}
}

func notSentLowat(t *testing.T, c net.Conn) (bytes int) {
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) {
		bytes, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return bytes
}
