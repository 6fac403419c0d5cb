package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"
	"time"
)

// What the front waits for a node that can answer, what it reads of a request's body, and how often it says to a page that it
// lives.
const (
	nodeWithin = 20 * time.Second
	bodyBytes  = 1 << 20
	aliveEvery = 15 * time.Second
)

// newFront is the one address that browsers see. It knows nothing of Comet: it hands requests on to nodes, to the one that the
// query asks for (node=b) while that is ready. Into each event stream it writes first which node that comes from, and on
// /cluster/events it tells how the nodes are, so that the page can show what no page has to know.
func newFront(c *cluster) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cluster/events", c.events)
	mux.HandleFunc("POST /cluster/kill", c.command(c.kill))
	mux.HandleFunc("POST /cluster/drain", c.command(c.drain))
	mux.Handle("/", &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.Host = r.In.Host // Comet compares it with the Origin
		},
		Transport:      balancer{c, &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DisableCompression: true}},
		ModifyResponse: nameNode,
		FlushInterval:  -1,
		ErrorHandler:   unavailable,
		ErrorLog:       log.New(io.Discard, "", 0), // a node that is killed under an event stream is what this is about
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

// command is a button of the page's.
func (c *cluster) command(do func(name string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(r.FormValue("node")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// events tells a page how the nodes are, whenever that changes.
func (c *cluster) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		states, changed := c.states()
		data, err := json.Marshal(states)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "event: nodes\ndata: %s\n\n", data); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-alive.C:
		}
	}
}

// A balancer takes each request to a node. One that cannot be connected to has got nothing of the request, so the next is
// asked; where none can it waits. A request that may have been begun is not repeated here: comet.js does that, by number.
type balancer struct {
	*cluster
	next http.RoundTripper
}

const nodeHeader = "Comet-Node"

var errNoNode = errors.New("no node is ready")

func (b balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, bodyBytes))
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
	}
	wanted := r.URL.Query().Get("node")
	deadline := time.After(nodeWithin)
	for {
		_, changed := b.states()
		for _, n := range b.choose(wanted) {
			answer, err := b.try(r, n, body)
			if err == nil || !isDial(err) {
				return answer, err
			}
		}
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-deadline:
			return nil, errNoNode
		case <-changed:
		case <-time.After(probeEvery): // one that was chosen may have died without the state's having changed yet
		}
	}
}

func (b balancer) try(r *http.Request, n *node, body []byte) (*http.Response, error) {
	to := r.Clone(r.Context())
	to.URL.Scheme, to.URL.Host = "http", n.config.Addr
	if body != nil {
		to.Body = io.NopCloser(bytes.NewReader(body))
	}
	done := b.busy(n)
	answer, err := b.next.RoundTrip(to)
	if err != nil {
		done()
		return nil, err
	}
	answer.Header.Set(nodeHeader, n.config.Name)
	answer.Body = &counted{ReadCloser: answer.Body, done: sync.OnceFunc(done)}
	return answer, nil
}

// counted is a body whose end is counted.
type counted struct {
	io.ReadCloser
	done func()
}

func (c *counted) Close() error {
	c.done()
	return c.ReadCloser.Close()
}

// nameNode has an event stream begin with an event that says which node it comes from. It has no id, so it does not change
// where the page goes on.
func nameNode(answer *http.Response) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if kind != "text/event-stream" || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Encoding") != "" {
		return nil
	}
	first := fmt.Sprintf("event: node\ndata: %s\n\n", answer.Header.Get(nodeHeader))
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader([]byte(first)), answer.Body), answer.Body}
	answer.ContentLength = -1
	answer.Header.Del("Content-Length")
	return nil
}

// unavailable answers where no node did. An event stream comes back by itself, and a page because it is told to.
func unavailable(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Refresh", "2")
	switch {
	case r.Context().Err() != nil: // nobody is there to read it
	case errors.Is(err, errNoNode):
		w.Header().Set("Retry-After", "2")
		http.Error(w, "No node is ready. The page loads itself again.", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(os.Stderr, "cluster: a node did not answer:", err)
		http.Error(w, "The node that was asked did not answer.", http.StatusBadGateway)
	}
}
