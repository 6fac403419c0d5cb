package main

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge"

	"github.com/ocsigo/comet/bench/internal/control"
)

// centrifugeServer is the library under Centrifugo, with server-side
// subscriptions, history and recovery, over a unidirectional transport as
// Centrifugo's uni_sse: the server speaks first, and each push is an event.
type centrifugeServer struct {
	node *centrifuge.Node
	mode string
}

func newCentrifuge(c config) (target, error) {
	if c.mode != modeSite && c.mode != modePrivate {
		return nil, errMode(c.mode)
	}
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	s := &centrifugeServer{node, c.mode}
	node.OnConnecting(s.connecting)
	return s, node.Run()
}

type channelKey struct{}

// connecting subscribes to what the request's query named.
func (s *centrifugeServer) connecting(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	channel := ctx.Value(channelKey{}).(string)
	return centrifuge.ConnectReply{
		Credentials:   &centrifuge.Credentials{},
		Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {EnableRecovery: true}},
	}, nil
}

// request asks to recover what follows the query's offset, if there is one.
func (s *centrifugeServer) request(channel, offset string) (r centrifuge.ConnectRequest, err error) {
	if offset == "" {
		return r, nil
	}
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return r, err
	}
	history, err := s.node.History(channel)
	r.Subs = map[string]centrifuge.SubscribeRequest{channel: {Recover: true, Offset: n, Epoch: history.Epoch}}
	return r, err
}

func (s *centrifugeServer) start() (control.Ready, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/stream", s.stream)
	addr, err := listen(func(ln net.Listener) error { return http.Serve(ln, mux) })
	return control.Ready{Addr: addr, Path: path(s.mode), Resume: "offset"}, err
}

func (s *centrifugeServer) stream(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	query := r.URL.Query()
	request, err := s.request(query.Get("ch"), query.Get("offset"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t := &pushes{w: w, flush: http.NewResponseController(w), closed: make(chan struct{})}
	client, leave, err := centrifuge.NewClient(context.WithValue(r.Context(), channelKey{}, query.Get("ch")), s.node, t)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = leave() }()
	client.Connect(request)
	select {
	case <-r.Context().Done():
	case <-t.closed:
	}
	t.mu.Lock() // no write may outlive the handler
	t.over = true
	t.mu.Unlock()
}

func (s *centrifugeServer) publish(channel int, data []byte) error {
	_, err := s.node.Publish(strconv.Itoa(channel), strconv.AppendQuote(nil, string(data)),
		centrifuge.WithHistory(history, time.Hour))
	return err
}
