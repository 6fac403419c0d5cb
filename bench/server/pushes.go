package main

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge"
)

// pushes is centrifuge's transport over one response: each push an event. The
// library's own writer goroutine writes, and flushes once for all it has.
type pushes struct {
	w      http.ResponseWriter
	flush  *http.ResponseController
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	over bool
}

var errOver = errors.New("the response has ended")

func (*pushes) Name() string                                { return "uni_sse" }
func (*pushes) AcceptProtocol() string                      { return "h1" }
func (*pushes) Protocol() centrifuge.ProtocolType           { return centrifuge.ProtocolTypeJSON }
func (*pushes) ProtocolVersion() centrifuge.ProtocolVersion { return centrifuge.ProtocolVersion2 }
func (*pushes) Unidirectional() bool                        { return true }
func (*pushes) Emulation() bool                             { return false }
func (*pushes) DisabledPushFlags() uint64                   { return 0 }

func (*pushes) PingPongConfig() centrifuge.PingPongConfig {
	return centrifuge.PingPongConfig{PingInterval: keepAlive, PongTimeout: time.Minute}
}

func (p *pushes) Write(push []byte) error { return p.WriteMany(push) }

func (p *pushes) WriteMany(all ...[]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return errOver
	}
	for _, push := range all {
		for _, part := range [][]byte{[]byte("data: "), push, []byte("\n\n")} {
			if _, err := p.w.Write(part); err != nil {
				return err
			}
		}
	}
	return p.flush.Flush()
}

func (p *pushes) Close(centrifuge.Disconnect) error {
	p.once.Do(func() { close(p.closed) })
	return nil
}
