package wire

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// taken is an event stream whose socket was taken over. While it is idle this
// is all there is of it. The poller and wake post news to state; whoever makes
// it scheduled puts it into a queue, and the worker that finds it there holds
// it: only the holder calls the source, and only the holder touches the fields
// marked so, until it leaves.
type taken struct {
	src     *guard
	sock    descriptor
	state   atomic.Uint32
	framing framing
	spoken  uint16   // poller's: bytes that came after the request
	started bool     // holder's
	ended   bool     // holder's: all is written and told
	next    *taken   // the queue's
	backlog *backlog // holder's; nil: nothing is in the way
}

// The bits of state. The first are news, which the holder takes.
const (
	woken     uint32 = 1 << iota // something may be pending
	writable                     // the socket takes bytes again
	left                         // the peer is gone
	spoke                        // the peer sent too much
	late                         // a backlog's time is up, or was
	scheduled                    // in a queue, or held
	waiting                      // there is a backlog: to be woken is no news
	over                         // no news matter any more

	news = woken | writable | left | spoke | late
)

// maxRounds is how many batches a stream may write before others have a turn.
const maxRounds = 4

// takeOver makes ctx's socket the stream's own and begins the stream. The
// server's copy is then closed like any connection's. If the stream cannot have
// a descriptor, nothing has happened.
func takeOver(ctx *fasthttp.RequestCtx, g *guard) bool {
	conn, ok := ctx.Conn().(syscall.Conn)
	if !ok {
		return false
	}
	tune(ctx.Conn(), g.o)
	s := &taken{src: g, framing: framingFor(ctx)}
	s.state.Store(scheduled)
	if s.sock.open(conn, s) != nil {
		return false
	}
	buf := takeBuffers()
	defer buf.release()
	if s.turn(buf, s.framing.head(ctx)) {
		s.sock.set.queues.push(s)
	}
	return true
}

func (s *taken) wake() { s.post(woken) }

// post adds to the stream's news and, if it is for the caller to do, queues it.
func (s *taken) post(add uint32) {
	for {
		old := s.state.Load()
		if old&over != 0 || old&add == add {
			return
		}
		mine := old&scheduled == 0
		switch {
		case add == woken && old&waiting != 0:
			mine = false
		case add == writable && old&(waiting|scheduled) == 0:
			return // nobody asked
		}
		next := old | add
		if mine {
			next |= scheduled
		}
		if s.state.CompareAndSwap(old, next) {
			if mine {
				s.sock.set.queues.push(s)
			}
			return
		}
	}
}

// leave ends the holding. False: there are news, and the caller goes on. While
// something keeps the stream waiting, a wake is none.
func (s *taken) leave(next step) bool {
	matter, mark := news, uint32(0)
	if next == stuck {
		matter, mark = news&^woken, waiting
	}
	for {
		old := s.state.Load()
		if old&matter != 0 {
			return false
		}
		if s.state.CompareAndSwap(old, old&^scheduled|mark) {
			return true
		}
	}
}

// step is what comes after a round.
type step uint8

const (
	again step = iota // another one
	quiet             // nothing, until there is a wake
	stuck             // nothing, until the kernel or the time says so
)

// turn is the holder's work: it says what is pending, after the head if there
// is one, until nothing is or others should have a turn. Due says that the
// stream is to be queued again; else it is not the caller's any more.
func (s *taken) turn(buf *buffers, head []byte) (due bool) {
	defer func() {
		if r := recover(); r != nil {
			s.end(s.src.panicked(r))
			due = false
		}
	}()
	if !s.started {
		s.started = true
		s.src.Start(s.wake)
	}
	for range maxRounds {
		heard := s.state.And(^(news | waiting))
		next, err := s.round(buf, head, heard)
		if err != nil {
			s.end(err)
			return false
		}
		if next != again && s.leave(next) {
			return false
		}
		head = nil
	}
	return true
}

// round acts on what was heard, and writes at most once. Its error is the cause
// of the stream's end.
func (s *taken) round(buf *buffers, head []byte, heard uint32) (step, error) {
	switch {
	case heard&left != 0:
		return 0, peerClosed(s.sock.failure())
	case heard&spoke != 0:
		return 0, ErrPeerSpoke
	case heard&late != 0 && s.backlog.expired():
		return 0, ErrWriteTimeout
	case s.ended:
		return stuck, nil
	case s.backlog != nil:
		return s.flush()
	default:
		return s.collect(buf, head)
	}
}

func (s *taken) collect(buf *buffers, head []byte) (step, error) {
	data, more, err := s.src.collect(&buf.batch)
	if err != nil && err != io.EOF {
		return 0, err
	}
	last := err == io.EOF
	buf.out = s.framing.appendBody(append(buf.out[:0], head...), data, last)
	next, err := s.write(buf.out, last)
	if next == again && !more {
		next = quiet
	}
	return next, err
}

// write gives the kernel out, and keeps what it does not take.
func (s *taken) write(out []byte, last bool) (step, error) {
	if len(out) > 0 {
		n, err := s.sock.send(out)
		if err != nil {
			return 0, peerClosed(err)
		}
		if n < len(out) {
			s.backlog = s.newBacklog(bytes.Clone(out[n:]), last)
			s.backlog.allow(s.src.o)
			return stuck, s.sock.watchWritable()
		}
	}
	if last {
		return s.finish()
	}
	return again, nil
}

// flush writes of the backlog what the kernel takes by now.
func (s *taken) flush() (step, error) {
	b := s.backlog
	n, err := s.sock.send(b.rest)
	if err != nil {
		return 0, peerClosed(err)
	}
	if b.rest = b.rest[n:]; len(b.rest) > 0 {
		if b.piece -= n; b.piece <= 0 {
			b.allow(s.src.o)
		}
		return stuck, nil // the kernel said no, so it will tell: an edge
	}
	b.timer.Stop()
	s.backlog = nil
	s.src.wrote(time.Since(b.since))
	if b.last {
		return s.finish()
	}
	return again, nil
}

// finish is the clean end, but for the descriptor: it is closed when the peer
// has closed too, or has had its time.
func (s *taken) finish() (step, error) {
	s.ended = true
	_ = s.sock.shutdown() // if it fails the peer is gone, which is heard
	s.src.end(nil)
	s.backlog = s.newBacklog(nil, false)
	s.backlog.within(linger)
	return stuck, nil
}

// end closes the descriptor and tells the source, if that was not told before.
func (s *taken) end(cause error) {
	s.state.Store(over)
	if s.backlog != nil {
		s.backlog.timer.Stop()
		s.backlog = nil
	}
	s.sock.close()
	s.src.end(cause)
}

// peerClosed makes a cause of what the kernel says about a connection; nil if it
// says nothing bad.
func peerClosed(err error) error {
	if err == nil {
		return ErrPeerClosed
	}
	return fmt.Errorf("%w: %w", ErrPeerClosed, err)
}

// listen throws away what the peer sends, and returns the news in it. It is the
// poller's.
func (s *taken) listen(scratch []byte) uint32 {
	for s.spoken <= maxAfterRequest {
		n, err := s.sock.receive(scratch)
		switch {
		case err == unix.EAGAIN || err == errClosed:
			return 0
		case err != nil || n == 0:
			return left
		}
		s.spoken += uint16(n)
	}
	return spoke
}
