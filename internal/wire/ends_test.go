package wire_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// The conformance suite, third part: how event streams end, and for whom.

// A clean end is a clean one for net/http and in the raw bytes, also when the
// peer sent something that nobody will read.
func TestCleanEnd(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		srv := k.stream(t, src, wire.Options{})
		resp, err := srv.client().Get("http://comet/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		src.say("one")
		src.finish(nil)
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "data: one\n\n" {
			t.Errorf("body %q, %v", b, err)
		}
		src.waitGone(nil)

		p := srv.connect(get + strings.Repeat("unasked ", 50))
		p.header()
		if b := p.rawBody(); k.coding == "" && !strings.HasSuffix(string(b), "0\r\n\r\n") {
			t.Errorf("the stream ends with %q", b)
		}
	})
}

// The first Collect may have the end, too.
func TestEndInFirstBatch(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		src.collect = func(b *sse.Batch, _ int) (bool, error) {
			b.Retry(time.Second)
			return false, io.EOF
		}
		resp := k.stream(t, src, wire.Options{}).connect(get).response(http.MethodGet)
		if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "1000") {
			t.Errorf("body %q, %v", b, err)
		}
		src.waitGone(nil)
	})
}

// A Collect that fails ends the stream with a cut, and Gone has its error.
func TestCollectFails(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		failure := errors.New("the source is broken")
		src := newScript(t)
		resp := k.stream(t, src, wire.Options{}).connect(get).response(http.MethodGet)
		src.finish(failure)
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the peer saw a clean end")
		}
		src.waitGone(failure)
	})
}

// A peer that leaves is heard: at once, without a write, or at a later write.
func TestPeerCloses(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		p := k.stream(t, src, wire.Options{}).connect(get)
		p.header()
		src.say("one")
		events(t, p.br, 1)
		closing := time.Now()
		p.conn.Close()
		if k.way.hears {
			src.waitGone(wire.ErrPeerClosed)
			t.Logf("heard after %v", time.Since(closing))
			return
		}
		for src.left.Load() == 0 && time.Since(closing) < patience {
			src.say("heartbeat")
			time.Sleep(time.Millisecond)
		}
		src.waitGone(wire.ErrPeerClosed)
	})
}

// A peer that will not send any more counts as gone.
func TestPeerHalfCloses(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.hears {
			t.Skip("heard at a write only")
		}
		src := newScript(t)
		p := k.stream(t, src, wire.Options{}).connect(get)
		p.header()
		if err := halfClose(p.conn); err != nil {
			t.Fatal(err)
		}
		src.waitGone(wire.ErrPeerClosed)
	})
}

// Many tabs that close at once are heard of at once, without a write: the kernel
// says so.
func TestManyPeersClose(t *testing.T) {
	for _, k := range kinds {
		if !k.way.hears || k.name != "tcp" {
			continue
		}
		t.Run(k.way.name, func(t *testing.T) {
			peers := 1000
			if testing.Short() {
				peers = 100
			}
			var gone, asked atomic.Int32
			all := make(chan struct{})
			srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
				src := newScript(t)
				src.collect = func(*sse.Batch, int) (bool, error) { asked.Add(1); return false, nil }
				src.hearGone = func(error) {
					if int(gone.Add(1)) == peers {
						close(all)
					}
				}
				k.answer(ctx, src, wire.Options{})
			})
			var conns []net.Conn
			for range peers {
				p := srv.connect(get)
				p.header()
				conns = append(conns, p.conn)
			}
			eventually(t, "all are idle", func() bool { return int(asked.Load()) == peers })
			start := time.Now()
			for _, c := range conns {
				c.Close()
			}
			closing := time.Since(start)
			<-all
			t.Logf("%d peers closed in %v, the last was heard %v later", peers, closing, time.Since(start)-closing)
			if took := time.Since(start) - closing; took > time.Second {
				t.Errorf("it took %v until the last was heard", took)
			}
			if n := int(asked.Load()); n != peers {
				t.Errorf("the sources were asked %d times to hear of it", n-peers)
			}
		})
	}
}

func halfClose(c net.Conn) error {
	return c.(interface{ CloseWrite() error }).CloseWrite()
}

// A peer that leaves while a write to it is blocked ends that write: whether it
// closes, or closes its side only and goes on reading nothing. Where the write
// is not blocked yet when the peer leaves, the outcome is the same.
func TestPeerLeavesDuringWrite(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.hears {
			t.Skip("heard at a write only")
		}
		for _, leave := range []func(net.Conn) error{net.Conn.Close, halfClose} {
			src := newScript(t)
			var batches atomic.Int32
			more := flood()
			src.collect = func(b *sse.Batch, budget int) (bool, error) {
				batches.Add(1)
				return more(b, budget)
			}
			p := k.stream(t, src, wire.Options{WriteTimeout: time.Hour}).connect(get)
			p.header()
			eventually(t, "the writer is at work", func() bool { return batches.Load() > 2 })
			if err := leave(p.conn); err != nil {
				t.Fatal(err)
			}
			src.waitGone(wire.ErrPeerClosed)
		}
	})
}

