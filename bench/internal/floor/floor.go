//go:build linux

package floor

import (
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Shape is what a stream hears.
type Shape int

const (
	Site    Shape = iota // all channels, which all streams share
	Private              // a channel of its own
)

// Config says what there is to hear.
type Config struct {
	Shape     Shape
	Channels  int           // of Site
	Keep      int           // values of Site that are kept
	Heartbeat time.Duration // that the greeting tells; none is sent
	Epoch     string        // of the positions; default: one as long as Comet's
}

// A Server serves event streams at every path. The query's ch is the channel of
// a Private stream.
type Server struct {
	Config
	port  int
	loops []*loop
	log   *log

	mu   sync.Mutex
	tabs map[int]*conn // Private: by channel
}

// Listen takes a port on 127.0.0.1. Each loop has a socket of its own there, among
// which the kernel shares out the connections.
func Listen(c Config) (*Server, error) {
	if c.Epoch == "" {
		c.Epoch = "00000000"
	}
	s := &Server{Config: c, log: newLog(c.Channels, max(c.Keep, 1)), tabs: map[int]*conn{}}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(s)
		if err != nil {
			return nil, fmt.Errorf("floor: %w", err)
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Shape is what the server's streams hear.
func (s *Server) Shape() Shape { return s.Config.Shape }

// Serve starts the loops, which run as long as the process.
func (s *Server) Serve() {
	for _, l := range s.loops {
		go l.run()
	}
}

// Publish sends data to all who hear the channel.
func (s *Server) Publish(channel int, data []byte) error {
	if s.Config.Shape == Private {
		return s.publishTo(channel, data)
	}
	if channel < 0 || channel >= s.Channels {
		return fmt.Errorf("floor: no channel %d of %d", channel, s.Channels)
	}
	s.log.add(channel, data)
	for _, l := range s.loops {
		l.wake()
	}
	return nil
}

func (s *Server) publishTo(channel int, data []byte) error {
	s.mu.Lock()
	c := s.tabs[channel]
	s.mu.Unlock()
	if c == nil {
		return fmt.Errorf("floor: nobody hears channel %d", channel)
	}
	c.loop.give(c, data)
	return nil
}

// listening is a socket at the server's port, the first one at any.
func (s *Server) listening() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return -1, err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: s.port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return -1, err
	}
	s.port = at.(*unix.SockaddrInet4).Port
	return fd, unix.Listen(fd, 4096)
}
