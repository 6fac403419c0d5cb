package sse_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/sse"
)

// What is written, byte for byte, and what a reader makes of it (rule 15: lines
// end in LF).
func TestAppendText(t *testing.T) {
	for _, test := range []struct {
		name  string
		event sse.Event
		wire  string
		data  string
	}{
		{"zero", sse.Event{}, "data:\n\n", ""},
		{"data", sse.Event{Data: []byte("x")}, "data: x\n\n", "x"},
		{"all", sse.Event{ID: "7", Name: "chat", Data: []byte("x"), Retry: 2 * time.Second}, "id: 7\nretry: 2000\nevent: chat\ndata: x\n\n", "x"},
		{"empty id resets", sse.Event{HasID: true}, "id:\ndata:\n\n", ""},
		{"leading blanks stay", sse.Event{ID: " i", Name: " n", Data: []byte("  d")}, "id:  i\nevent:  n\ndata:   d\n\n", "  d"},
		{"trailing blanks stay", sse.Event{ID: "i ", Name: "n ", Data: []byte("d ")}, "id: i \nevent: n \ndata: d \n\n", "d "},
		{"colons stay", sse.Event{ID: ":a:", Name: "b:c", Data: []byte("data: x")}, "id: :a:\nevent: b:c\ndata: data: x\n\n", "data: x"},
		{"lf", sse.Event{Data: []byte("a\nb")}, "data: a\ndata: b\n\n", "a\nb"},
		{"cr", sse.Event{Data: []byte("a\rb")}, "data: a\ndata: b\n\n", "a\nb"},
		{"crlf", sse.Event{Data: []byte("a\r\nb")}, "data: a\ndata: b\n\n", "a\nb"},
		{"cr crlf", sse.Event{Data: []byte("a\r\r\nb")}, "data: a\ndata:\ndata: b\n\n", "a\n\nb"},
		{"lf cr", sse.Event{Data: []byte("a\n\rb")}, "data: a\ndata:\ndata: b\n\n", "a\n\nb"},
		{"final lf", sse.Event{Data: []byte("a\n")}, "data: a\ndata:\n\n", "a\n"},
		{"final cr", sse.Event{Data: []byte("a\r")}, "data: a\ndata:\n\n", "a\n"},
		{"only crlf", sse.Event{Data: []byte("\r\n")}, "data:\ndata:\n\n", "\n"},
		{"injection", sse.Event{Data: []byte("a\r\revent: b\rid: 9\r\r")}, "data: a\ndata:\ndata: event: b\ndata: id: 9\ndata:\ndata:\n\n", "a\n\nevent: b\nid: 9\n\n"},
		{"nul", sse.Event{Data: []byte("a\x00b")}, "data: a\x00b\n\n", "a\x00b"},
		{"utf-8", sse.Event{ID: "é☃𝄞", Name: "é☃𝄞", Data: []byte("é☃𝄞")}, "id: é☃𝄞\nevent: é☃𝄞\ndata: é☃𝄞\n\n", "é☃𝄞"},
		{"byte order mark", sse.Event{Data: []byte("\uFEFFx")}, "data: \uFEFFx\n\n", "\uFEFFx"},
		{"not utf-8", sse.Event{Data: []byte("\xE2\x98x\xFF\xFF")}, "data: \xE2\x98x\xFF\xFF\n\n", "\uFFFDx\uFFFD\uFFFD"},
		{"retry rounds up", sse.Event{Retry: time.Nanosecond}, "retry: 1\ndata:\n\n", ""},
		{"retry longest", sse.Event{Retry: math.MaxInt64}, "retry: 9223372036855\ndata:\n\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			wire, err := test.event.AppendText([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			wire = bytes.TrimPrefix(wire, []byte("before"))
			if string(wire) != test.wire {
				t.Errorf("wrote %q, want %q", wire, test.wire)
			}
			want := normal(test.event)
			if string(want.Data) != test.data {
				t.Errorf("the tests' own idea of the data is %q, want %q", want.Data, test.data)
			}
			checkEvents(t, mustRead(t, wire), []sse.Event{want})
		})
	}
}

// An id or a name that cannot be a line's value is refused, in words that say
// what and where, and nothing is written.
func TestAppendTextRefuses(t *testing.T) {
	for _, test := range []struct {
		event sse.Event
		says  string
	}{
		{sse.Event{ID: "a\nb"}, `event id "a\nb" has '\n' at byte 1`},
		{sse.Event{ID: "a\r"}, `event id "a\r" has '\r' at byte 1`},
		{sse.Event{ID: "\x00"}, `event id "\x00" has '\x00' at byte 0`},
		{sse.Event{ID: "\xFF"}, `event id "\xff" is not valid UTF-8`},
		{sse.Event{Name: "a\nb"}, `event name "a\nb" has '\n' at byte 1`},
		{sse.Event{Name: "a\r"}, `event name "a\r" has '\r' at byte 1`},
		{sse.Event{Name: "\x00"}, `event name "\x00" has '\x00' at byte 0`},
		{sse.Event{Name: "\xE2\x98"}, `event name "\xe2\x98" is not valid UTF-8`},
		{sse.Event{Retry: -1}, `retry time -1ns is negative`},
	} {
		b, err := test.event.AppendText([]byte("before"))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: error %v, want one that says %q", test.event, err, test.says)
		}
		if string(b) != "before" {
			t.Errorf("%+v: left %q in the buffer", test.event, b)
		}
	}
}

// One megabyte survives, in one line, in a million empty ones (in time linear in
// their number: a quadratic writer takes minutes here) and in lines of every end.
func TestMegabyte(t *testing.T) {
	for name, line := range map[string]string{"one line": "x", "lf": "\n", "cr": "\r", "crlf": "\r\n", "words": "hello, world\r"} {
		t.Run(name, func(t *testing.T) {
			e := sse.Event{ID: "1", Data: bytes.Repeat([]byte(line), 1<<20/len(line))}
			wire, err := e.AppendText(nil)
			if err != nil {
				t.Fatal(err)
			}
			checkEvents(t, mustRead(t, wire), []sse.Event{normal(e)})
		})
	}
}

// normal is the event that a reader makes of e, if e can be written and is
// alone in its stream.
func normal(e sse.Event) sse.Event {
	e.HasID = e.HasID || e.ID != ""
	data := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(naiveDecode(e.Data))
	e.Data = []byte(data)
	if whole := e.Retry.Truncate(time.Millisecond); whole < e.Retry {
		e.Retry = whole + min(time.Millisecond, math.MaxInt64-whole)
	}
	return e
}

func mustRead(t *testing.T, stream []byte) []sse.Event {
	t.Helper()
	var events []sse.Event
	for e, err := range sse.Read(bytes.NewReader(stream)) {
		if err != nil {
			t.Fatalf("reading %.200q: %v", stream, err)
		}
		events = append(events, e)
	}
	return events
}

func checkEvents(t *testing.T, got, want []sse.Event) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !sameEvent(got[i], want[i]) {
			t.Fatalf("event %d is %.400q, want %.400q", i, describe(got[i]), describe(want[i]))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
}
