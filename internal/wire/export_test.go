package wire

import "github.com/valyala/fasthttp"

// WayOf names the way that Serve chooses for ctx.
func WayOf(ctx *fasthttp.RequestCtx) string {
	return map[way]string{wayTakeover: "takeover", wayParked: "parked", wayStreamed: "streamed", wayHead: "head"}[chooseWay(ctx)]
}
