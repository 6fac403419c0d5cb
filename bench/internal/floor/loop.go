//go:build linux

package floor

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// budget is about how many bytes go into one write, as in Comet.
const budget = 64 << 10

// A loop owns its connections: nobody else touches one, but for the mailbox of a
// Private one, which is under mu.
type loop struct {
	server             *Server
	epoll, event, sock int
	conns              []*conn // by descriptor
	woken              atomic.Bool

	in, body, out []byte // scratch
	from, to      uint64 // out is the chunk of what lies between, if to > from
	date          int64  // the second of greeting
	greeting      []byte // the response's head

	mu    sync.Mutex
	given []*conn // those of which the mailbox is not empty
}

func newLoop(s *Server) (*loop, error) {
	l := &loop{server: s, in: make([]byte, 4096)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, err
	}
	if l.sock, err = s.listening(); err != nil {
		return nil, err
	}
	for _, fd := range []int{l.event, l.sock} {
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// wake has the loop send what is pending. It never blocks.
func (l *loop) wake() {
	if l.woken.CompareAndSwap(false, true) {
		_, _ = unix.Write(l.event, binary.NativeEndian.AppendUint64(nil, 1))
	}
}

// give puts a value into a connection's mailbox.
func (l *loop) give(c *conn, data []byte) {
	l.mu.Lock()
	if len(c.mailbox) == 0 {
		l.given = append(l.given, c)
	}
	c.mailbox = append(c.mailbox, data)
	l.mu.Unlock()
	l.wake()
}

func (l *loop) run() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			panic("floor: epoll: " + err.Error())
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); fd {
			case l.sock:
				l.accept()
			case l.event:
				l.deliver()
			default:
				if c := l.conns[fd]; c != nil {
					l.hear(c, e.Events)
				}
			}
		}
	}
}

func (l *loop) accept() {
	for {
		fd, _, err := unix.Accept4(l.sock, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // none left; anything worse shows at the client
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 16<<10)
		for len(l.conns) <= fd {
			l.conns = append(l.conns, nil)
		}
		l.conns[fd] = &conn{loop: l, fd: fd}
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: interest, Fd: int32(fd)})
	}
}

// deliver sends each connection what it lacks.
func (l *loop) deliver() {
	var count [8]byte
	_, _ = unix.Read(l.event, count[:])
	l.woken.Store(false)
	if l.server.Config.Shape == Private {
		l.mu.Lock()
		given := l.given
		l.given = nil
		l.mu.Unlock()
		for _, c := range given {
			l.sendPrivate(c)
		}
		return
	}
	for _, c := range l.conns {
		if c != nil && c.greeted {
			l.sendShared(c)
		}
	}
}

// head is the response's, made once a second.
func (l *loop) head() []byte {
	if now := time.Now(); now.Unix() != l.date {
		l.date, l.greeting = now.Unix(), head(now)
	}
	return l.greeting
}
