package wire_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/ocsigo/comet/internal/wire"
)

// What only the kernel can show: lost machines, lost descriptors, slow lines.

// vanish makes c's socket drop every packet that comes, as if its machine were
// gone: nothing is acknowledged any more, nor refused.
func vanish(t *testing.T, c net.Conn) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}

// A peer that vanishes without a word is noticed within PeerTimeout, if there is
// a heartbeat after half of it.
func TestVanishedPeer(t *testing.T) {
	for _, k := range kinds {
		if k.name != "tcp" {
			continue
		}
		t.Run(k.way.name, func(t *testing.T) {
			t.Parallel()
			const timeout = 2 * time.Second
			src := newScript(t)
			p := k.stream(t, src, wire.Options{PeerTimeout: timeout}).connect(get)
			r := bufio.NewReader(p.response(http.MethodGet).Body)
			src.say("hello")
			events(t, r, 1)
			vanish(t, p.conn)
			start := time.Now()
			time.Sleep(timeout / 2)
			src.say("heartbeat")
			src.waitGone(wire.ErrPeerClosed)
			if took := time.Since(start); took > timeout+timeout/2 {
				t.Errorf("noticed after %v, want about %v", took, timeout)
			}
		})
	}
}

// Where there is no descriptor to be had the stream is parked: it is served all
// the same.
func TestNoDescriptorLeft(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 1
	restore := func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }
	defer restore()
	src := newScript(t)
	src.say("one")
	p := kind{way: best, listen: listenTCP}.serve(t, func(ctx *fasthttp.RequestCtx) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
			t.Error(err)
		}
		wire.Serve(ctx, src, wire.Options{})
	}).connect(get)
	r := bufio.NewReader(p.response(http.MethodGet).Body)
	restore()
	events(t, r, 1)
	if !slices.ContainsFunc(goroutines(), func(stack string) bool { return strings.Contains(stack, "wire.park(") }) {
		t.Error("the stream is not parked")
	}
	src.say("two")
	src.finish(nil)
	events(t, r, 1)
	src.waitGone(nil)
}

// A peer that takes a huge event slowly, but something within every
// WriteTimeout, gets it.
func TestSlowLine(t *testing.T) {
	const timeout = 400 * time.Millisecond
	huge := strings.Repeat("0123456789abcdef", 128<<10)
	src := newScript(t)
	src.say(huge)
	src.finish(nil)
	srv := kind{way: best, listen: listenTCP}.stream(t, src, wire.Options{WriteTimeout: timeout, Budget: 16 << 10})
	p := srv.connect("")
	if err := p.conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.conn, get); err != nil {
		t.Fatal(err)
	}
	start, got := time.Now(), 0
	for piece := make([]byte, 64<<10); ; time.Sleep(40 * time.Millisecond) {
		n, err := io.ReadFull(p.conn, piece)
		got += n
		if err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			t.Fatalf("cut after %v and %d bytes: %v", time.Since(start), got, err)
		}
	}
	if got < len(huge) {
		t.Errorf("%d of %d bytes came", got, len(huge))
	}
	if took := time.Since(start); took < 2*timeout {
		t.Errorf("it took %v: nothing was slow", took)
	}
	src.waitGone(nil)
}

// The server's copy of the socket is closed, and the stream lives: fasthttp does
// nothing to the connection but close it, and closing what a hijack handler was
// given closes where fasthttp keeps connections.
func TestServersCopyIsClosed(t *testing.T) {
	for _, k := range kinds {
		if k.way != best || k.name == "unix" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			src := newScript(t)
			var conn *net.TCPConn
			r := bufio.NewReader(k.serve(t, func(ctx *fasthttp.RequestCtx) {
				conn = ctx.Conn().(*net.TCPConn)
				wire.Serve(ctx, src, wire.Options{})
			}).connect(get).response(http.MethodGet).Body)
			eventually(t, "the server's copy is closed", func() bool {
				return errors.Is(conn.SetDeadline(time.Time{}), net.ErrClosed)
			})
			for _, event := range numbered("event", 3) {
				src.say(event)
				events(t, r, 1)
			}
			src.finish(nil)
			if _, err := io.ReadAll(r); err != nil {
				t.Errorf("the stream did not end cleanly: %v", err)
			}
			src.waitGone(nil)
		})
	}
}
