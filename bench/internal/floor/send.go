//go:build linux

package floor

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (l *loop) sendPending(c *conn) {
	if l.server.Config.Shape == Private {
		l.sendPrivate(c)
		return
	}
	l.sendShared(c)
}

// sendShared sends what lies between the connection's place and the head, in
// chunks that are made once for all connections at the same place.
func (l *loop) sendShared(c *conn) {
	for len(c.rest) == 0 {
		if l.from != c.at || l.to == l.from || l.to < l.server.log.head.Load() {
			l.chunk(c.at)
		}
		if l.to == c.at {
			return
		}
		c.at = l.to
		l.send(c, l.out)
		if l.conns[c.fd] != c {
			return
		}
	}
}

// chunk makes out the chunk of what follows at. A connection that fell off the
// log goes on with the newest value: the floor's readers do not.
func (l *loop) chunk(at uint64) {
	body, to, kept := l.server.log.since(at, l.body[:0], budget)
	l.body, l.from, l.to = body, at, to
	if !kept {
		l.to, _ = l.server.log.place()
	}
	l.out = l.out[:0]
	if len(body) > 0 {
		l.out = appendChunk(l.out, body)
	}
}

// sendPrivate sends what is in the connection's mailbox.
func (l *loop) sendPrivate(c *conn) {
	if len(c.rest) > 0 {
		return // the kernel will say when there is room
	}
	l.mu.Lock()
	values := c.mailbox
	c.mailbox = nil
	l.mu.Unlock()
	if len(values) == 0 || l.conns[c.fd] != c {
		return
	}
	l.body = l.body[:0]
	for _, data := range values {
		c.at++
		l.body = append(l.body, event(privateCursor(c.at), "load", data)...)
	}
	l.out = appendChunk(l.out[:0], l.body)
	l.send(c, l.out)
}

// sendto does not tell the scheduler, because it never blocks.
func sendto(fd int, b []byte) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), err
}
