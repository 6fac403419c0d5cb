package wire

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// The longest wait between two tries to accept, and between two lines of the log.
const (
	maxAcceptWait = time.Second
	acceptLogged  = time.Minute
)

// A patient listener's Accept does not fail for what passes.
type patient struct {
	net.Listener
	log    *slog.Logger
	once   sync.Once
	closed chan struct{}

	mu   sync.Mutex
	last time.Time // when the log was told
}

// Patient returns ln with an Accept that waits out what passes: no descriptor left, no
// memory, a peer that gave up meanwhile. fasthttp takes these for the end of ln, stops
// serving, and most programs end then. It tries again after 5 ms at first, after at most a
// second, and tells log once a minute. The connections are ln's own.
func Patient(ln net.Listener, log *slog.Logger) net.Listener {
	return &patient{Listener: ln, log: log, closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (p *patient) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, maxAcceptWait) {
		c, err := p.Listener.Accept()
		var passing interface{ Temporary() bool }
		if err == nil || !errors.As(err, &passing) || !passing.Temporary() {
			return c, err
		}
		p.report(err)
		select {
		case <-p.closed:
			return nil, net.ErrClosed
		case <-time.After(wait):
		}
	}
}

func (p *patient) report(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < acceptLogged {
		return
	}
	p.last = time.Now()
	p.log.Error("comet: a connection cannot be accepted; those that are there go on. Raise the limit of open files, or bound what comes", "error", err)
}

// Close implements net.Listener.
func (p *patient) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Listener.Close()
}
