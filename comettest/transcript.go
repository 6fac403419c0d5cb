package comettest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/ocsigo/comet/sse"
)

// What a failed test shows of a tab.
const (
	shownLines = 25
	shownBytes = 512
)

// A transcript is all that happened to a tab.
type transcript struct {
	lines []string
	wire  []byte
}

// note adds a line. The caller holds t.mu.
func (t *Tab) note(format string, args ...any) {
	at := time.Since(t.began).Seconds()
	t.log.lines = append(t.log.lines, fmt.Sprintf("%9.3fs  ", at)+fmt.Sprintf(format, args...))
}

func describe(e sse.Event) string {
	name := e.Name
	if name == "" {
		name = "(unnamed)"
	}
	return fmt.Sprintf("%s %s", name, e.Data)
}

// Transcript tells all that happened to the tab, a line each, with the time since
// it was opened.
func (t *Tab) Transcript() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.log.lines, "\n")
}

// Wire is what the tab's event streams said, byte for byte, one connection after
// the other, as it was before it was encoded and framed.
func (t *Tab) Wire() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.log.wire)
}

// report is what is known of the tab when a test fails.
func (t *Tab) report() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	lines, wire := t.log.lines, t.log.wire
	fmt.Fprintf(&b, "the tab's EventSource is %v", t.state)
	if t.state != Closed {
		fmt.Fprintf(&b, ", Last-Event-ID %q, retry %v", t.lastID, t.retry)
	}
	b.WriteString("; what it saw:")
	if n := len(lines) - shownLines; n > 0 {
		fmt.Fprintf(&b, "\n  (%d lines before)", n)
		lines = lines[n:]
	}
	for _, line := range lines {
		b.WriteString("\n  " + line)
	}
	fmt.Fprintf(&b, "\non the wire, %d bytes", len(wire))
	if n := len(wire) - shownBytes; n > 0 {
		fmt.Fprintf(&b, ", of which the last %d", shownBytes)
		wire = wire[n:]
	}
	b.WriteString(":")
	for line := range bytes.Lines(wire) {
		fmt.Fprintf(&b, "\n  | %s", bytes.TrimSuffix(line, []byte("\n")))
	}
	return b.String()
}

// fail ends the test: what is wrong, and what the tab saw.
func (t *Tab) fail(what string) {
	t.t.Helper()
	t.t.Fatalf("comettest: %s\n%s", what, t.report())
}
