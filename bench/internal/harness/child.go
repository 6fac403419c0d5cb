package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
)

// A Child is one server, in a process of its own. It is not for concurrent use.
type Child struct {
	control.Ready
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies chan control.Reply
	errors  bytes.Buffer // what it said of its troubles
}

// Start runs a server and waits until it listens.
func Start(binary string, row Row) (*Child, error) {
	c := &Child{replies: make(chan control.Reply, 1)}
	c.cmd = exec.Command(binary, "-kind", row.Kind, "-mode", row.Mode, "-channels", strconv.Itoa(row.Channels))
	c.cmd.Stderr = &c.errors
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in = in
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	lines := json.NewDecoder(out)
	kill := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	if err := lines.Decode(&c.Ready); err != nil {
		c.Stop()
		return nil, fmt.Errorf("server %s did not start: %w: %s", row.Kind, err, c.errors.Bytes())
	}
	go c.hear(lines)
	return c, nil
}

func (c *Child) hear(lines *json.Decoder) {
	defer close(c.replies)
	for {
		var r control.Reply
		if lines.Decode(&r) != nil {
			return
		}
		c.replies <- r
	}
}

// Send gives a command. Every one is to be followed by a Receive, before the next.
func (c *Child) Send(command control.Command) error {
	return json.NewEncoder(c.in).Encode(command)
}

// Receive waits for the reply to a command.
func (c *Child) Receive(within time.Duration) (control.Reply, error) {
	select {
	case r, ok := <-c.replies:
		if !ok {
			return r, fmt.Errorf("the server has died: %s", c.errors.Bytes())
		}
		if r.Error != "" {
			return r, errors.New(r.Error)
		}
		return r, nil
	case <-time.After(within):
		return control.Reply{}, fmt.Errorf("the server did not answer within %v", within)
	}
}

// Do gives a command and waits for the reply.
func (c *Child) Do(command control.Command) (control.Reply, error) {
	if err := c.Send(command); err != nil {
		return control.Reply{}, err
	}
	return c.Receive(patience)
}

// Stop ends the server: its end of input should, and after two seconds it is
// killed.
func (c *Child) Stop() {
	_ = c.in.Close()
	kill := time.AfterFunc(2*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	_ = c.cmd.Wait()
}
