package wire

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/sse"
)

// Compression is which content codings event streams are offered in. One is to
// be made for all of them; nil offers none.
type Compression struct {
	offered []*sse.Compressor // the most preferred first
}

// Codings are the names that NewCompression takes.
var Codings = []string{"gzip", "zstd"}

// NewCompression offers the codings of these names, the most preferred first:
// without any it is nil. It errors for a name that is none of Codings, or is
// named twice.
func NewCompression(names ...string) (*Compression, error) {
	if len(names) == 0 {
		return nil, nil
	}
	c := &Compression{}
	for i, name := range names {
		switch {
		case slices.Contains(names[:i], name):
			return nil, fmt.Errorf("%q is named twice: name each coding once, the most preferred first", name)
		case name == "gzip":
			c.offered = append(c.offered, sse.Gzip())
		case name == "zstd":
			c.offered = append(c.offered, newZstd())
		default:
			return nil, fmt.Errorf("%q is no coding of event streams: write any of %s", name, strings.Join(Codings, ", "))
		}
	}
	return c, nil
}

// newZstd makes an encoder for each processor when it is first used. Its window
// is what a block may reach back (see sse.Zstd).
func newZstd() *sse.Compressor {
	e, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<10), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		panic("wire: " + err.Error()) // one of the options is wrong
	}
	return sse.Zstd(e.EncodeAll)
}

// Announce sets, of a response without an event stream, the headers that tell
// in which coding the stream would be: for the answer to HEAD.
func (c *Compression) Announce(ctx *fasthttp.RequestCtx) { c.negotiate(ctx) }

// negotiate chooses a coding that the peer accepts, and says so in the
// response's headers. Nil: the stream is sent as it is, because the peer wants
// it so, or because a middleware said of the response that it is encoded.
func (c *Compression) negotiate(ctx *fasthttp.RequestCtx) *sse.Encoder {
	if c == nil {
		return nil
	}
	h := &ctx.Response.Header
	if !varies(h) {
		h.Add(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	}
	if len(h.ContentEncoding()) > 0 {
		return nil
	}
	accepted := acceptedCodings(ctx.Request.Header.PeekAll(fasthttp.HeaderAcceptEncoding))
	chosen := c.choose(accepted)
	if chosen == nil {
		return nil
	}
	h.SetContentEncoding(chosen.Name())
	return chosen.NewEncoder()
}

// choose returns the coding that the peer likes best; of several the one that
// is offered first. Nil is identity: also for a peer that refuses all there is,
// for no event stream at all would be a worse answer (RFC 9110, section 12.5.3,
// leaves that to the server).
func (c *Compression) choose(accepted weights) (best *sse.Compressor) {
	most := 0
	if w, said := accepted["identity"]; said {
		most = w - 1 // what is liked as much as identity is better: it is shorter
	}
	for _, o := range c.offered {
		if w := accepted.of(o.Name()); w > max(most, 0) {
			best, most = o, w
		}
	}
	return best
}

// varies tells whether h says already that the response depends on
// Accept-Encoding.
func varies(h *fasthttp.ResponseHeader) bool {
	for _, line := range h.PeekAll(fasthttp.HeaderVary) {
		for name := range strings.SplitSeq(string(line), ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, fasthttp.HeaderAcceptEncoding) {
				return true
			}
		}
	}
	return false
}
