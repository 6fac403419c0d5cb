package main

import (
	"net"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/sse"

	"github.com/ocsigo/comet/bench/internal/control"
)

// fiberV3 is Fiber v3's own middleware. It is the transport; who hears what is
// the same hub as for v2.
type fiberV3 struct {
	*hub
	mode string
}

func newFiberV3(c config) (target, error) {
	if c.mode != modeSite && c.mode != modePrivate {
		return nil, errMode(c.mode)
	}
	return fiberV3{newHub(), c.mode}, nil
}

func (f fiberV3) start() (control.Ready, error) {
	app := fiber.New()
	app.Get("/stream", sse.New(sse.Config{Handler: f.stream, HeartbeatInterval: keepAlive}))
	addr, err := listen(func(ln net.Listener) error {
		return app.Listener(ln, fiber.ListenConfig{DisableStartupMessage: true})
	})
	return control.Ready{Addr: addr, Path: path(f.mode)}, err
}

func (f fiberV3) stream(c fiber.Ctx, stream *sse.Stream) error {
	values, leave := f.enter(strings.Clone(c.Query("ch")))
	defer leave()
	if err := stream.Comment(""); err != nil {
		return err
	}
	for {
		select {
		case v := <-values:
			if err := stream.Event(sse.Event{ID: strconv.FormatInt(v.id, 10), Name: "load", Data: v.data}); err != nil {
				return err
			}
		case <-stream.Done():
			return stream.Err()
		}
	}
}
