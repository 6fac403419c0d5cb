package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
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

// parked is an event stream over a hijacked connection. Two goroutines meet
// here: the hijack handler's, which reads until the peer is gone, and the
// writer, which is there only while something is pending. They agree by state:
//
//	idle → running      by wake, which starts a writer
//	running → rerun     by wake: the writer must collect once more
//	rerun → running     by the writer, before it does
//	running → idle      by the writer, which leaves
//	any → closed        by whichever ends the stream
//
// The writer owns Collect and the fields marked so; state hands them from one
// writer to the next.
type parked struct {
	src     *guard
	conn    net.Conn // written to; read only through the hijacked connection
	o       Options
	framing framing
	dropped runtime.Cleanup

	state atomic.Uint32
	write func()        // writePending as a func value: wake must not allocate
	left  chan struct{} // closed when the writer has left for good

	head    []byte // writer's: the headers, until they are written
	started bool   // writer's
}

const (
	idle    uint32 = iota // no writer; wake starts one
	running               // a writer collects and writes
	rerun                 // and must collect again before it leaves
	closed                // no writer will start
)

// errInterrupted makes a writer leave without a word: the handler that
// interrupted it has the cause.
var errInterrupted = errors.New("wire: interrupted")

// park takes the connection over once the handler chain has returned.
func park(ctx *fasthttp.RequestCtx, g *guard, o Options) {
	p := &parked{
		src:     g,
		conn:    ctx.Conn(),
		o:       o,
		framing: framingFor(ctx),
		left:    make(chan struct{}),
	}
	p.write = p.writePending
	p.dropped = endIfDropped(p, g)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { p.serve(ctx, c) })
}

// serve is the hijack handler. fasthttp closes the connection and reuses ctx
// and c when it returns, so it returns after the writer has left.
func (p *parked) serve(ctx *fasthttp.RequestCtx, c net.Conn) {
	p.dropped.Stop()
	cause := p.hear(ctx, c)
	if p.state.Swap(closed) != idle {
		_ = p.conn.SetWriteDeadline(longAgo) // ends a write under way
		<-p.left
	}
	p.src.end(cause)
}

// longAgo is a deadline that ends what is under way.
var longAgo = time.Unix(1, 0)

// hear begins the stream and returns when the peer is gone, or when the writer
// made reading fail because it is done.
func (p *parked) hear(ctx *fasthttp.RequestCtx, c net.Conn) (cause error) {
	defer func() {
		if r := recover(); r != nil {
			cause = p.src.panicked(r)
		}
	}()
	_ = p.conn.SetDeadline(time.Time{})
	if ctx.Response.StatusCode() != fasthttp.StatusOK {
		return p.refuse(ctx, c)
	}
	limitUnsent(p.conn, p.o.NotSentLowat)
	p.head = p.framing.head(ctx)
	p.state.Store(running)
	go p.write()
	return discard(c)
}

// refuse sends the response that someone made of this one, and sees it off.
func (p *parked) refuse(ctx *fasthttp.RequestCtx, c net.Conn) error {
	cause := fmt.Errorf("%w: the response became status %d", ErrNotStarted, ctx.Response.StatusCode())
	ctx.Response.Header.SetConnectionClose()
	_ = p.conn.SetWriteDeadline(time.Now().Add(p.o.WriteTimeout))
	w := bufio.NewWriter(p.conn)
	if err := ctx.Response.Write(w); err != nil || w.Flush() != nil || !closeWrite(p.conn) {
		return cause
	}
	p.src.end(cause)
	_ = p.conn.SetReadDeadline(time.Now().Add(linger))
	return discard(c)
}

// discard reads until the peer is gone or has sent too much.
func discard(c net.Conn) error {
	// Small, for it stays as long as the connection does.
	var scratch [64]byte
	for n := 0; n <= maxAfterRequest; {
		m, err := c.Read(scratch[:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPeerClosed, err)
		}
		n += m
	}
	return ErrPeerSpoke
}

// wake makes sure that Collect is called after this moment.
func (p *parked) wake() {
	for {
		switch p.state.Load() {
		case idle:
			if p.state.CompareAndSwap(idle, running) {
				go p.write()
				return
			}
		case running:
			if p.state.CompareAndSwap(running, rerun) {
				return
			}
		default:
			return
		}
	}
}

// writePending is the writer: it leaves when nothing is pending, or for good.
func (p *parked) writePending() {
	ended, cause := p.pump()
	if !ended {
		return // a successor may be at work: p is no longer this goroutine's
	}
	p.state.Store(closed)
	if cause != errInterrupted {
		p.finish(cause)
	}
	close(p.left)
}

// pump collects and writes until nothing is pending or the stream has ended.
func (p *parked) pump() (ended bool, cause error) {
	buf := takeBuffers()
	defer buf.release()
	defer func() {
		if r := recover(); r != nil {
			ended, cause = true, p.src.panicked(r)
		}
	}()
	if !p.started {
		p.started = true
		p.src.Start(p.wake)
	}
	for {
		again, err := p.round(buf)
		switch {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return true, err
		case again:
		case p.state.CompareAndSwap(running, idle):
			return false, nil
		case !p.state.CompareAndSwap(rerun, running):
			return true, errInterrupted
		}
	}
}

// round collects once and writes what came of it. Again says that Collect is
// due without a wake.
func (p *parked) round(buf *buffers) (again bool, err error) {
	buf.batch.Reset()
	more, err := p.src.Collect(&buf.batch, p.o.Budget)
	if err != nil && err != io.EOF {
		return false, err
	}
	buf.out = append(buf.out[:0], p.head...)
	p.head = nil
	buf.out = p.framing.appendBody(buf.out, buf.batch.Bytes(), err == io.EOF)
	if werr := p.send(buf.out); werr != nil {
		return false, werr
	}
	return more || buf.batch.Len() > 0, err
}

// send writes out: in one write unless it is far beyond the budget. Then in
// pieces, each with the whole time, so that an event's size alone is no reason
// to lose a peer that is slow.
func (p *parked) send(out []byte) error {
	for len(out) > 0 {
		piece := out[:min(len(out), 2*p.o.Budget)]
		_ = p.conn.SetWriteDeadline(time.Now().Add(p.o.WriteTimeout))
		// After the deadline is set: the handler sets state and then a deadline
		// of its own, so either this sees the one or the write meets the other.
		if p.state.Load() == closed {
			return errInterrupted
		}
		if _, err := p.conn.Write(piece); err != nil {
			return p.writeFailed(err)
		}
		out = out[len(piece):]
	}
	return nil
}

func (p *parked) writeFailed(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case p.state.Load() == closed:
		return errInterrupted
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", ErrWriteTimeout, err)
	default:
		return fmt.Errorf("%w: %w", ErrPeerClosed, err)
	}
}

// finish is the writer's own end of the stream. It makes the handler's Read
// fail: at once, or after a clean end when the peer has closed too.
func (p *parked) finish(cause error) {
	deadline := longAgo
	if cause == nil && (closeWrite(p.conn) || p.framing == chunked) {
		deadline = time.Now().Add(linger)
	}
	_ = p.conn.SetReadDeadline(deadline)
	p.src.end(cause)
}
