package wire_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
)

// The conformance suite, first part: what a response begins with, and whose it
// is.

// The header arrives before the source has anything to say.
func TestHeadersAtOnce(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		p := k.stream(t, src, wire.Options{}).connect(get)
		status, h := p.header()
		if status != "HTTP/1.1 200 OK" || h.Get("Content-Type") != "text/event-stream" {
			t.Errorf("status %q, header %v", status, h)
		}
		src.say("one")
		src.finish(nil)
		src.waitGone(nil)
	})
}

// What an outer handler sets after Serve is sent: sessions and CORS rely on it.
func TestLateHeaders(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := ended(t)
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			k.answer(ctx, src, wire.Options{})
			var cookie fasthttp.Cookie
			cookie.SetKey("session")
			cookie.SetValue("late")
			ctx.Response.Header.SetCookie(&cookie)
			ctx.Response.Header.Set("X-Late", "yes")
			ctx.SetContentType("text/event-stream")
		})
		_, h := srv.connect(get).header()
		if h.Get("Set-Cookie") != "session=late" || h.Get("X-Late") != "yes" || h.Get("Content-Type") != "text/event-stream" {
			t.Errorf("set after Serve, not sent: %v", h)
		}
	})
}

// HTTP/1.1 gets chunks, and a length that someone set is not believed.
func TestChunked(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		src.say("one")
		src.finish(nil)
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("Content-Length", "0")
			ctx.Response.Header.Set("Connection", "keep-alive")
			k.answer(ctx, src, wire.Options{})
		})
		p := srv.connect(get)
		_, h := p.header()
		if h.Get("Transfer-Encoding") != "chunked" || h.Get("Content-Length") != "" || h.Get("Connection") != "close" {
			t.Errorf("framing headers: %v", h)
		}
		if got, want := string(p.rawBody()), "b\r\ndata: one\n\n\r\n0\r\n\r\n"; k.coding == "" && got != want {
			t.Errorf("body %q, want %q", got, want)
		}
		src.waitGone(nil)
	})
}

// HTTP/1.0 gets the stream as it is, up to the end of the connection.
func TestIdentity(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.identity {
			t.Skip("fasthttp sends chunks to HTTP/1.0")
		}
		src := newScript(t)
		src.say("one", "two")
		src.finish(nil)
		p := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("Content-Length", "0")
			k.answer(ctx, src, wire.Options{})
			ctx.Response.Header.Set("Connection", "keep-alive")
		}).connect(get10)
		_, h := p.header()
		if h.Get("Transfer-Encoding") != "" || h.Get("Content-Length") != "" || h.Get("Connection") != "close" {
			t.Errorf("framing headers: %v", h)
		}
		if got, want := string(p.rawBody()), "data: one\n\ndata: two\n\n"; got != want {
			t.Errorf("body %q, want %q", got, want)
		}
		src.waitGone(nil)
	})
}

// HEAD gets the headers of a GET and no stream; nor does a middleware that reads
// the body of the answer, which must not wait for one.
func TestHead(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		src.say("never")
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			ctx.SetContentType("text/event-stream")
			k.answer(ctx, src, wire.Options{})
			if body := ctx.Response.Body(); len(body) > 0 {
				t.Errorf("a body: %q", body)
			}
		})
		p := srv.connect(head)
		resp := p.response(http.MethodHead)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s, header %v", resp.Status, resp.Header)
		}
		if rest := p.rawBody(); len(rest) > 0 {
			t.Errorf("after the header of a HEAD: %q", rest)
		}
		src.waitGone(wire.ErrNotStarted)
		if src.started.Load() != 0 {
			t.Error("Start was called for HEAD")
		}
	})
}

// Another answer made of the response stands, and the source hears that it was
// not for it.
func TestRefused(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			k.answer(ctx, src, wire.Options{})
			ctx.Error("the handler after it failed", fasthttp.StatusInternalServerError)
		})
		resp := srv.connect(get).response(http.MethodGet)
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 500 || string(b) != "the handler after it failed" {
			t.Errorf("%s, body %q, %v", resp.Status, b, err)
		}
		src.waitGone(wire.ErrNotStarted)
		if src.started.Load() != 0 {
			t.Error("Start was called")
		}
	})
}

// A status alone, without a body, is another answer too.
func TestRefusedByStatus(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.refuses {
			t.Skip("any status is sent with the event stream")
		}
		src := newScript(t)
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			k.answer(ctx, src, wire.Options{})
			ctx.SetStatusCode(fasthttp.StatusNoContent)
		})
		if resp := srv.connect(get).response(http.MethodGet); resp.StatusCode != 204 {
			t.Errorf("status %s, want 204", resp.Status)
		}
		src.waitGone(wire.ErrNotStarted)
	})
}

// The connection ends with the stream: a second request on it is not answered.
func TestConnectionIsTheStreams(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		p := k.stream(t, src, wire.Options{}).connect(get + get)
		p.header()
		src.say("one")
		src.finish(nil)
		if body := string(p.rawBody()); strings.Contains(body, "HTTP/1.1") {
			t.Errorf("a pipelined request was answered: %q", body)
		}
		src.waitGone(nil)
	})
}
