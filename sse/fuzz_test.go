package sse_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/ocsigo/comet/sse"
)

// writable is what AppendText and NewFrame are to accept as an id or a name.
func writable(s string) bool {
	return utf8.ValidString(s) && !strings.Contains(s, "\r") && !strings.Contains(s, "\n") && !strings.Contains(s, "\x00")
}

// What is written is read again, but for what the format cannot carry; what
// cannot be written is refused; and one event leaves nothing behind for the next
// but its id.
func FuzzReadWrite(f *testing.F) {
	f.Add("", false, "", []byte(nil), int64(0))
	f.Add("7", true, "chat", []byte("hello\r\nworld\r"), int64(time.Second))
	f.Add("", true, " n ", []byte("\n\n \x00\xFF"), int64(1))
	f.Add("a\nb", false, "c\rd", []byte("x"), int64(-1))
	f.Fuzz(func(t *testing.T, id string, hasID bool, name string, data []byte, retry int64) {
		e := sse.Event{ID: id, HasID: hasID, Name: name, Data: data, Retry: time.Duration(retry)}
		wire, err := e.AppendText(nil)
		if ok := writable(id) && writable(name) && retry >= 0; ok != (err == nil) {
			t.Fatalf("%s: error %v, want one: %v", describe(e), err, !ok)
		}
		if err != nil {
			return
		}
		checkNoCR(t, wire)
		wire = append(wire, "data: after\n\n"...)
		checkEvents(t, mustRead(t, wire), []sse.Event{normal(e), {ID: id, Data: []byte("after")}})
	})
}

// Whatever is sent, the reader and the naive one agree on all there is to know,
// whole or byte by byte.
func FuzzRead(f *testing.F) {
	for _, test := range streams {
		f.Add([]byte(test.wire))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		want := naiveRead(stream)
		checkStream(t, bytes.NewReader(stream), want)
		checkStream(t, iotest.OneByteReader(bytes.NewReader(stream)), want)
	})
}

// No id, name, payload or comment makes an event, a field or a line end that was
// not asked for.
func FuzzNoInjection(f *testing.F) {
	f.Add([]byte("1"), "chat", []byte("hello"), "note")
	f.Add([]byte("1\ndata: evil\n\n"), "a\revent: evil", []byte("x\r\rdata: evil\r\r"), "\n\nretry: 1\n\n")
	f.Add([]byte("\x00"), "\x00\r\n", []byte("\r\n\r\nid: 9\r\n\r\n"), "\r\r")
	f.Fuzz(func(t *testing.T, id []byte, name string, data []byte, note string) {
		var b sse.Batch
		want := normal(sse.Event{ID: naiveDecode(replaceUnsafe(id)), Name: naiveDecode(replaceUnsafe([]byte(name))), Data: data})
		b.Comment(note)
		b.Event(id, name, data)
		all := []sse.Event{want}
		frame, err := sse.NewFrame(name, data)
		if (err == nil) != writable(name) {
			t.Fatalf("NewFrame(%q): error %v", name, err)
		}
		if err == nil {
			b.Frame(id, frame)
			all = append(all, want)
		}
		if b.Events() != len(all) {
			t.Fatalf("%d events counted, want %d", b.Events(), len(all))
		}
		checkNoCR(t, b.Bytes())
		got := naiveRead(b.Bytes())
		checkEvents(t, got.events, all)
		if got.last != want.ID || got.retry != sse.DefaultRetry {
			t.Fatalf("last event id %q, retry %v", got.last, got.retry)
		}
	})
}

func replaceUnsafe(b []byte) []byte {
	return []byte(strings.NewReplacer("\r", "\uFFFD", "\n", "\uFFFD", "\x00", "\uFFFD").Replace(string(b)))
}

// checkNoCR checks that every line ends in LF (rule 15).
func checkNoCR(t *testing.T, wire []byte) {
	t.Helper()
	if i := bytes.IndexByte(wire, '\r'); i >= 0 {
		t.Fatalf("a CR at byte %d of %q", i, wire)
	}
}
