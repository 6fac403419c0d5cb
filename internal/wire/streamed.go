package wire

import (
	"fmt"
	"io"
	"runtime"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/sse"
)

// streamed is an event stream as the body of an ordinary response. fasthttp
// reads it after the handler chain, flushes what each Read gave before the
// next, and closes it. It is a reader and no StreamWriter, for that would start
// within the handler, cost a goroutine and a pipe, and learn of a lost peer
// some flushes later. Its methods are called by one goroutine at a time.
type streamed struct {
	src      *guard
	header   *fasthttp.ResponseHeader // of the response that this is the body of
	bell     chan struct{}
	coding   string // that negotiate said; "" for none
	shutdown <-chan struct{}
	dropped  runtime.Cleanup

	batch   sse.Batch
	rest    []byte // what of batch is not read yet
	started bool
	over    error // why nothing comes after rest; io.EOF: a clean end
	told    bool  // Read has returned over
}

// stream makes the body of ctx's response the event stream.
func stream(ctx *fasthttp.RequestCtx, g *guard) {
	s := &streamed{
		src:    g,
		header: &ctx.Response.Header,
		bell:   make(chan struct{}, 1),
	}
	if g.encoder = g.o.Compression.negotiate(ctx); g.encoder != nil {
		s.coding = string(ctx.Response.Header.ContentEncoding())
	}
	if ctx.Conn() != nil { // without one there is no server to ask
		s.shutdown = ctx.Done()
	}
	s.dropped = endIfDropped(s, g)
	ctx.Response.ImmediateHeaderFlush = true
	ctx.Response.SetBodyStream(s, -1)
}

func (s *streamed) wake() {
	select {
	case s.bell <- struct{}{}:
	default: // it has not been heard yet: Collect is still to come
	}
}

// Read gives what is pending. It waits while nothing is.
func (s *streamed) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.over, s.told = s.src.panicked(r), true
			n, err = 0, s.over
		}
	}()
	for len(s.rest) == 0 {
		if s.over != nil {
			s.told = true
			return 0, s.verdict()
		}
		s.fill()
	}
	n = copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// verdict is what fasthttp is told of the end. A shutdown is no fault of the
// connection's: the response is completed, and nothing logged.
func (s *streamed) verdict() error {
	if s.over == ErrShutdown {
		return io.EOF
	}
	return s.over
}

// fill collects once; if nothing came of it, it waits for a reason to try
// again.
func (s *streamed) fill() {
	if !s.started {
		s.started = true
		s.dropped.Stop()
		s.src.Start(s.wake)
	}
	data, more, err := s.src.collect(&s.batch)
	s.rest, s.over = data, err
	if more || err != nil || len(s.rest) > 0 {
		return
	}
	select {
	case <-s.bell:
	case <-s.shutdown:
		s.over = ErrShutdown
		s.batch.End()
		s.rest = s.batch.Bytes()
	}
}

// Close is fasthttp's last call. That it comes before the source has ended
// means that a write failed.
func (s *streamed) Close() error {
	s.dropped.Stop()
	switch {
	case !s.started:
		if s.coding != "" && string(s.header.ContentEncoding()) == s.coding { // else the other body's maker said it
			s.header.Del(fasthttp.HeaderContentEncoding) // the other body is as it is
		}
		s.src.end(fmt.Errorf("%w: the response was given another body", ErrNotStarted))
	case !s.told:
		s.src.end(ErrPeerClosed)
	case s.over == io.EOF:
		s.src.end(nil)
	default:
		s.src.end(s.over)
	}
	return nil
}
