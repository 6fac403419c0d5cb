package main

import (
	"fmt"
	"net"
	"strconv"
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

// plug remembers what the tab's event stream runs over.
func (t *tabs) plug(tab *tab, conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tab.conn = conn
}

// unplug gives the connection to close, nil when the tab has none.
func (t *tabs) unplug(token string, until time.Time) net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tab := range t.all {
		if tab.process.Token() == token && tab.conn != nil {
			conn := tab.conn
			tab.conn, tab.unplugged = nil, until
			return conn
		}
	}
	return nil
}

func (t *tabs) stillCut(tab *tab) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(tab.unplugged)
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
