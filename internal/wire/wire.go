package wire

import (
	"log/slog"
	"sync/atomic"
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
	// exceed it. It never blocks. More says that there is more pending now, or
	// that it is to be called when this was written. With io.EOF b holds the
	// last of it and the stream ends cleanly; with any other error b is not sent
	// and the stream is cut.
	//
	// Collect is called by one goroutine at a time: first after Start, again
	// after a write that was accepted if more was true, then after each wake.
	// That it is called says that all it gave before was accepted.
	Collect(b *sse.Batch, budget int) (more bool, err error)

	// Gone is called exactly once, always, as the last call; also when Start
	// never was. Cause is nil after a clean end that was written, else why the
	// event stream is over: one of this package's errors or what Collect
	// returned. It must not block.
	Gone(cause error)
}

// A Timed is a Source that wants to know how long the peer let what was written wait.
type Timed interface {
	// Wrote is called when the peer has taken a batch that it did not take at once:
	// of takeover, what the kernel refused at first; of parked, a write of more than
	// a millisecond; of streamed, never. It must not block.
	Wrote(after time.Duration)
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

	// PeerTimeout bounds how long a peer that vanished without a word goes
	// unnoticed, if something is written at least every half of it, as
	// heartbeats are: what is written may stay unacknowledged for the other
	// half, or find the peer's window closed (TCP_USER_TIMEOUT; Linux, TCP,
	// also under TLS). Negative leaves the system's setting, some 15 minutes.
	// Default: 30 s.
	PeerTimeout time.Duration

	// Compression is what the stream may be compressed by, if the peer accepts
	// it. Default: nil, nothing.
	Compression *Compression

	// Logger hears of panics in a Source. Default: slog.Default().
	Logger *slog.Logger
}

const (
	defaultWriteTimeout = 10 * time.Second
	defaultBudget       = 64 << 10
	defaultNotSentLowat = 16 << 10
	defaultPeerTimeout  = 30 * time.Second
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
	if o.PeerTimeout == 0 {
		o.PeerTimeout = defaultPeerTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// shared are the last Options that were used: most event streams have the same.
var shared atomic.Pointer[Options]

func share(o Options) *Options {
	if same := shared.Load(); same != nil && *same == o {
		return same
	}
	p := new(Options) // not &o, which would allocate every time
	*p = o
	shared.Store(p)
	return p
}

// Serve makes ctx's response the event stream of src and returns at once,
// without a call of src. It is for the handler of a request to call, once.
//
// The caller sets status and headers, before or after; whatever stands in
// ctx.Response when the handler chain has returned is sent, but for
// Connection, Content-Length and Transfer-Encoding, which are the framing's, and
// for Content-Encoding and Vary, which Compression adds. If
// the status is not 200 by then, or the response was given up (a timeout
// handler, another hijack), that response stands and src.Gone hears
// [ErrNotStarted]; for one that was given up, when the garbage collector finds
// it.
func Serve(ctx *fasthttp.RequestCtx, src Source, o Options) {
	ctx.Response.Header.Del(fasthttp.HeaderConnection)
	ctx.SetConnectionClose()
	g := &guard{Source: src, o: share(o.withDefaults())}
	switch w := chooseWay(ctx); w {
	case wayTakeover, wayParked:
		hijack(ctx, g, w == wayTakeover)
	case wayStreamed:
		stream(ctx, g)
	case wayHead:
		answerHead(ctx, g)
	}
}

// A way is one of the means by which an event stream reaches its peer.
type way uint8

const (
	wayTakeover way = iota
	wayParked
	wayStreamed
	wayHead // not at all
)

func chooseWay(ctx *fasthttp.RequestCtx) way {
	switch {
	case ctx.IsHead():
		return wayHead
	case inMemory(ctx.Conn()):
		return wayStreamed
	case takeable(ctx.Conn()):
		return wayTakeover
	default:
		return wayParked
	}
}