// A peer that goes on talking after its request is dropped; one that says
// little is not.
func TestPeerSpeaks(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.hears {
			t.Skip("nothing is read")
		}
		src := newScript(t)
		p := k.stream(t, src, wire.Options{}).connect(get + strings.Repeat("a", 100))
		p.header()
		src.say("one")
		events(t, p.br, 1)
		for i := 0; i < 10 && src.left.Load() == 0; i++ {
			_, _ = io.WriteString(p.conn, strings.Repeat("b", 1000))
		}
		src.waitGone(wire.ErrPeerSpoke)
	})
}

// A peer that takes nothing is lost after WriteTimeout, and until then delays
// nobody: rule 5, at the socket.
func TestStalledPeer(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.deadlines {
			t.Skip("no deadline per write")
		}
		const timeout = 300 * time.Millisecond
		stalled, healthy := newScript(t), newScript(t)
		stalled.collect = flood()
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			if string(ctx.Path()) == "/stalled" {
				k.answer(ctx, stalled, wire.Options{WriteTimeout: timeout})
				return
			}
			k.answer(ctx, healthy, wire.Options{})
		})
		start := time.Now()
		srv.connect("GET /stalled HTTP/1.1\r\nHost: comet\r\n\r\n").header()
		r := bufio.NewReader(srv.connect(get).response(http.MethodGet).Body)
		turns := 0
		for ; stalled.left.Load() == 0 && time.Since(start) < patience; turns++ {
			healthy.say("turn")
			events(t, r, 1)
			time.Sleep(time.Millisecond)
		}
		stalled.waitGone(wire.ErrWriteTimeout)
		if took := time.Since(start); took < timeout || turns < 2 {
			t.Errorf("lost after %v; another event stream had %d turns meanwhile", took, turns)
		}
		healthy.finish(nil)
		healthy.waitGone(nil)
	})
}

// A panic in a Source ends its event stream and nothing else: rule 13.
func TestPanics(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		for method, want := range map[string]error{
			"Start": wire.ErrPanic, "Collect": wire.ErrPanic, "Gone": nil,
		} {
			t.Run(method, func(t *testing.T) {
				src := newScript(t)
				src.panicIn = method
				src.finish(nil)
				srv := k.stream(t, src, wire.Options{Logger: quiet()})
				_, _ = io.ReadAll(srv.connect(get).br)
				src.waitGone(want)
				if resp := srv.connect(get).response(http.MethodGet); resp.StatusCode != 200 {
					t.Errorf("the next request: %s", resp.Status)
				}
			})
		}
	})
}

// Shutdown does not wait for ever, whatever streams there are.
func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		srv := k.stream(t, src, wire.Options{})
		r := bufio.NewReader(srv.connect(get).response(http.MethodGet).Body)
		src.say("before")
		events(t, r, 1)
		if err := srv.stop(); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if k.way.outlives {
			src.say("after")
			events(t, r, 1)
			src.finish(nil)
			src.waitGone(nil)
		} else {
			src.waitGone(wire.ErrShutdown)
		}
		if _, err := io.ReadAll(r); err != nil {
			t.Errorf("the stream did not end cleanly: %v", err)
		}
	})
}

// A wake after the end is nothing.
func TestWakeAfterGone(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		src.finish(nil)
		_ = k.stream(t, src, wire.Options{}).connect(get).rawBody()
		src.waitGone(nil)
		for range 3 {
			src.say("to nobody")
		}
	})
}

// A clean end is told at once, whatever the peer does then; and a peer that does
// nothing, and never closes, is not waited for long.
func TestPeerStaysAfterEnd(t *testing.T) {
	for _, k := range kinds {
		if !k.way.identity || k.name != "tcp" && k.name != "unix" {
			continue
		}
		t.Run(k.way.name+"/"+k.name, func(t *testing.T) {
			soonest := patience
			for range 3 {
				src := newScript(t)
				p := k.stream(t, src, wire.Options{}).connect(get10)
				p.header()
				start := time.Now()
				src.finish(nil)
				_ = p.rawBody()
				soonest = min(soonest, time.Since(start))
				src.waitGone(nil)
			}
			if soonest > 500*time.Millisecond { // linger is 1 s
				t.Errorf("the end was told after %v", soonest)
			}
			eventually(t, "nothing of the streams is left", func() bool { return ours() == 0 })
		})
	}
}
