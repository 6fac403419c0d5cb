package wire

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// maxAfterRequest bounds what a peer may send after its request. Nothing
	// of it is ever looked at.
	maxAfterRequest = 4 << 10

	// linger is how long, after a clean end, the peer's own close is awaited.
	// Closing before the peer has read everything could reset the connection
	// and take the end of the stream with it.
	linger = time.Second
)

// hijacked is an event stream whose connection is to be taken from fasthttp.
type hijacked struct {
	src      *guard
	takeover bool
	dropped  runtime.Cleanup
}

// hijack takes ctx's connection once the handler chain has returned.
func hijack(ctx *fasthttp.RequestCtx, g *guard, takeover bool) {
	h := &hijacked{src: g, takeover: takeover}
	h.dropped = endIfDropped(h, g)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { h.serve(ctx, c) })
}

// serve is the hijack handler. fasthttp closes the connection and reuses ctx
// and c when it returns. Where it was told to keep such connections, closing c
// is what closes; otherwise that does nothing.
func (h *hijacked) serve(ctx *fasthttp.RequestCtx, c net.Conn) {
	h.dropped.Stop()
	defer c.Close()
	defer func() {
		if r := recover(); r != nil {
			h.src.end(h.src.panicked(r))
		}
	}()
	if ctx.Response.StatusCode() != fasthttp.StatusOK {
		h.refuse(ctx, c)
		return
	}
	h.src.encoder = h.src.o.Compression.negotiate(ctx)
	if !h.takeover || !takeOver(ctx, h.src) {
		park(ctx, c, h.src)
	}
}

// refuse sends the response that someone made of this one, and sees it off.
func (h *hijacked) refuse(ctx *fasthttp.RequestCtx, c net.Conn) {
	cause := fmt.Errorf("%w: the response became status %d", ErrNotStarted, ctx.Response.StatusCode())
	defer h.src.end(cause)
	conn := ctx.Conn()
	ctx.Response.Header.SetConnectionClose()
	_ = conn.SetDeadline(time.Now().Add(h.src.o.WriteTimeout))
	w := bufio.NewWriter(conn)
	if err := ctx.Response.Write(w); err != nil || w.Flush() != nil || !closeWrite(conn) {
		return
	}
	h.src.end(cause)
	_ = conn.SetReadDeadline(time.Now().Add(linger))
	_ = discard(c)
}

// discard reads until the peer is gone or has sent too much.
func discard(r io.Reader) error {
	// Small, for it stays as long as the connection does.
	var scratch [64]byte
	for n := 0; n <= maxAfterRequest; {
		m, err := r.Read(scratch[:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPeerClosed, err)
		}
		n += m
	}
	return ErrPeerSpoke
}
