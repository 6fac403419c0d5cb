package doctor

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Report writes what was measured and found, for a person.
func Report(w io.Writer, m Measured, found []Finding) {
	fmt.Fprintf(w, "%s\n\n", m.URL)
	for _, line := range measures(&m) {
		fmt.Fprintf(w, "  %s\n", line)
	}
	fmt.Fprintln(w)
	for _, f := range found {
		kind := "note"
		if f.Fault {
			kind = "FAULT"
		}
		fmt.Fprintf(w, "%s: %s.\n", kind, strings.TrimSuffix(f.What, "."))
		for _, who := range slices.Sorted(maps.Keys(f.Remedies)) {
			fmt.Fprintf(w, "      %s: %s\n", who, f.Remedies[who])
		}
	}
	if Healthy(found) {
		fmt.Fprintln(w, "Event streams arrive as they were written.")
	}
}

func measures(m *Measured) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	say("a request takes %.1f ms, the first event of an event stream %.1f ms; the first hop speaks %s", m.Trip, m.First, m.Protocol)
	if m.Seen != nil {
		say("the server is asked by %s in %s, for host %s by %s", m.Seen.Address, m.Seen.Protocol, m.Seen.Host, m.Seen.Scheme)
	}
	if n := len(m.Ticks); n > 0 {
		first, last := m.Ticks[0], m.Ticks[n-1]
		say("%d of %d events, %.0f ms to %.0f ms after they were written; the end: %s", n, Ticks, first.Heard-m.Opened-first.Sent, last.Heard-m.Opened-last.Sent, m.End)
	}
	if m.Returned != nil {
		say("Last-Event-ID %q arrived as %q", m.Returned.Said, m.Returned.Arrived)
	}
	if m.Left != nil {
		say("a reader that left was seen: %v", m.Left.Left)
	}
	if m.AtOnce != nil {
		say("%d of %d event streams at once, on %d connections", m.AtOnce.Answered, AtOnce, m.AtOnce.Connections)
	}
	if m.Command != nil {
		say("a POST was answered %d", m.Command.Status)
	}
	if m.Idle != nil && m.Seen != nil {
		say("%d of 2 heartbeats, %d ms apart", m.Idle.Beats, m.Seen.Heartbeat)
	}
	return lines
}
