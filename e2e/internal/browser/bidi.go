package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// A bidi is a connection of WebDriver BiDi: commands with numbered answers, and events in between.
// https://www.w3.org/TR/webdriver-bidi/#protocol
type bidi struct {
	conn  *websocket.Conn
	event func(method string, params json.RawMessage) // called by one goroutine, in order

	mu      sync.Mutex
	last    int
	waiting map[int]chan bidiMessage
	lost    error // the connection ended
}

type bidiMessage struct {
	Type    string          `json:"type"` // success, error or event
	ID      int             `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

func dialBiDi(ctx context.Context, url string, event func(string, json.RawMessage)) (*bidi, error) {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(-1) // screenshots
	c := &bidi{conn: conn, event: event, waiting: map[int]chan bidiMessage{}}
	go c.read()
	return c, nil
}

func (c *bidi) read() {
	for {
		var m bidiMessage
		if err := wsjson.Read(context.Background(), c.conn, &m); err != nil {
			c.fail(err)
			return
		}
		if m.Type == "event" {
			c.event(m.Method, m.Params)
			continue
		}
		c.mu.Lock()
		answer := c.waiting[m.ID]
		delete(c.waiting, m.ID)
		c.mu.Unlock()
		if answer != nil {
			answer <- m
		}
	}
}

func (c *bidi) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = fmt.Errorf("the browser's connection ended: %w", err)
	for _, answer := range c.waiting {
		close(answer)
	}
	clear(c.waiting)
}

// expect numbers a command and gives the channel for its answer, which is closed if the connection ends.
func (c *bidi) expect() (id int, answer chan bidiMessage, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return 0, nil, c.lost
	}
	c.last++
	answer = make(chan bidiMessage, 1)
	c.waiting[c.last] = answer
	return c.last, answer, nil
}

// call sends a command, waits for its answer and stores it into result, unless that is nil.
func (c *bidi) call(ctx context.Context, method string, params map[string]any, result any) error {
	id, answer, err := c.expect()
	if err != nil {
		return err
	}
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	// A write whose context ends closes the connection, which is everybody's.
	if err := wsjson.Write(context.WithoutCancel(ctx), c.conn, map[string]any{"id": id, "method": method, "params": params}); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", method, c.why())
		case m.Type == "error":
			return fmt.Errorf("%s: %s: %s", method, m.Error, m.Message)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

func (c *bidi) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}
