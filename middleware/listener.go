package middleware

import (
	"log/slog"
	"net"

	"github.com/ocsigo/comet/internal/wire"
)

// Listener returns ln with an Accept that waits out what passes: no descriptor or memory
// left, a peer that gave up meanwhile. Fiber's server takes these for the end: app.Listen
// returns, and most programs end with it, and with them every event stream. Where many
// connections stay open, serve by
//
//	ln, err := net.Listen("tcp", ":3000")
//	…
//	err = app.Listener(comet.Listener(ln))
//
// The connections are ln's own. It tells log, slog.Default() without one, once a minute.
// Closing it closes ln. It panics with more than one log.
func Listener(ln net.Listener, log ...*slog.Logger) net.Listener {
	switch len(log) {
	case 0:
		return wire.Patient(ln, slog.Default())
	case 1:
		return wire.Patient(ln, log[0])
	}
	panic("comet.Listener: takes at most one Logger")
}
