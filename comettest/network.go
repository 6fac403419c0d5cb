package comettest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// apps has the in-memory listeners that are open, by host and port.
var apps sync.Map

var (
	lastHost atomic.Int64
	lastPort atomic.Int64
)

// A listener takes connections that live in memory. They are net.Pipes: what
// one side writes the other has read when Write returns.
type listener struct {
	host  string
	conns chan net.Conn
	done  chan struct{}
	close func()
}

// newHost returns a name that no other app of this process has.
func newHost() string { return fmt.Sprintf("app%d.test", lastHost.Add(1)) }

func listen(host string) *listener {
	l := &listener{host: host, conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() {
		apps.CompareAndDelete(host+":80", l)
		close(l.done)
	})
	apps.Store(host+":80", l)
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error { l.close(); return nil }

func (l *listener) Addr() net.Addr { return serverAddr }

var serverAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}

// dial connects to the in-memory app of that address, from the address ip.
func dial(ctx context.Context, address string, ip net.IP) (net.Conn, error) {
	found, ok := apps.Load(address)
	if !ok {
		return nil, fmt.Errorf("no app of this test listens at %s", address)
	}
	l := found.(*listener)
	client, server := net.Pipe()
	from := &net.TCPAddr{IP: ip, Port: 1024 + int(lastPort.Add(1)%64000)}
	select {
	case l.conns <- conn{server, serverAddr, from}:
		return conn{client, from, serverAddr}, nil
	case <-l.done:
		return nil, fmt.Errorf("the app at %s was shut down", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A conn is one end of a net.Pipe that has the addresses of a TCP connection, and takes
// deadlines as one does, also when the other end is closed: fasthttp drops a response
// whose connection refuses one, and tells nobody. What is read and written then fails.
type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c conn) LocalAddr() net.Addr  { return c.local }
func (c conn) RemoteAddr() net.Addr { return c.remote }

func (c conn) SetDeadline(t time.Time) error      { _ = c.Conn.SetDeadline(t); return nil }
func (c conn) SetReadDeadline(t time.Time) error  { _ = c.Conn.SetReadDeadline(t); return nil }
func (c conn) SetWriteDeadline(t time.Time) error { _ = c.Conn.SetWriteDeadline(t); return nil }
