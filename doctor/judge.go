package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// A Finding is one thing that is not as it should be, or that is good to know.
type Finding struct {
	Fault    bool              `json:"fault"` // else a note
	What     string            `json:"what"`
	Remedies map[string]string `json:"remedies,omitempty"` // by what is to be changed: nginx, HAProxy, Caddy, Fiber
}

// late is by how much, in milliseconds, events may be late before somebody is
// thought to hold them back: a tick, against when the headers of its event stream
// came; the first event of an event stream, at best, against an ordinary request.
const late = 100

// Judge says what was measured means. No fault means that on this way, at this
// time, event streams arrived as they were written.
func Judge(m Measured) []Finding {
	var f findings
	if !f.answer(&m) {
		return f
	}
	f.arrival(&m)
	f.headers(&m)
	f.ends(&m)
	f.requests(&m)
	f.idle(&m)
	f.identity(&m)
	return f
}

// Healthy reports whether no finding is a fault.
func Healthy(findings []Finding) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return f.Fault })
}

type findings []Finding

func (f *findings) fault(r remedy, format string, args ...any) {
	*f = append(*f, Finding{true, fmt.Sprintf(format, args...), remedies[r]})
}

func (f *findings) note(r remedy, format string, args ...any) {
	*f = append(*f, Finding{false, fmt.Sprintf(format, args...), remedies[r]})
}

// answer reports whether there is an event stream to judge.
func (f *findings) answer(m *Measured) bool {
	kind, _, _ := strings.Cut(m.Header["Content-Type"], ";")
	switch {
	case m.Status == 0:
		f.fault(none, "No event stream could be asked for: %s", m.Error)
	case m.Status != 200:
		f.fault(none, "An event stream was answered %d: an EventSource gives up for good on anything but 200", m.Status)
	case kind != "text/event-stream":
		f.fault(none, "An event stream was answered with Content-Type %q: something answers in Comet's place", m.Header["Content-Type"])
	case m.Seen == nil || len(m.Ticks) == 0:
		f.fault(buffering, "The event stream began and nothing of it arrived: something holds it back")
	default:
		return true
	}
	return false
}

// arrival judges whether events came one by one.
func (f *findings) arrival(m *Measured) {
	together, lateness := 0, make([]float64, 0, len(m.Ticks))
	for i, t := range m.Ticks {
		if i > 0 && t.Heard-m.Ticks[i-1].Heard < float64(Every.Milliseconds())/4 {
			together++
		}
		lateness = append(lateness, t.Heard-m.Opened-t.Sent)
	}
	slices.Sort(lateness)
	median := lateness[len(lateness)/2]
	switch {
	case len(m.Ticks) < Ticks:
		f.fault(buffering, "Of %d events %d arrived", Ticks, len(m.Ticks))
	case together >= Ticks/2:
		f.fault(buffering, "Events do not arrive one by one: of %d, sent %d ms apart, %d came together with the one before. "+
			"Something buffers the response", Ticks, Every.Milliseconds(), together)
	case median > late:
		f.fault(delaying, "Events are held back: half of them came more than %.0f ms later than they were written", median)
	case m.First-m.Trip > late:
		f.fault(delaying, "Events are held back: the first of an event stream takes %.0f ms at best, where a request takes %.0f ms", m.First, m.Trip)
	}
}

func (f *findings) headers(m *Measured) {
	if c := m.Header["Content-Encoding"]; c != "" && c != "identity" {
		f.note(compressing, "The response comes in %s, although it says no-transform: something on the way compresses every event stream by itself, "+
			"which costs memory for each and may hold events back. Config.Compression does it once for all", c)
	}
	if !strings.Contains(m.Header["Cache-Control"], "no-transform") || !strings.Contains(m.Header["Cache-Control"], "no-store") {
		f.fault(headers, "Cache-Control arrives as %q: what keeps others from storing or changing the event stream was taken away", m.Header["Cache-Control"])
	}
}

func (f *findings) ends(m *Measured) {
	switch m.End {
	case "cut":
		f.fault(none, "The end of an event stream arrives as a broken connection")
	case "never":
		f.fault(none, "The end of an event stream does not arrive: something keeps the connection open")
	}
	if m.Left != nil && !m.Left.Left {
		f.note(leaving, "A reader that leaves is not seen by the server within 5 s: it costs memory until a heartbeat finds it gone")
	}
	if m.Seen.Protocol == "HTTP/1.0" {
		f.note(version, "The last proxy speaks HTTP/1.0 to the server, which cannot tell an end from a broken connection")
	}
}

func (f *findings) requests(m *Measured) {
	if r := m.Returned; r != nil && r.Arrived != r.Said {
		f.fault(lastID, "Last-Event-ID %q arrived as %q: what a reader missed is not sent again", r.Said, r.Arrived)
	}
	if c := m.Command; c != nil && c.Status != 200 {
		f.fault(posting, "A POST was answered %d: commands do not reach Comet", c.Status)
	} else if c != nil && c.Seen != nil && !c.Seen.Trusted {
		f.fault(host, "The server takes the page for one of another origin, for its Host arrives as %q: commands of browsers "+
			"that send no Sec-Fetch-Site are refused", c.Seen.Host)
	}
	if c := m.AtOnce; c != nil && c.Answered < AtOnce {
		f.fault(crowding, "Of %d event streams at once %d were answered", AtOnce, c.Answered)
	}
	if p := strings.ToLower(m.Protocol); p == "http/1.1" || p == "http/1.0" {
		f.note(multiplexing, "The browser is spoken to in %s: it opens six connections to an origin, and each event stream takes one. "+
			"With more than a handful of tabs use comet-shared.js, or HTTP/2", m.Protocol)
	}
}

func (f *findings) idle(m *Measured) {
	if m.Idle == nil || m.Idle.Beats == 2 && m.Idle.Finished {
		return
	}
	f.fault(silence, "An event stream that was silent was cut after %.1f s: the Site's heartbeat is %.0f s, and somebody's patience is shorter",
		m.Idle.Silence/1000, float64(m.Seen.Heartbeat)/1000)
}

// identity judges what the app believes of who asks.
func (f *findings) identity(m *Measured) {
	if strings.HasPrefix(m.URL, "https:") && m.Seen.Scheme == "http" {
		f.fault(scheme, "The page is asked for by https, and the app believes by http: cookies are set without Secure")
	}
	if m.Seen.Address == "" {
		f.note(address, "The app finds no address of the reader: the header that fiber.Config.ProxyHeader names does not arrive. "+
			"Bounds by address would count all readers as one")
	} else if from := m.Seen.Forwarded["X-Forwarded-For"]; from != "" && !strings.Contains(from, m.Seen.Address) {
		f.note(address, "The app takes %s for the reader's address, which is a proxy's: X-Forwarded-For says %s. "+
			"Bounds by address would count all readers as one", m.Seen.Address, from)
	}
}
