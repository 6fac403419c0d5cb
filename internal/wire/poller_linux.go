package wire

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A poller is the one epoll set of all streams that were taken over, and the
// goroutine that tells them what the kernel says of their sockets. It comes
// with the first stream and goes after the last one's descriptor is closed; the
// next stream then gets another.
type poller struct {
	queues queues
	epoll  int      // the set; open while there are streams
	file   *os.File // the same: how Go's own poller knows it

	streams int // under pollers

	mu         sync.Mutex
	table      []*taken // by the descriptor's number
	generation uint32
}

// current is the poller of the streams there are; nil without any.
var (
	pollers sync.Mutex
	current *poller
)

// enter counts one stream more, in the poller that it returns.
func enter() (*poller, error) {
	pollers.Lock()
	defer pollers.Unlock()
	if current == nil {
		p, err := newPoller()
		if err != nil {
			return nil, err
		}
		current = p
	}
	current.streams++
	return current, nil
}

// leave takes back what enter did.
func (p *poller) leave() {
	pollers.Lock()
	defer pollers.Unlock()
	if p.streams--; p.streams == 0 {
		current = nil
		_ = p.file.SetReadDeadline(longAgo) // ends run, which closes the set
	}
}

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wire: epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // else NewFile would not poll it
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("wire: epoll set: %w", err)
	}
	p := &poller{
		queues: newQueues(),
		epoll:  epoll,
		file:   os.NewFile(uintptr(epoll), "epoll set of event streams"),
	}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("wire: epoll set cannot be polled: %w", err)
	}
	go p.run()
	return p, nil
}

// run waits for the set to be readable as for any file, in Go's own poller, so
// it holds no thread while nothing happens.
func (p *poller) run() {
	defer p.file.Close()
	raw, err := p.file.SyscallConn()
	if err != nil {
		return
	}
	events := make([]unix.EpollEvent, 128)
	scratch := make([]byte, maxAfterRequest)
	_ = raw.Read(func(uintptr) bool {
		for {
			n, err := unix.EpollWait(p.epoll, events, 0)
			if err == unix.EINTR {
				continue
			}
			for i := range max(n, 0) {
				p.tell(&events[i], scratch)
			}
			if n < len(events) { // the set is empty: its next event is an edge
				return false
			}
		}
	})
}

// tell posts one event to its stream. It calls no Source: streams that end all
// at once are ended by the workers.
func (p *poller) tell(event *unix.EpollEvent, scratch []byte) {
	s := p.find(event.Fd, uint32(event.Pad))
	if s == nil {
		return
	}
	var news uint32
	if event.Events&unix.EPOLLOUT != 0 {
		news |= writable
	}
	switch {
	case event.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		news |= left
	case event.Events&unix.EPOLLIN != 0:
		news |= s.listen(scratch)
	}
	if news != 0 {
		s.post(news)
	}
}

// put makes s the stream that is told of its descriptor's number, as the one
// generation of it that is current.
func (p *poller) put(s *taken) {
	p.mu.Lock()
	defer p.mu.Unlock()
	number := int(s.sock.number)
	if short := number + 1 - len(p.table); short > 0 {
		p.table = append(p.table, make([]*taken, short)...)
	}
	p.table[number] = s
	p.generation++
	s.sock.generation = p.generation
}

func (p *poller) remove(number int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table[number] = nil
}

// find returns the stream that an event is for; nil if that is over.
func (p *poller) find(number int32, generation uint32) *taken {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.table[number]; s != nil && s.sock.generation == generation {
		return s
	}
	return nil
}
