package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
)

// longestCut bounds the seconds that a browser may ask to be cut for.
const longestCut = 60

// pluggable is a listener whose connections an event stream leaves in one piece. On a plain TCP connection Comet may take
// the socket itself out of the server's hands, and then closing the server's end of it cuts nothing.
type pluggable struct{ net.Listener }

type socket struct{ net.Conn }

func (p pluggable) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return socket{conn}, nil
}

// A plug is what can be pulled: the connection of an event stream that a tab opened.
type plug struct {
	conn net.Conn  // nil: it opened none
	out  time.Time // until when the tab stays cut
}

// watch stands before Comet, where the requests for event streams pass by. It remembers what they run over, and turns a
// tab away for as long as it is cut.
func (t *tabs) watch(c *fiber.Ctx) error {
	token, _, _ := strings.Cut(c.Query("p"), ".") // the address names its tab
	t.mu.Lock()
	tab := t.all[token]
	t.mu.Unlock()
	if tab == nil || c.Method() != fiber.MethodGet {
		return c.Next()
	}
	if left := t.stillCut(tab); left > 0 {
		return comeBackIn(c, left)
	}
	if err := c.Next(); err != nil {
		return err
	}
	if c.Response().StatusCode() == fiber.StatusOK {
		t.mu.Lock()
		tab.plug.conn = c.Context().Conn()
		t.mu.Unlock()
	}
	return nil
}

func (t *tabs) stillCut(tab *tab) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(tab.plug.out)
}

// unplug gives the connections to close: those of a session's event streams. Its tabs share one, as long as there are few.
func (t *tabs) unplug(session string, until time.Time) (conns []net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tab := range t.all {
		if tab.process.Session() != session {
			continue
		}
		if tab.plug.conn != nil {
			conns = append(conns, tab.plug.conn)
		}
		tab.plug = plug{out: until}
	}
	return conns
}

// cut is the button on the page: the server hangs up on the browser that asks, without a word, as a lost network does.
func (t *tabs) cut(c *fiber.Ctx) error {
	seconds, err := strconv.Atoi(c.FormValue("seconds", "0"))
	if err != nil || seconds < 0 || seconds > longestCut {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("The form field seconds is a whole number from 0 to %d.", longestCut))
	}
	process, err := comet.ClientProcess(c)
	if err != nil {
		return refused(err)
	}
	conns := t.unplug(process.Session(), time.Now().Add(time.Duration(seconds)*time.Second))
	if len(conns) == 0 {
		return fiber.NewError(fiber.StatusConflict, "This browser has no event stream to cut: wait until it is live.")
	}
	for _, conn := range conns {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // the tab that had it may have left
			return err
		}
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// comeBackIn turns a tab away for a while. It is a 200 because an EventSource gives up for good on anything else; the
// browser waits as long as it is told and asks again from where it was.
func comeBackIn(c *fiber.Ctx, d time.Duration) error {
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.SendString(fmt.Sprintf("retry: %d\n\n", d.Milliseconds()+1))
}
