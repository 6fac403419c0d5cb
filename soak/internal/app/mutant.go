package app

import (
	"bufio"
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// A Mutant is how a server breaks a rule on every event stream once, with the second
// value of a queue channel that it carries: it stands for a server that is wrong.
type Mutant string

// The mutants.
const (
	Drops   Mutant = "drops a value"
	Doubles Mutant = "says a value twice"
	NoID    Mutant = "leaves an id out"
	Mute    Mutant = "says nothing more"
	Ends    Mutant = "ends the event stream"
	Refuses Mutant = "answers 503" // it carries nothing at all
)

// between serves ln itself, and passes all on to the listener that it returns; what comes
// back is mutated.
func (m Mutant) between(ln net.Listener) (net.Listener, error) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: inner.Addr().String()})
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	proxy.ErrorLog = log.New(io.Discard, "", 0) // of tabs that go
	proxy.ModifyResponse = func(r *http.Response) error {
		switch {
		case !strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream"):
		case m == Refuses:
			r.Body.Close()
			r.StatusCode, r.Status, r.Body = http.StatusServiceUnavailable, "", http.NoBody
		default:
			r.Body = &mutated{ReadCloser: r.Body, from: bufio.NewReader(r.Body), how: m}
		}
		return nil
	}
	go func() { _ = http.Serve(ln, proxy) }()
	return inner, nil
}

// mutated is an event stream of a mutant.
type mutated struct {
	io.ReadCloser
	from  *bufio.Reader
	how   Mutant
	heard int // values of queue channels
	event []byte
}

// Read implements io.Reader.
func (m *mutated) Read(b []byte) (int, error) {
	for len(m.event) == 0 {
		if err := m.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, m.event)
	m.event = m.event[n:]
	return n, nil
}

// next reads an event, to the empty line that ends it.
func (m *mutated) next() error {
	var event []byte
	for {
		line, err := m.from.ReadBytes('\n')
		if err != nil {
			return err
		}
		if event = append(event, line...); len(line) == 1 {
			break
		}
	}
	if m.how == Mute && m.heard >= 2 {
		return nil
	}
	if bytes.Contains(event, []byte("event: q")) || bytes.Contains(event, []byte("event:q")) {
		if m.heard++; m.heard == 2 {
			if m.how == Ends {
				return io.EOF
			}
			event = m.how.mutate(event)
		}
	}
	m.event = event
	return nil
}

func (m Mutant) mutate(event []byte) []byte {
	switch m {
	case Drops, Mute:
		return nil
	case Doubles:
		return bytes.Repeat(event, 2)
	}
	var lines [][]byte
	for _, line := range bytes.SplitAfter(event, []byte("\n")) {
		if !bytes.HasPrefix(line, []byte("id:")) {
			lines = append(lines, line)
		}
	}
	return bytes.Join(lines, nil)
}
