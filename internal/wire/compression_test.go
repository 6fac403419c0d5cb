package wire_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// compression offers all there is, as every test server of a coding does.
var compression = func() *wire.Compression {
	c, err := wire.NewCompression(wire.Codings...)
	if err != nil {
		panic(err)
	}
	return c
}()

// A lazyDecoder reads what is encoded; it is made when there is something to
// read, for a gzip.Reader waits for the header.
type lazyDecoder struct {
	coding string
	from   io.Reader
	r      io.Reader
	err    error // why nothing more is to be had of from
}

func decoding(coding string, from io.Reader) io.Reader {
	return &lazyDecoder{coding: coding, from: from}
}

func (d *lazyDecoder) Read(p []byte) (n int, err error) {
	if d.r == nil && d.coding == "gzip" {
		d.r, err = gzip.NewReader(below{d})
	} else if d.r == nil {
		d.r, err = zstd.NewReader(below{d}, zstd.WithDecoderConcurrency(1))
	}
	if err != nil {
		return 0, err
	}
	n, err = d.r.Read(p)
	if err == io.EOF && d.err != nil { // zstd knows no end: where the chunks break off is for them to tell
		err = d.err
	}
	return n, err
}

// below is what the decoder reads.
type below struct{ *lazyDecoder }

func (b below) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.err = err
	return n, err
}

func unchunked(r io.Reader, h http.Header) io.Reader {
	if h.Get("Transfer-Encoding") == "chunked" {
		return httputil.NewChunkedReader(r)
	}
	return r
}

// decode makes a response's body readable as it is, and leaves its header.
func decode(resp *http.Response) *http.Response {
	if coding := resp.Header.Get("Content-Encoding"); coding != "" {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{decoding(coding, resp.Body), resp.Body}
	}
	return resp
}

// accepting is a Transport that accepts one coding, and decodes it.
type accepting struct {
	*http.Transport
	coding string
}

func (a accepting) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.coding == "" {
		return a.Transport.RoundTrip(r)
	}
	r.Header.Set("Accept-Encoding", a.coding)
	resp, err := a.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return decode(resp), nil
}

// What a request accepts decides, weights and wildcard included; HEAD is told
// the same as GET, and every answer that it depends on the request.
func TestNegotiation(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                 "",
		"gzip":                             "gzip",
		"zstd":                             "zstd",
		"gzip, deflate, br, zstd":          "gzip", // offered first
		"gzip;q=0.5, zstd":                 "zstd",
		"zstd;q=0.9;, GZIP ; q=0.901":      "gzip",
		"gzip;q=0, *":                      "zstd",
		"*":                                "gzip",
		"*;q=0":                            "",
		"identity;q=0":                     "",
		"identity;q=0, zstd;q=0.001":       "zstd",
		"identity, gzip;q=0.5":             "",
		"identity;q=0.5, gzip;q=0.5":       "gzip",
		"br, deflate":                      "",
		"x-gzip":                           "gzip",
		"gzip;q=2, zstd;q=nonsense":        "",
		"gzip;level=9":                     "",
		"gzip;q=1.000, zstd;q=1.001, br,,": "gzip",
		"deflate\r\nAccept-Encoding: zstd": "zstd",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, k := range []kind{{way: best, listen: listenTCP}, {way: parked, listen: shy(listenTCP)}, {way: streamed, listen: listenMemory}} {
				src := newScript(t)
				src.say("one")
				src.finish(nil)
				srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
					ctx.Response.Header.Set("Vary", "Origin")
					wire.Serve(ctx, src, wire.Options{Compression: compression})
				})
				request := method + " / HTTP/1.1\r\nHost: comet\r\n"
				if accept != "" {
					request += "Accept-Encoding: " + accept + "\r\n"
				}
				resp := srv.connect(request + "\r\n").response(method)
				if got := resp.Header.Get("Content-Encoding"); got != want {
					t.Errorf("%s, %s of %q is answered in %q, want %q", k.way.name, method, accept, got, want)
				}
				if got := strings.Join(resp.Header.Values("Vary"), ", "); got != "Origin, Accept-Encoding" {
					t.Errorf("%s, %s: Vary is %q", k.way.name, method, got)
				}
				body, err := io.ReadAll(resp.Body)
				if said := "data: one\n\n"; err != nil || method == "GET" && string(body) != said {
					t.Errorf("%s, %s of %q: %q, %v, want %q", k.way.name, method, accept, body, err, said)
				}
			}
		}
	}
}

