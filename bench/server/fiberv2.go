package main

import (
	"bufio"
	"fmt"
	"net"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/ocsigo/comet/bench/internal/control"
)

// fiberV2 streams from Fiber v2 as its recipes do: SetBodyStreamWriter, and a
// goroutine that waits on a Go channel.
type fiberV2 struct {
	*hub
	mode string
}

func newFiberV2(c config) (target, error) {
	if c.mode != modeSite && c.mode != modePrivate {
		return nil, errMode(c.mode)
	}
	return fiberV2{newHub(), c.mode}, nil
}

func (f fiberV2) start() (control.Ready, error) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/stream", f.stream)
	addr, err := listen(func(ln net.Listener) error { return app.Listener(ln) })
	return control.Ready{Addr: addr, Path: path(f.mode)}, err
}

func (f fiberV2) stream(c *fiber.Ctx) error {
	c.Set("Content-Type", "text/event-stream")
	c.Set("Cache-Control", "no-cache")
	c.Set("X-Accel-Buffering", "no")
	channel := utils.CopyString(c.Query("ch"))
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		values, leave := f.enter(channel)
		defer leave()
		fmt.Fprint(w, ":\n\n")
		for w.Flush() == nil {
			v := <-values
			fmt.Fprintf(w, "id: %d\nevent: load\ndata: %s\n\n", v.id, v.data)
		}
	})
	return nil
}
