package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
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
	framing framing

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

// park writes the event stream to ctx's connection, and returns when it is
// over. The peer is heard through c, which has what was read ahead.
func park(ctx *fasthttp.RequestCtx, c net.Conn, g *guard) {
	p := &parked{
		src:     g,
		conn:    ctx.Conn(),
		framing: framingFor(ctx),
		left:    make(chan struct{}),
	}
	p.head = bytes.Clone(p.framing.head(ctx))
	p.write = p.writePending
	cause := p.hear(c)
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
func (p *parked) hear(c net.Conn) (cause error) {
	defer func() {
		if r := recover(); r != nil {
			cause = p.src.panicked(r)
		}
	}()
	_ = p.conn.SetDeadline(time.Time{})
	tune(p.conn, p.src.o)
	p.state.Store(running)
	go p.write()
	return discard(c)
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
	data, more, err := p.src.collect(&buf.batch)
	if err != nil && err != io.EOF {
		return false, err
	}
	buf.out = append(buf.out[:0], p.head...)
	p.head = nil
	buf.out = p.framing.appendBody(buf.out, data, err == io.EOF)
	if werr := p.send(buf.out); werr != nil {
		return false, werr
	}
	return more, err
}

// send writes out: in one write unless it is far beyond the budget. Then in
// pieces, each with the whole time, so that an event's size alone is no reason
// to lose a peer that is slow.
func (p *parked) send(out []byte) error {
	var began time.Time
	for len(out) > 0 {
		now := time.Now()
		if began.IsZero() {
			began = now
		}
		piece := out[:min(len(out), 2*p.src.o.Budget)]
		_ = p.conn.SetWriteDeadline(now.Add(p.src.o.WriteTimeout))
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
	if took := time.Since(began); !began.IsZero() && took > time.Millisecond {
		p.src.wrote(took)
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
