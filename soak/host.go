//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/ocsigo/comet/soak/internal/app"
	"github.com/ocsigo/comet/soak/internal/child"
	"github.com/ocsigo/comet/soak/internal/oracle"
)

// A host runs the server, at one address.
type host struct {
	config          app.Config
	client          *http.Client
	restarts, stops int

	server *child.Server

	mu    sync.Mutex
	quiet time.Time // when the last disturbance was over; far away during one
}

// freeAddr returns a loopback address that nobody has, on a port that no outgoing
// connection gets: tabs dial while the server is away.
func freeAddr() (string, error) {
	var fault error
	for range 100 {
		ln, err := net.Listen("tcp4", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer ln.Close()
			return ln.Addr().String(), nil
		}
		fault = err
	}
	return "", fault
}

// start starts the server, at the address that it always has.
func (h *host) start() error {
	server, err := child.Start(h.config)
	if err != nil {
		return err
	}
	h.server = server
	return nil
}

func (h *host) kill() { h.server.Kill() }

// disturbing tells tabs that silence is no fault, until the func it returns is called.
func (h *host) disturbing() func() {
	h.mu.Lock()
	h.quiet = time.Now().Add(time.Hour)
	h.mu.Unlock()
	return func() {
		h.mu.Lock()
		h.quiet = time.Now()
		h.mu.Unlock()
	}
}

// disturbed reports whether the server was killed or stopped since then.
func (h *host) disturbed(since time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.quiet.After(since)
}

// restart kills the server and starts it again; with forget the sessions are lost, too.
// What it kept in memory is lost in any case: logs, processes.
func (h *host) restart(forget bool) error {
	defer h.disturbing()()
	h.restarts++
	select {
	case <-h.server.Done():
		return fmt.Errorf("rule 13: the server ended by itself")
	default:
	}
	h.server.Kill()
	if forget {
		if err := os.Remove(h.config.Sessions); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return h.start()
}

// pause stops the server for some time: when it goes on, all its clocks have jumped, and
// what its peers sent meanwhile is there at once.
func (h *host) pause(d time.Duration) error {
	defer h.disturbing()()
	h.stops++
	if err := h.server.Stop(); err != nil {
		return fmt.Errorf("rule 13: the server ended by itself: %w", err)
	}
	time.Sleep(d)
	return h.server.Continue()
}

func (h *host) stats() (s app.Stats, err error) {
	err = h.ask("/stats", &s)
	return s, err
}

func (h *host) newest() (m map[string]oracle.Value, err error) {
	err = h.ask("/newest", &m)
	return m, err
}

// answers is how long the server may take to answer on a machine that is busy.
const answers = 90 * time.Second

// ask asks the server itself. One that does not answer is made to say what it is at.
func (h *host) ask(path string, answer any) error {
	for begun := time.Now(); ; time.Sleep(time.Second) {
		resp, err := h.client.Get("http://" + h.config.Addr + path)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(answer)
			resp.Body.Close()
		}
		if err == nil {
			return nil
		}
		if time.Since(begun) > answers {
			_ = h.server.Dump()
			return fmt.Errorf("rule 13: the server does not answer: %w", err)
		}
	}
}
