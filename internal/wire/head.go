package wire

import (
	"fmt"
	"runtime"

	"github.com/valyala/fasthttp"
)

// headOnly is the event stream that a HEAD is not answered with. fasthttp sends
// the headers of the response, which has no body, and closes what is among the
// values of the request when that is over: this, and so the source hears.
type headOnly struct {
	src     *guard
	dropped runtime.Cleanup
}

// headOnlyKey keeps the value from those of others.
type headOnlyKey struct{}

func answerHead(ctx *fasthttp.RequestCtx, g *guard) {
	g.o.Compression.Announce(ctx)
	h := &headOnly{src: g}
	h.dropped = endIfDropped(h, g)
	ctx.SetUserValue(headOnlyKey{}, h)
}

func (h *headOnly) Close() error {
	h.dropped.Stop()
	h.src.end(fmt.Errorf("%w: the request was HEAD", ErrNotStarted))
	return nil
}