// A response that is encoded by others, or that varies already, is left as it is.
func TestEncodedByOthers(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if k.coding == "" {
			t.Skip("nothing is encoded here")
		}
		src := newScript(t)
		src.say("one")
		src.finish(nil)
		p := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.SetContentEncoding("identity")
			ctx.Response.Header.Set("Vary", "origin, ACCEPT-encoding")
			k.answer(ctx, src, wire.Options{})
		}).connect(get)
		status, h := p.header()
		if h.Get("Content-Encoding") != "identity" || len(h.Values("Vary")) != 1 {
			t.Errorf("%s, header %v", status, h)
		}
		if body := p.rawBody(); !bytes.Contains(body, []byte("data: one\n\n")) {
			t.Errorf("body %q", body)
		}
		src.waitGone(nil)
	})
}

// Another answer made of the response is not said to be encoded.
func TestRefusedIsNotEncoded(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if k.coding == "" {
			t.Skip("nothing is encoded here")
		}
		src := newScript(t)
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			k.answer(ctx, src, wire.Options{})
			ctx.SetStatusCode(fasthttp.StatusInternalServerError) // as Fiber's ErrorHandler does:
			ctx.Response.SetBodyString("it failed")               // headers stay
		})
		resp := srv.connect(get).response(http.MethodGet)
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != "it failed" || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s, body %q, %v, header %v", resp.Status, b, err, resp.Header)
		}
		src.waitGone(wire.ErrNotStarted)
	})
}

// Another answer that its maker encoded keeps saying so.
func TestRefusedKeepsItsOwnCoding(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if k.coding == "" {
			t.Skip("nothing is encoded here")
		}
		src := newScript(t)
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
			k.answer(ctx, src, wire.Options{})
			ctx.SetStatusCode(fasthttp.StatusInternalServerError)
			ctx.Response.Header.SetContentEncoding("br")
			ctx.Response.SetBodyString("brotli bytes")
		})
		resp, err := http.ReadResponse(srv.connect(get).br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != "brotli bytes" || resp.Header.Get("Content-Encoding") != "br" {
			t.Errorf("%s, body %q, %v, header %v", resp.Status, b, err, resp.Header)
		}
		src.waitGone(wire.ErrNotStarted)
	})
}

// One frame that goes to every kind of connection is what each peer hears, after
// small events and before a huge one of its own.
func TestEncodedFrames(t *testing.T) {
	frame, err := sse.NewFrame("", bytes.Repeat([]byte("shared "), 1000))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Repeat("own ", 50_000)
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		rest := 3
		src.collect = func(b *sse.Batch, _ int) (bool, error) {
			if rest == 0 {
				return false, io.EOF
			}
			rest--
			id := fmt.Append(nil, rest)
			b.Event(id, "", []byte("small"))
			b.Frame(id, frame)
			b.Event(id, "", []byte(own))
			return true, nil
		}
		resp := k.stream(t, src, wire.Options{}).connect(get).response(http.MethodGet)
		var sizes []string
		for e, err := range sse.Read(resp.Body) {
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, fmt.Sprintf("%s:%d", e.ID, len(e.Data)))
		}
		if got, want := fmt.Sprint(sizes), "[2:5 2:7000 2:200000 1:5 1:7000 1:200000 0:5 0:7000 0:200000]"; got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
		src.waitGone(nil)
	})
}

// What is wrong with the names is said, and what to write.
func TestNewCompression(t *testing.T) {
	for names, want := range map[string]string{
		"br":        `"br" is no coding of event streams: write any of gzip, zstd`,
		"gzip gzip": `"gzip" is named twice`,
	} {
		if c, err := wire.NewCompression(strings.Fields(names)...); c != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want an error that says %s", names, c, err, want)
		}
	}
}
