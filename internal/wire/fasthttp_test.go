package wire_test

import (
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
)

// What this package relies on inside fasthttp, and would break silently with
// another version of it.

// The connections' types, by which the way is chosen.
func TestConnectionTypes(t *testing.T) {
	for _, c := range []struct {
		name   string
		listen kind
		conn   string
		way    string
	}{
		{"tcp", kind{listen: listenTCP}, "*net.TCPConn", best.name},
		{"unix", kind{listen: listenUnix}, "*net.UnixConn", best.name},
		{"fiber", kind{listen: listenTCP, fiber: true}, "*net.TCPConn", best.name},
		{"tls", kind{listen: listenTLS}, "*tls.Conn", "parked"},
		{"per-ip", kind{listen: listenTCP, tune: func(s *fasthttp.Server) { s.MaxConnsPerIP = 9 }}, "*fasthttp.perIPConn", "parked"},
		{"unknown", kind{listen: listenUnknown}, "struct { net.Conn }", "parked"},
		{"shy tcp", kind{listen: shy(listenTCP)}, "wire_test.shyTCP", "parked"},
		{"shy unix", kind{listen: shy(listenUnix)}, "wire_test.shyUnix", "parked"},
		{"memory", kind{listen: listenMemory}, "*fasthttputil.pipeConn", "streamed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var conn, way string
			srv := c.listen.serve(t, func(ctx *fasthttp.RequestCtx) {
				conn, way = fmt.Sprintf("%T", ctx.Conn()), wire.WayOf(ctx)
			})
			srv.connect(getOnce).header()
			if conn != c.conn || way != c.way {
				t.Errorf("%s over a %s, want %s over a %s", way, conn, c.way, c.conn)
			}
		})
	}
}

// The connection of Fiber's App.Test, and a context without one.
func TestConnectionsWithoutASocket(t *testing.T) {
	app := fiber.New()
	var conn, way string
	app.Get("/", func(c *fiber.Ctx) error {
		conn, way = fmt.Sprintf("%T", c.Context().Conn()), wire.WayOf(c.Context())
		return nil
	})
	if _, err := app.Test(httptest.NewRequest("GET", "/", nil)); err != nil {
		t.Fatal(err)
	}
	if conn != "*fiber.testConn" || way != "streamed" {
		t.Errorf("App.Test: a %s, %s", conn, way)
	}
	if got := wire.WayOf(&fasthttp.RequestCtx{}); got != "streamed" {
		t.Errorf("a context without a connection: %s", got)
	}
}

// A hijack handler runs after the handler chain, with the response as that left
// it; it is given the connection of ctx, and what was read ahead; and the
// connection is closed when it returns.
func TestHijackHandler(t *testing.T) {
	ln, dial := listenTCP(t)
	var returned atomic.Bool
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		mine := ctx.Conn()
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(c net.Conn) {
			if !returned.Load() {
				t.Error("the hijack handler runs within the handler chain")
			}
			if mine != c.(interface{ UnsafeConn() net.Conn }).UnsafeConn() {
				t.Error("ctx.Conn is not the connection that was hijacked")
			}
			ahead := make([]byte, 5)
			if _, err := io.ReadFull(c, ahead); err != nil || string(ahead) != "ahead" {
				t.Errorf("read ahead: %q, %v", ahead, err)
			}
			_, _ = mine.Write(ctx.Response.Header.Peek("X-Late"))
		})
		ctx.Response.Header.Set("X-Late", "set after Hijack")
		returned.Store(true)
	}}
	go func() { _ = srv.Serve(ln) }()
	defer func() { _ = srv.Shutdown() }()
	s := &server{t: t, dial: dial}
	if got := string(s.connect(get + "ahead").rawBody()); got != "set after Hijack" {
		t.Errorf("the peer got %q", got)
	}
}

// closing counts what fasthttp does with a body stream.
type closing struct {
	io.Reader
	chain  *atomic.Bool
	t      *testing.T
	closed atomic.Int32
}

func (c *closing) Read(p []byte) (int, error) {
	if !c.chain.Load() {
		c.t.Error("the body is read within the handler chain")
	}
	return c.Reader.Read(p)
}

func (c *closing) Close() error { c.closed.Add(1); return nil }

// A body stream is read after the handler chain and closed exactly once, read
// or not.
func TestBodyStream(t *testing.T) {
	k := kind{listen: listenMemory}
	for _, request := range []string{get, head} {
		var chain atomic.Bool
		body := &closing{Reader: strings.NewReader("body"), chain: &chain, t: t}
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			ctx.SetConnectionClose()
			ctx.Response.SetBodyStream(body, -1)
			chain.Store(true)
		})
		_ = srv.connect(request).rawBody()
		if n := body.closed.Load(); n != 1 {
			t.Errorf("%q: closed %d times", request, n)
		}
	}
}

// collectGarbage runs the collector until Gone was called by it.
func collectGarbage(t *testing.T, src *script) {
	t.Helper()
	eventually(t, "the collector finds the response", func() bool {
		runtime.GC()
		return src.left.Load() > 0
	})
	src.waitGone(wire.ErrNotStarted)
}

// fasthttp forgets a response that a timeout handler overtook. The source hears
// of it all the same.
func TestOvertakenByTimeout(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		answered := make(chan struct{})
		srv := k.serve(t, fasthttp.TimeoutHandler(func(ctx *fasthttp.RequestCtx) {
			wire.Serve(ctx, src, wire.Options{})
			<-answered
		}, 10*time.Millisecond, "too late"))
		if status, _ := srv.connect(getOnce).header(); !strings.Contains(status, "408") {
			t.Errorf("status %q", status)
		}
		close(answered)
		collectGarbage(t, src)
	})
}

// fasthttp forgets the first of two hijacks, too.
func TestHijackedByAnother(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.hijacks {
			t.Skip("nothing is hijacked")
		}
		src := newScript(t)
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			wire.Serve(ctx, src, wire.Options{})
			ctx.Hijack(func(c net.Conn) {
				_, _ = io.WriteString(c, "mine")
				c.Close() // where the server keeps hijacked connections
			})
		})
		if got := string(srv.connect(get).rawBody()); got != "mine" {
			t.Errorf("the peer got %q", got)
		}
		collectGarbage(t, src)
	})
}
