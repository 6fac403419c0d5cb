package redistest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// A Proxy stands between clients and a server, and can make the connections of
// subscribers deaf.
type Proxy struct {
	Addr string

	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	server string
	pipes  map[*pipe]struct{}
}

// pipe is one connection through the proxy.
type pipe struct {
	client, server net.Conn

	mu         sync.Mutex
	subscribed bool
	deaf       bool
}

// StartProxy starts a proxy before a server. It ends with the test.
func StartProxy(tb testing.TB, s *Server) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), server: s.Addr, listener: l, pipes: make(map[*pipe]struct{})}
	p.work.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		addr := p.server
		p.mu.Unlock()
		server, err := net.Dial("tcp", addr)
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &pipe{client: client, server: server}
		p.mu.Lock()
		p.pipes[c] = struct{}{}
		p.mu.Unlock()
		p.work.Go(func() { p.copy(c, server, client, c.up) })
		p.work.Go(func() { p.copy(c, client, server, c.down) })
	}
}

// copy moves bytes that pass lets through, until one side ends.
func (p *Proxy) copy(c *pipe, to io.Writer, from io.Reader, pass func([]byte) bool) {
	defer func() {
		_, _ = c.client.Close(), c.server.Close()
		p.mu.Lock()
		delete(p.pipes, c)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && pass(buf[:n]) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// up notes who subscribes; go-redis writes a command as a whole.
func (c *pipe) up(b []byte) bool {
	if bytes.Contains(bytes.ToLower(b), []byte("subscribe")) {
		c.mu.Lock()
		c.subscribed = true
		c.mu.Unlock()
	}
	return true
}

func (c *pipe) down([]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deaf
}

// Deafen drops from now on what the server says to those who have subscribed. The
// connections stay open; connections made later are not concerned. It returns how many
// it made deaf.
func (p *Proxy) Deafen() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pipes {
		c.mu.Lock()
		if c.subscribed {
			c.deaf = true
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// Forward leads connections that are made from now on to another server, as an address
// does that moves in a failover. Those that are open stay where they are.
func (p *Proxy) Forward(s *Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = s.Addr
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.pipes {
		_, _ = c.client.Close(), c.server.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}
