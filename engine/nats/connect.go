package nats

import (
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// What a connection needs so that a dead server is noticed in seconds, and a live
// one found again however long it takes.
const (
	pingInterval  = 5 * time.Second
	maxPings      = 2
	reconnectWait = 250 * time.Millisecond
	dialTimeout   = 2 * time.Second
)

// Connect is nats.Connect with what an Engine needs: a dead server is noticed in 10
// to 15 s and not in minutes, and the connection never gives up. options come
// after, and win.
func Connect(url string, options ...natsgo.Option) (*natsgo.Conn, error) {
	return natsgo.Connect(url, append([]natsgo.Option{
		natsgo.PingInterval(pingInterval),
		natsgo.MaxPingsOutstanding(maxPings),
		natsgo.MaxReconnects(-1),
		natsgo.ReconnectWait(reconnectWait),
		natsgo.Timeout(dialTimeout),
	}, options...)...)
}

// dial makes a connection of the Engine's own to where the app's goes, with its
// credentials. Nothing is buffered while it is cut: a publish then fails at once,
// and is certainly not sent.
func dial(app *natsgo.Conn, name string) (*natsgo.Conn, error) {
	opts := app.Opts
	opts.Name = name
	opts.PingInterval = pingInterval
	opts.MaxPingsOut = maxPings
	opts.AllowReconnect = true
	opts.MaxReconnect = -1
	opts.ReconnectWait = min(opts.ReconnectWait, reconnectWait)
	opts.ReconnectBufSize = -1
	opts.RetryOnFailedConnect = false
	opts.UseOldRequestStyle = false
	opts.NoEcho = false
	opts.ClosedCB, opts.DisconnectedCB, opts.DisconnectedErrCB, opts.ConnectedCB = nil, nil, nil, nil
	opts.ReconnectedCB, opts.DiscoveredServersCB, opts.LameDuckModeHandler = nil, nil, nil
	opts.AsyncErrorCB = func(*natsgo.Conn, *natsgo.Subscription, error) {}
	return opts.Connect()
}
