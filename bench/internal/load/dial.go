//go:build linux

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

var errTime = errors.New("the time is up")

// A Request is how one stream is opened.
type Request struct {
	Path   string
	Cookie string // the header, if there is one
	LastID string // the header Last-Event-ID, if there is one
	First  int    // the first of its channels
	// Stalled streams never read after the response's head, and have the least
	// room the kernel gives.
	Stalled bool
}

// inFlight bounds how many connections are being opened at a time.
const inFlight = 128

// Connect opens streams, and returns when every one has its response's head. The
// i-th has the number Size()+i.
func (c *Crowd) Connect(requests []Request, within time.Duration) error {
	first := len(c.conns)
	for i, r := range requests {
		next := make([]int64, c.channels)
		c.conns = append(c.conns, &conn{number: first + i, first: r.First, next: next, stalled: r.Stalled})
	}
	return c.open(c.conns[first:], requests, within)
}

// Reconnect opens all streams again after a Cut. Each goes on where it was: what
// was published in the meantime has to come first.
func (c *Crowd) Reconnect(requests []Request, within time.Duration) error {
	if len(requests) != len(c.conns) {
		return fmt.Errorf("%d requests of %d streams", len(requests), len(c.conns))
	}
	for _, s := range c.conns {
		s.comeBack(c.doubles)
	}
	return c.open(c.conns, requests, within)
}

func (c *Crowd) open(streams []*conn, requests []Request, within time.Duration) error {
	c.source++ // so that ports suffice, whatever lingers of earlier ones
	deadline := time.Now().Add(within)
	for begun, done := 0, 0; done < len(streams); {
		for begun < len(streams) && begun-done < inFlight {
			if err := c.dial(streams[begun], requests[begun]); err != nil {
				return fmt.Errorf("stream %d: %w", begun, err)
			}
			begun++
		}
		if err := c.poll(time.Until(deadline)); err != nil {
			return fmt.Errorf("%d of %d streams are open: %w", done, len(streams), err)
		}
		if err := c.faults.Err(); err != nil {
			return err
		}
		for done < begun && streams[done].parser.inBody() {
			done++
		}
	}
	return nil
}

func (c *Crowd) dial(s *conn, r Request) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket: %w", err)
	}
	s.fd, s.request = fd, r.text()
	for len(c.byFD) <= fd {
		c.byFD = append(c.byFD, nil)
	}
	c.byFD[fd] = s
	if r.Stalled {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
	}
	// The port is chosen at connect, when the kernel knows that only the pair
	// of addresses has to be new.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, c.source}}); err != nil {
		return fmt.Errorf("the source address: %w", err)
	}
	if err := unix.Connect(fd, &c.addr); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)})
}

func (r Request) text() []byte {
	b := []byte("GET " + r.Path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n")
	if r.Cookie != "" {
		b = append(b, "Cookie: "+r.Cookie+"\r\n"...)
	}
	if r.LastID != "" {
		b = append(b, "Last-Event-ID: "+r.LastID+"\r\n"...)
	}
	return append(b, "\r\n"...)
}

func resolve(addr string) (unix.SockaddrInet4, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil || !at.Addr().Is4() || !at.Addr().IsLoopback() {
		return unix.SockaddrInet4{}, fmt.Errorf("the address %q is not 127.0.0.1 and a port", addr)
	}
	return unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, nil
}
