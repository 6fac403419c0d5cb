package wire_test

import (
	"bufio"
	"io"
	"net"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// beats is a Source that says one event a wake, and allocates nothing itself.
type beats struct {
	wake chan func()
	due  chan struct{}
	data []byte
	gone chan error
}

func (s *beats) Start(wake func()) { s.wake <- wake }

func (s *beats) Collect(b *sse.Batch, _ int) (bool, error) {
	select {
	case <-s.due:
		b.Event(nil, "", s.data)
	default:
	}
	return false, nil
}

func (s *beats) Gone(cause error) { s.gone <- cause }

// BenchmarkOneEvent is the round of a single event on an idle event stream:
// wake, a writer, one write, and the peer's read.
func BenchmarkOneEvent(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	src := &beats{
		wake: make(chan func(), 1), due: make(chan struct{}, 1), gone: make(chan error, 1),
		data: make([]byte, 100),
	}
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { wire.Serve(ctx, src, wire.Options{}) }}
	go func() { _ = srv.Serve(ln) }()
	defer func() { _ = srv.Shutdown() }()
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.WriteString(c, get)
	wake, r := <-src.wake, bufio.NewReader(c)
	for line := ""; line != "\r\n"; line, _ = r.ReadString('\n') {
	}
	b.ReportAllocs()
	for b.Loop() {
		src.due <- struct{}{}
		wake()
		for range 4 { // a chunk: its size, the data line, the blank one, its end
			if _, err := r.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	c.Close()
	<-src.gone
}
