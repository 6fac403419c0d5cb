package main

import (
	"net"
	"net/http"
	"strconv"

	"github.com/r3labs/sse/v2"

	"github.com/ocsigo/comet/bench/internal/control"
)

// r3Labs is r3labs/sse with its defaults: a goroutine and a queue a channel, and
// a log of all values, from which it replays.
type r3Labs struct {
	*sse.Server
	mode string
}

func newR3Labs(c config) (target, error) {
	if c.mode != modeSite && c.mode != modePrivate {
		return nil, errMode(c.mode)
	}
	s := sse.New()
	s.AutoStream = true
	return &r3Labs{s, c.mode}, nil
}

func (r *r3Labs) start() (control.Ready, error) {
	mux := http.NewServeMux()
	mux.Handle("/stream", r.Server)
	addr, err := listen(func(ln net.Listener) error { return http.Serve(ln, mux) })
	where := "/stream?stream=0"
	if r.mode == modePrivate {
		where = "/stream?stream=%d"
	}
	return control.Ready{Addr: addr, Path: where, Resume: "id", Doubles: true}, err
}

func (r *r3Labs) publish(channel int, data []byte) error {
	r.Publish(strconv.Itoa(channel), &sse.Event{Event: []byte("load"), Data: data})
	return nil
}
