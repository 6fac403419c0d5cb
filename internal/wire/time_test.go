package wire_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
)

// Time, exactly: fasthttp and parked over a net.Pipe, on the bubble's clock.

// pipe serves src to one peer over a net.Pipe. srv may carry timeouts.
func pipe(t *testing.T, srv *fasthttp.Server, src wire.Source, o wire.Options) *bufio.Reader {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	srv.NoDefaultDate = true // fasthttp's clock for it would outlive the bubble
	srv.Handler = func(ctx *fasthttp.RequestCtx) { wire.Serve(ctx, src, o) }
	go func() {
		if err := srv.ServeConn(theirs); err != nil {
			t.Errorf("ServeConn: %v", err)
		}
	}()
	if _, err := io.WriteString(ours, get); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReaderSize(ours, 16) // small, for nothing to be taken early
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReaderSize(resp.Body, 16)
}

// A peer that takes nothing is lost WriteTimeout after the write began: 10 s
// unless said otherwise.
func TestWriteTimeout(t *testing.T) {
	for option, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Minute: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			src := newScript(t)
			pipe(t, &fasthttp.Server{}, src, wire.Options{WriteTimeout: option})
			time.Sleep(time.Hour) // idle is not slow
			start := time.Now()
			src.say("nobody reads this")
			if cause := <-src.gone; !errors.Is(cause, wire.ErrWriteTimeout) {
				t.Errorf("Gone(%v)", cause)
			}
			if took := time.Since(start); took != want {
				t.Errorf("lost after %v, want %v", took, want)
			}
		})
	}
}

// A peer that takes a huge event slowly, but something within every
// WriteTimeout, gets it: an event's size must not cut a stream that would then
// come back for the same event for ever.
func TestSlowPeerGetsHugeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		huge := strings.Repeat("0123456789abcdef", 64)
		src := newScript(t)
		r := pipe(t, &fasthttp.Server{}, src, wire.Options{Budget: 16})
		src.say(huge)
		src.finish(nil)
		start := time.Now()
		var got []byte
		for {
			piece := make([]byte, 16)
			n, err := r.Read(piece)
			got = append(got, piece[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("cut after %v and %d bytes: %v", time.Since(start), len(got), err)
			}
			time.Sleep(2 * time.Second) // 32 bytes are one write, and some 4 s
		}
		if !strings.Contains(string(got), huge) {
			t.Errorf("%d bytes came", len(got))
		}
		if took := time.Since(start); took < time.Minute {
			t.Errorf("it took %v: nothing was slow", took)
		}
		src.waitGone(nil)
	})
}

// The server's own timeouts, counted from the request, do not cut the stream.
func TestServerTimeoutsDoNotApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(t)
		srv := &fasthttp.Server{ReadTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second}
		r := pipe(t, srv, src, wire.Options{})
		for range 3 {
			time.Sleep(24 * time.Hour)
			src.say("still here")
			events(t, r, 1)
		}
		src.finish(nil)
		if _, err := io.ReadAll(r); err != nil {
			t.Errorf("the stream did not end cleanly: %v", err)
		}
		src.waitGone(nil)
	})
}

// After a clean end Gone comes at once; a peer that does not close is waited
// for, but not long.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		src := ended(t)
		over := make(chan time.Time, 1)
		srv := &fasthttp.Server{NoDefaultDate: true, Handler: func(ctx *fasthttp.RequestCtx) {
			wire.Serve(ctx, src, wire.Options{})
		}}
		go func() { _ = srv.ServeConn(theirs) }()
		if _, err := io.WriteString(ours, get); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go func() {
			_, _ = io.Copy(io.Discard, ours)
			over <- time.Now()
		}()
		synctest.Wait()
		if n := src.(*script).left.Load(); n != 1 {
			t.Errorf("Gone was called %d times when the end was written", n)
		}
		if took := (<-over).Sub(start); took != time.Second {
			t.Errorf("the connection was closed after %v, want 1s", took)
		}
	})
}
