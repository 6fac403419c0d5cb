// Package control is how the harness talks to a server that it measures: one
// JSON object a line, commands into its standard input and a reply to each out
// of its standard output. The server's end of input is its end, so that none is
// left behind.
package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Ready is the first line that a server says.
type Ready struct {
	Addr string // where it listens, as host:port
	// Path is the address of an event stream; %d in it stands for the
	// connection's number.
	Path string
	// Page tells that Path is that of a page, whose body is the address: asked
	// for "once", or for "each" connection. Tabs of these share a session.
	Page string
	Tabs int
	// Resume is how a reader that comes back says how far it was: "id", by
	// Last-Event-ID; "offset", by the query; or "", not at all.
	Resume string
	// Doubles tells that a replay begins with the last event that was heard.
	Doubles bool
}

// Command is one line to a server.
type Command struct {
	Op string // "publish", "cpu", "memory", "profile"

	// Profile: where the CPU profile is written to that begins now; "" ends it.
	Path string

	// Publish: Count values of Size bytes, every one Every after the last, or
	// Burst of them at a time. To the one channel Channel, or with Each to all
	// of Channels channels in turn.
	Count, Size, Burst int
	Every              time.Duration
	Channel            int
	Each               bool
	Channels           int
}

// Reply is one line from a server.
type Reply struct {
	Error string

	CPU time.Duration // "cpu": user and system time so far

	RSS, Heap  int64 // "memory": bytes, after a collection that gave all back
	Goroutines int

	Elapsed time.Duration // "publish": the time within the library's publish
	Slowest time.Duration // of one call
	Allocs  uint64        // of the whole process while it published
}

// Serve answers every command of r until its end.
func Serve(r io.Reader, w io.Writer, answer func(Command) Reply) error {
	in, out := json.NewDecoder(bufio.NewReader(r)), json.NewEncoder(w)
	for {
		var c Command
		if err := in.Decode(&c); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a command: %w", err)
		}
		if err := out.Encode(answer(c)); err != nil {
			return fmt.Errorf("writing a reply: %w", err)
		}
	}
}
