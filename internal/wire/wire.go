package wire

import (
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/sse"
)

// A Source is what one event stream has to say. A panic in any of its methods
// is contained: it is logged, ends this event stream alone and, but for one in
// Gone, is the cause given to Gone.
type Source interface {
	// Start is called once, when the connection takes events. From then on wake
	// may be called whenever something became pending: from any goroutine,
	// under locks, after Gone too. It never blocks and does not allocate.
	Start(wake func())

	// Collect adds to b about budget bytes of what is pending; one event may
	// exceed it. It never blocks. More says that there is more pending now.
	// With io.EOF b holds the last of it and the stream ends cleanly; with any
	// other error b is not sent and the stream is cut.
	//
	// Collect is called by one goroutine at a time: first after Start, again
	// after each write that was accepted until it adds nothing and more is
	// false, then after each wake.
	Collect(b *sse.Batch, budget int) (more bool, err error)

	// Gone is called exactly once, always, as the last call; also when Start
	// never was. Cause is nil after a clean end that was written, else why the
	// event stream is over: one of this package's errors or what Collect
	// returned. It must not block.
	Gone(cause error)
}

// Options say how an event stream is written. The zero value is ready.
type Options struct {
	// WriteTimeout is how long the peer may take to accept one write, which is
	// a batch or, of a batch beyond twice the Budget, a piece of that size.
	// Default: 10 s.
	WriteTimeout time.Duration

	// Budget is how many bytes Collect is asked for. Default: 64 KiB.
	Budget int

	// NotSentLowat bounds, in bytes, what the kernel takes beyond what it has
	// sent (TCP_NOTSENT_LOWAT; Linux, TCP, also under TLS). Without it a peer
	// that reads nothing looks healthy for megabytes. Negative leaves the
	// system's setting. Default: 16 KiB.
	NotSentLowat int

	// Logger hears of panics in a Source. Default: slog.Default().
	Logger *slog.Logger
}

const (
	defaultWriteTimeout = 10 * time.Second
	defaultBudget       = 64 << 10
	defaultNotSentLowat = 16 << 10
)

func (o Options) withDefaults() Options {
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	if o.Budget <= 0 {
		o.Budget = defaultBudget
	}
	if o.NotSentLowat == 0 {
		o.NotSentLowat = defaultNotSentLowat
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Serve makes ctx's response the event stream of src and returns at once,
// without a call of src. It is for the handler of a request to call, once.
//
// The caller sets status and headers, before or after; whatever stands in
// ctx.Response when the handler chain has returned is sent, but for
// Connection, Content-Length and Transfer-Encoding, which are the framing's. If
// the status is not 200 by then, or the response was given up (a timeout
// handler, another hijack), that response stands and src.Gone hears
// [ErrNotStarted]; for one that was given up, when the garbage collector finds
// it.
func Serve(ctx *fasthttp.RequestCtx, src Source, o Options) {
	o = o.withDefaults()
	ctx.Response.Header.Del(fasthttp.HeaderConnection)
	ctx.SetConnectionClose()
	g := &guard{Source: src, log: o.Logger}
	switch chooseWay(ctx) {
	case wayParked:
		park(ctx, g, o)
	case wayStreamed:
		stream(ctx, g, o)
	case wayHead:
		answerHead(ctx, g)
	}
}

// A way is one of the means by which an event stream reaches its peer.
type way uint8

const (
	wayParked way = iota
	wayStreamed
	wayHead // not at all
)

func chooseWay(ctx *fasthttp.RequestCtx) way {
	switch {
	case ctx.IsHead():
		return wayHead
	case inMemory(ctx.Conn()):
		return wayStreamed
	default:
		return wayParked
	}
}
