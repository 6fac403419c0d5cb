package wire_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// countdown says 3, 2, 1 and ends. It has everything to say when it starts, so
// it needs no wake.
type countdown struct{ left int }

func (c *countdown) Start(wake func()) { c.left = 3 }

func (c *countdown) Collect(b *sse.Batch, budget int) (more bool, err error) {
	for c.left > 0 && b.Len() < budget {
		b.Event(nil, "tick", []byte(strconv.Itoa(c.left)))
		c.left--
	}
	if c.left > 0 {
		return true, nil
	}
	return false, io.EOF
}

func (c *countdown) Gone(cause error) {}

func ExampleServe() {
	ln := fasthttputil.NewInmemoryListener()
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("text/event-stream")
		wire.Serve(ctx, &countdown{}, wire.Options{})
	}}
	go func() { _ = srv.Serve(ln) }()
	defer func() { _ = srv.Shutdown() }()

	client := http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return ln.Dial() },
	}}
	resp, err := client.Get("http://comet/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s%v\n", body, err)
	// Output:
	// event: tick
	// data: 3
	//
	// event: tick
	// data: 2
	//
	// event: tick
	// data: 1
	//
	// <nil>
}
