//go:build linux

package floor

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// interest is edge-triggered: a connection is heard of when its peer speaks,
// leaves, or has made room after a write that found none.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1)

// A conn is one event stream.
type conn struct {
	loop    *loop
	fd      int
	at      uint64   // Site: the place in the log; Private: the last number
	rest    []byte   // what the kernel would not take yet
	request []byte   // until it is whole
	number  int      // Private: of its channel
	mailbox [][]byte // Private: what waits, under loop.mu
	greeted bool
}

// hear takes what the kernel says of a connection.
func (l *loop) hear(c *conn, events uint32) {
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		l.close(c)
		return
	}
	if events&unix.EPOLLIN != 0 && !l.read(c) {
		return
	}
	if events&unix.EPOLLOUT != 0 && c.greeted && len(c.rest) > 0 {
		l.send(c, nil)
		if len(c.rest) == 0 {
			l.sendPending(c)
		}
	}
}

// read takes the request, and answers when it is whole. What follows it is read
// and dropped. It is false if the connection is gone.
func (l *loop) read(c *conn) bool {
	for {
		n, err := unix.Read(c.fd, l.in)
		switch {
		case err == unix.EAGAIN:
			return true
		case err != nil || n == 0:
			l.close(c)
			return false
		case c.greeted:
			continue
		}
		c.request = append(c.request, l.in[:n]...)
		if bytes.Contains(c.request, []byte("\r\n\r\n")) {
			l.greet(c)
		}
	}
}

// greet answers the request with the head, the greeting, and what was missed.
func (l *loop) greet(c *conn) {
	s, request := l.server, c.request
	c.request, c.greeted = nil, true
	last := field(request, "Last-Event-ID: ")
	id, seqs := privateCursor(0), []uint64(nil)
	if s.Config.Shape == Private {
		target, _ := url.Parse(field(request, "GET "))
		c.number, _ = strconv.Atoi(target.Query().Get("ch"))
		s.mu.Lock()
		s.tabs[c.number] = c
		s.mu.Unlock()
	} else {
		c.at, seqs = s.log.place()
		if sequence, ok := strings.CutPrefix(last, tag+"~0."); ok && s.Channels == 1 {
			c.at, _ = strconv.ParseUint(sequence, 36, 64)
			seqs = []uint64{c.at}
		}
		id = cursor(seqs)
	}
	body := s.hello(c.number, id, seqs)
	if s.Config.Shape == Site {
		body, c.at, _ = s.log.since(c.at, body, budget)
	}
	l.send(c, appendChunk(bytes.Clone(l.head()), body))
}

// field is what follows name in the request, up to a blank or a line's end.
func field(request []byte, name string) string {
	_, rest, _ := bytes.Cut(request, []byte(name))
	if i := bytes.IndexAny(rest, " \r"); i >= 0 {
		rest = rest[:i]
	}
	return string(rest)
}

// send writes, and keeps what the kernel does not take. data is not kept.
func (l *loop) send(c *conn, data []byte) {
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	for len(data) > 0 {
		n, err := sendto(c.fd, data)
		if err == unix.EAGAIN {
			break
		}
		if err != 0 {
			l.close(c)
			return
		}
		data = data[n:]
	}
	c.rest = append([]byte(nil), data...)
}

func (l *loop) close(c *conn) {
	if l.conns[c.fd] != c {
		return
	}
	l.conns[c.fd] = nil
	_ = unix.Close(c.fd)
	if l.server.Config.Shape == Private {
		l.server.mu.Lock()
		if l.server.tabs[c.number] == c {
			delete(l.server.tabs, c.number)
		}
		l.server.mu.Unlock()
	}
}
