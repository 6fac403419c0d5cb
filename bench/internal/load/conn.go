//go:build linux

package load

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocsigo/comet/bench/internal/message"
)

// A conn is one event stream: its socket, how far it is in what it reads, and
// what it has heard.
type conn struct {
	number  int
	fd      int
	open    bool
	request []byte // until it is sent
	parser  parser
	stalled bool

	first int     // of its channels
	next  []int64 // after the last value heard, of each channel
	id    []byte  // the last event id
	again bool    // the next value may be the last one once more
}

// ready takes what the kernel says of a stream.
func (c *Crowd) ready(s *conn, events uint32) {
	if len(s.request) > 0 && events&unix.EPOLLOUT != 0 {
		if n, err := unix.Write(s.fd, s.request); err != nil || n < len(s.request) {
			c.lose(s, "its request was not taken: %v", err)
			return
		}
		s.request, s.open = nil, true
		c.watch(s)
		return
	}
	c.read(s)
}

// watch waits for events from now on. It is level-triggered: what is not read
// now will be told again.
func (c *Crowd) watch(s *conn) {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(s.fd)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_MOD, s.fd, &e); err != nil {
		c.lose(s, "epoll: %v", err)
	}
}

func (c *Crowd) read(s *conn) {
	n, err := unix.Read(s.fd, c.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		c.lose(s, "reading: %v", err)
		return
	case n == 0:
		c.lose(s, "the stream ended")
		return
	}
	c.now = hearing{c, s, time.Now().UnixNano()}
	if err := s.parser.feed(c.buf[:n], &c.now); err != nil {
		c.lose(s, "%v", err)
	}
	if s.stalled && s.parser.inBody() {
		_ = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
	}
}

func (c *Crowd) lose(s *conn, format string, args ...any) {
	c.faults.add("stream %d: "+format, append([]any{s.number}, args...)...)
	c.hangUp(s)
}

func (c *Crowd) hangUp(s *conn) {
	if c.byFD[s.fd] != s {
		return
	}
	c.byFD[s.fd] = nil
	_ = unix.Close(s.fd)
}

// comeBack makes s ready for another connection.
func (s *conn) comeBack(doubles bool) {
	s.parser = parser{}
	s.again = doubles && slices.Max(s.next) > 0
}

// A hearing is one stream's, of what came with one read.
type hearing struct {
	crowd  *Crowd
	stream *conn
	now    int64 // Unix nanoseconds
}

func (h *hearing) id(id []byte) { h.stream.id = append(h.stream.id[:0], id...) }

// event checks one event's data, which may hold several messages.
func (h *hearing) event(name, data []byte) {
	if why := hole(name); why != "" {
		h.crowd.lose(h.stream, "it heard %s %s", name, data)
		return
	}
	for {
		m, rest, ok := message.Next(data)
		if !ok {
			return
		}
		h.check(m)
		data = rest
	}
}
