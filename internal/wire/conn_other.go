//go:build !linux

package wire

import (
	"net"

	"github.com/valyala/fasthttp"
)

// Left is false: whether the peer has gone cannot be known on these systems.
func Left(*fasthttp.RequestCtx) bool { return false }

// tune does nothing: how much these systems buffer, and how long they wait for
// a peer, is left to them.
func tune(net.Conn, *Options) {}

// takeable: these systems have no way to take a connection over.
func takeable(net.Conn) bool { return false }

func takeOver(*fasthttp.RequestCtx, *guard) bool { return false }
