package doctor_test

import (
	"strings"
	"testing"

	"github.com/ocsigo/comet/doctor"
)

// well is what is measured where nothing is wrong.
func well() doctor.Measured {
	m := doctor.Measured{
		URL: "https://app.example.com/doctor", Trip: 20, Opened: 400, First: 30, Protocol: "HTTP/2.0", Status: 200, End: "clean",
		Header:   map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-store, no-transform"},
		Seen:     &doctor.Seen{Protocol: "HTTP/1.1", Scheme: "https", Host: "app.example.com", Address: "192.0.2.1", Trusted: true, Heartbeat: 15000},
		Returned: &doctor.Returned{Said: "1,x", Arrived: "1,x"}, Left: &doctor.Left{Left: true},
		Command: &doctor.Command{Status: 200, Seen: &doctor.Seen{Trusted: true}},
		AtOnce:  &doctor.Crowd{Answered: doctor.AtOnce, Connections: 1}, Idle: &doctor.Idle{Beats: 2, Finished: true},
	}
	for i := range doctor.Ticks {
		at := float64(i+1) * float64(doctor.Every.Milliseconds())
		m.Ticks = append(m.Ticks, doctor.Tick{Sent: at, Heard: 400 + at + 5})
	}
	return m
}

// TestJudge: each thing that can be wrong is found, alone, with its remedies; and
// nothing where nothing is.
func TestJudge(t *testing.T) {
	if found := doctor.Judge(well()); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	for what, c := range map[string]struct {
		fault bool
		harm  func(m *doctor.Measured)
		who   string // whose remedies are told
	}{
		"No event stream could be asked for: refused": {true, func(m *doctor.Measured) { m.Status, m.Error = 0, "refused" }, ""},
		"answered 502":          {true, func(m *doctor.Measured) { m.Status = 502 }, ""},
		"in Comet's place":      {true, func(m *doctor.Measured) { m.Header["Content-Type"] = "text/html" }, ""},
		"nothing of it arrived": {true, func(m *doctor.Measured) { m.Seen = nil }, "Caddy Fiber HAProxy nginx"},
		"Of 8 events 3 arrived": {true, func(m *doctor.Measured) { m.Ticks = m.Ticks[:3] }, "Caddy Fiber HAProxy nginx"},
		"Something buffers": {true, func(m *doctor.Measured) {
			for i := range m.Ticks {
				m.Ticks[i].Heard = 2030
			}
		}, "Caddy Fiber HAProxy nginx"},
		"held back: half": {true, func(m *doctor.Measured) {
			for i := range m.Ticks {
				m.Ticks[i].Heard += 200
			}
		}, "Caddy HAProxy nginx"},
		"takes 220 ms at best":     {true, func(m *doctor.Measured) { m.First = 220 }, "Caddy HAProxy nginx"},
		"comes in br":              {false, func(m *doctor.Measured) { m.Header["Content-Encoding"] = "br" }, "Caddy HAProxy nginx"},
		"Cache-Control arrives":    {true, func(m *doctor.Measured) { m.Header["Cache-Control"] = "no-cache" }, "Caddy HAProxy nginx"},
		"as a broken connection":   {true, func(m *doctor.Measured) { m.End = "cut" }, ""},
		"does not arrive":          {true, func(m *doctor.Measured) { m.End = "never" }, ""},
		"not seen by the server":   {false, func(m *doctor.Measured) { m.Left.Left = false }, "HAProxy nginx"},
		"speaks HTTP/1.0":          {false, func(m *doctor.Measured) { m.Seen.Protocol = "HTTP/1.0" }, "nginx"},
		"is not sent again":        {true, func(m *doctor.Measured) { m.Returned.Arrived = "" }, "Caddy HAProxy nginx"},
		"POST was answered 403":    {true, func(m *doctor.Measured) { m.Command.Status = 403 }, "Fiber nginx"},
		"one of another origin":    {true, func(m *doctor.Measured) { m.Command.Seen.Trusted = false }, "Caddy HAProxy nginx"},
		"at once 3 were answered":  {true, func(m *doctor.Measured) { m.AtOnce.Answered = 3 }, "HAProxy nginx"},
		"six connections":          {false, func(m *doctor.Measured) { m.Protocol = "HTTP/1.1" }, "Caddy HAProxy nginx"},
		"cut after 10.0 s":         {true, func(m *doctor.Measured) { *m.Idle = doctor.Idle{Silence: 10_000} }, "Caddy Fiber HAProxy nginx"},
		"without Secure":           {true, func(m *doctor.Measured) { m.Seen.Scheme = "http" }, "Fiber HAProxy nginx"},
		"count all readers as one": {false, func(m *doctor.Measured) { m.Seen.Forwarded = map[string]string{"X-Forwarded-For": "192.0.2.7"} }, "Caddy Fiber HAProxy nginx"},
	} {
		m := well()
		c.harm(&m)
		found := doctor.Judge(m)
		if len(found) != 1 || found[0].Fault != c.fault || !strings.Contains(found[0].What, what) || doctor.Healthy(found) == c.fault {
			t.Errorf("%s: found %+v", what, found)
			continue
		}
		for who := range found[0].Remedies {
			if !strings.Contains(c.who, who) {
				t.Errorf("%s: a remedy for %s", what, who)
			}
		}
		for who := range strings.FieldsSeq(c.who) {
			if found[0].Remedies[who] == "" {
				t.Errorf("%s: no remedy for %s", what, who)
			}
		}
		var text strings.Builder
		doctor.Report(&text, m, found)
		if !strings.Contains(text.String(), what) || strings.Contains(text.String(), "as they were written.") == c.fault {
			t.Errorf("%s: the report is\n%s", what, text.String())
		}
	}
}
