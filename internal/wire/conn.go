package wire

import (
	"net"
	"reflect"
	"strings"

	"github.com/valyala/fasthttp/fasthttputil"
)

// pipeType is the type of an in-memory listener's connections. It is not
// exported, but a value of it is to be had.
var pipeType = reflect.TypeOf(fasthttputil.NewPipeConns().Conn1())

// inMemory tells whether c is one of the connections that are streamed: a pipe
// of fasthttputil, the connection of Fiber's App.Test, or none at all (a
// RequestCtx made by hand). Exactly these, bare: any other type, also one that
// wraps a pipe, may be a socket.
func inMemory(c net.Conn) bool {
	if c == nil {
		return true
	}
	t := reflect.TypeOf(c)
	return t == pipeType || isFiberTestConn(t)
}

// isFiberTestConn goes by the type's name, for Fiber must not be imported here
// and exports neither the type nor a value of it.
func isFiberTestConn(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer &&
		t.Elem().Name() == "testConn" &&
		strings.HasPrefix(t.Elem().PkgPath(), "github.com/gofiber/fiber/")
}

// tcpConn is the TCP connection that c is or, under TLS, that carries it; nil
// if there is none.
func tcpConn(c net.Conn) *net.TCPConn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		c = t.NetConn()
	}
	tcp, _ := c.(*net.TCPConn)
	return tcp
}

// closeWrite tells the peer that nothing more comes, if c can say so: TCP, unix
// and TLS connections can.
func closeWrite(c net.Conn) bool {
	half, ok := c.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
