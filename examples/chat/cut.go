package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
)

// longestCut bounds the seconds that a tab may ask to be cut for.
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

// A plug is what can be pulled: the connection that a tab's event stream runs over.
type plug struct {
	conn net.Conn  // nil: the tab has none
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

// unplug gives the connection to close, nil when the tab has none.
func (t *tabs) unplug(token string, until time.Time) net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	tab := t.all[token]
	if tab == nil || tab.plug.conn == nil {
		return nil
	}
	conn := tab.plug.conn
	tab.plug = plug{out: until}
	return conn
}

// cut is the button on the page: the server hangs up on the tab that asks, without a word, as a lost network does.
func (t *tabs) cut(c *fiber.Ctx) error {
	seconds, err := strconv.Atoi(c.FormValue("seconds", "0"))
	if err != nil || seconds < 0 || seconds > longestCut {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("The form field seconds is a whole number from 0 to %d.", longestCut))
	}
	process, err := comet.ClientProcess(c)
	if err != nil {
		return refused(err)
	}
	conn := t.unplug(process.Token(), time.Now().Add(time.Duration(seconds)*time.Second))
	if conn == nil {
		return fiber.NewError(fiber.StatusConflict, "This tab has no event stream to cut: wait until it is live.")
	}
	if err := conn.Close(); err != nil {
		return err
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
