//go:build linux

package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A Crowd is a set of event streams. It reads only while one of its methods runs,
// in the caller's goroutine, and is not for concurrent use.
type Crowd struct {
	addr      unix.SockaddrInet4
	channels  int // that each stream hears
	epoll     int
	conns     []*conn // by number
	byFD      []*conn
	buf       []byte
	events    []unix.EpollEvent
	now       hearing // what is being read
	delivered int
	latencies []int64
	faults    Faults
	source    byte // the last byte of the address to connect from
	doubles   bool // a replay begins with the last event heard
}

// Options say what the streams of a Crowd are.
type Options struct {
	Addr     string // the server's, as 127.0.0.1:port
	Channels int    // how many channels each stream hears
	// Doubles tells that the server's replay begins with the last event heard:
	// that one is no fault.
	Doubles bool
}

// New makes a Crowd of nobody.
func New(o Options) (*Crowd, error) {
	addr, err := resolve(o.Addr)
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: epoll: %w", err)
	}
	return &Crowd{
		addr: addr, channels: o.Channels, doubles: o.Doubles, epoll: epoll,
		buf: make([]byte, 256<<10), events: make([]unix.EpollEvent, 512), source: 1,
	}, nil
}

// Close ends all streams.
func (c *Crowd) Close() {
	c.Cut()
	_ = unix.Close(c.epoll)
}

// Cut ends all streams, as when the network does. What each had heard is kept for
// those who come back.
func (c *Crowd) Cut() {
	for _, s := range c.conns {
		c.hangUp(s)
	}
}

// Size is how many streams there are, or were before a Cut.
func (c *Crowd) Size() int { return len(c.conns) }

// Await reads until n deliveries were made since the last call of Start.
func (c *Crowd) Await(n int, within time.Duration) error {
	deadline := time.Now().Add(within)
	for c.delivered < n && c.faults.Count == 0 {
		if err := c.poll(time.Until(deadline)); err != nil {
			return fmt.Errorf("%d of %d deliveries: %w", c.delivered, n, err)
		}
	}
	return c.faults.Err()
}

// Linger reads for a while, in which nothing is to come.
func (c *Crowd) Linger(d time.Duration) error {
	before := c.delivered
	for deadline := time.Now().Add(d); time.Now().Before(deadline); {
		_ = c.poll(time.Until(deadline)) // that nothing comes is what is hoped for
	}
	if c.delivered != before {
		c.faults.add("%d deliveries that nobody published", c.delivered-before)
	}
	return c.faults.Err()
}

// Start forgets deliveries and latencies, not faults, and makes room for n.
func (c *Crowd) Start(n int) {
	c.delivered = 0
	if cap(c.latencies) < n {
		c.latencies = make([]int64, 0, n)
	}
	c.latencies = c.latencies[:0]
}

// Latency is the quantile q, from 0 to 1, of the times from publish to read since
// the last Start.
func (c *Crowd) Latency(q float64) time.Duration { return quantile(c.latencies, q) }

// poll waits for what the kernel has to say, and takes it.
func (c *Crowd) poll(within time.Duration) error {
	if within <= 0 {
		return errTime
	}
	n, err := unix.EpollWait(c.epoll, c.events, int(within.Milliseconds())+1)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, e := range c.events[:n] {
		if s := c.byFD[e.Fd]; s != nil {
			c.ready(s, e.Events)
		}
	}
	return nil
}
