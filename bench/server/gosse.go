package main

import (
	"net"
	"net/http"
	"strconv"

	"github.com/tmaxmax/go-sse"

	"github.com/ocsigo/comet/bench/internal/control"
)

// goSSE is tmaxmax/go-sse with its default provider, Joe, and a finite replayer.
type goSSE struct {
	*sse.Server
	mode string
}

func newGoSSE(c config) (target, error) {
	if c.mode != modeSite && c.mode != modePrivate {
		return nil, errMode(c.mode)
	}
	replayer, err := sse.NewFiniteReplayer(history, true)
	if err != nil {
		return nil, err
	}
	return &goSSE{&sse.Server{Provider: &sse.Joe{Replayer: replayer}, OnSession: session}, c.mode}, nil
}

// session sends the headers at once, which the library would with the first event.
func session(w http.ResponseWriter, r *http.Request) (topics []string, ok bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	return []string{r.URL.Query().Get("ch")}, http.NewResponseController(w).Flush() == nil
}

func (g *goSSE) start() (control.Ready, error) {
	mux := http.NewServeMux()
	mux.Handle("/stream", g.Server)
	addr, err := listen(func(ln net.Listener) error { return http.Serve(ln, mux) })
	return control.Ready{Addr: addr, Path: path(g.mode), Resume: "id"}, err
}

func (g *goSSE) publish(channel int, data []byte) error {
	m := &sse.Message{Type: sse.Type("load")}
	m.AppendData(string(data))
	return g.Publish(m, strconv.Itoa(channel))
}
