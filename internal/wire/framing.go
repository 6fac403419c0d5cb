package wire

import (
	"strconv"

	"github.com/valyala/fasthttp"
)

// A framing is how a peer learns where the event stream ends.
type framing uint8

const (
	identity framing = iota // at the end of the connection: all that HTTP/1.0 knows
	chunked                 // at the last chunk: an end without it was a cut
)

func framingFor(ctx *fasthttp.RequestCtx) framing {
	if ctx.Request.Header.IsHTTP11() {
		return chunked
	}
	return identity
}

// head serialises ctx's response headers, with those of the framing in place of
// what may stand there. The bytes are ctx's own: it reuses them.
func (f framing) head(ctx *fasthttp.RequestCtx) []byte {
	h := &ctx.Response.Header
	h.Del(fasthttp.HeaderContentLength)
	h.Del(fasthttp.HeaderTransferEncoding)
	h.Del(fasthttp.HeaderConnection) // fasthttp's keep-alive to HTTP/1.0
	h.SetConnectionClose()
	if f == chunked {
		h.SetContentLength(-1)
	}
	return h.Header()
}

// appendBody frames data, and after it the end of the stream if it is the last.
func (f framing) appendBody(dst, data []byte, last bool) []byte {
	if f == identity {
		return append(dst, data...)
	}
	if len(data) > 0 { // a chunk of length 0 would be the end
		dst = strconv.AppendUint(dst, uint64(len(data)), 16)
		dst = append(dst, "\r\n"...)
		dst = append(dst, data...)
		dst = append(dst, "\r\n"...)
	}
	if last {
		dst = append(dst, "0\r\n\r\n"...)
	}
	return dst
}
