package sse_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/sse"
)

func mustFrame(t testing.TB, event string, data []byte) *sse.Frame {
	t.Helper()
	f, err := sse.NewFrame(event, data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func describe(e sse.Event) string {
	return fmt.Sprintf("id=%q own=%v name=%q retry=%v data=%d:%q", e.ID, e.HasID, e.Name, e.Retry, len(e.Data), e.Data)
}

func sameEvent(a, b sse.Event) bool {
	return a.ID == b.ID && a.HasID == b.HasID && a.Name == b.Name && a.Retry == b.Retry && bytes.Equal(a.Data, b.Data)
}

// A batch is whole blocks in the order of the calls, counted.
func TestBatch(t *testing.T) {
	var b sse.Batch
	b.Retry(1500 * time.Microsecond)
	b.Comment("hello\nworld")
	b.Frame([]byte("1"), mustFrame(t, "chat", []byte("a\nb")))
	b.Frame(nil, mustFrame(t, "", nil))
	b.Event([]byte("2"), "unread", []byte("3"))
	b.Event([]byte{}, "", []byte(" x"))
	want := "retry: 2\n\n" +
		": hello\n: world\n\n" +
		"id: 1\nevent: chat\ndata: a\ndata: b\n\n" +
		"data:\n\n" +
		"id: 2\nevent: unread\ndata: 3\n\n" +
		"data:  x\n\n"
	if got := string(b.Bytes()); got != want {
		t.Errorf("batch is %q, want %q", got, want)
	}
	if b.Len() != len(want) || b.Events() != 4 {
		t.Errorf("Len %d, Events %d; want %d, 4", b.Len(), b.Events(), len(want))
	}
	b.Reset()
	if b.Len() != 0 || b.Events() != 0 || len(b.Bytes()) != 0 {
		t.Errorf("after Reset: Len %d, Events %d, Bytes %q", b.Len(), b.Events(), b.Bytes())
	}
	b.Event(nil, "", nil)
	if got := string(b.Bytes()); got != "data:\n\n" {
		t.Errorf("after Reset and an event: %q", got)
	}
}

// Odd retry times: none negative, none lost by rounding.
func TestBatchRetry(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "retry: 0\n\n", 0: "retry: 0\n\n", 1: "retry: 1\n\n",
		time.Second: "retry: 1000\n\n", time.Second + 1: "retry: 1001\n\n",
	} {
		var b sse.Batch
		b.Retry(d)
		if got := string(b.Bytes()); got != want || b.Events() != 0 {
			t.Errorf("Retry(%d) wrote %q and %d events, want %q and none", d, got, b.Events(), want)
		}
	}
}

// Ids and names that nobody checked stay in their line, visibly.
func TestBatchReplacesUnsafeBytes(t *testing.T) {
	var b sse.Batch
	b.Event([]byte("1\nevent: x"), "chat\r\ndata: y\x00", []byte("z"))
	b.Frame([]byte("\x00\r"), mustFrame(t, "chat", []byte("z")))
	checkEvents(t, mustRead(t, b.Bytes()), []sse.Event{
		{ID: "1\uFFFDevent: x", HasID: true, Name: "chat\uFFFD\uFFFDdata: y\uFFFD", Data: []byte("z")},
		{ID: "\uFFFD\uFFFD", HasID: true, Name: "chat", Data: []byte("z")},
	})
}

// A comment is nothing to a reader, whatever it says.
func TestBatchComment(t *testing.T) {
	for text, want := range map[string]string{
		"":                  ":\n\n",
		"x":                 ": x\n\n",
		"\r\ndata: x\r\n\r": ":\n: data: x\n:\n:\n\n",
	} {
		var b sse.Batch
		b.Comment(text)
		if got := string(b.Bytes()); got != want {
			t.Errorf("Comment(%q) wrote %q, want %q", text, got, want)
		}
		b.Event([]byte("1"), "", []byte("after"))
		checkEvents(t, mustRead(t, b.Bytes()), []sse.Event{{ID: "1", HasID: true, Data: []byte("after")}})
	}
}

// A frame is its own copy, has the length it says, and refuses what an event
// refuses.
func TestFrame(t *testing.T) {
	data := []byte("a\r\nb")
	f := mustFrame(t, "chat", data)
	data[0] = 'X'
	want := "event: chat\ndata: a\ndata: b\n"
	if got := string(f.AppendTo([]byte("before "))); got != "before "+want {
		t.Errorf("frame is %q, want %q", got, want)
	}
	if f.Len() != len(want) {
		t.Errorf("Len is %d, want %d", f.Len(), len(want))
	}
	for _, name := range []string{"a\nb", "a\rb", "a\x00b", "\xFF"} {
		if f, err := sse.NewFrame(name, nil); err == nil || f != nil || !strings.Contains(err.Error(), "event name") {
			t.Errorf("NewFrame(%q) = %v, %v; want no frame and an error about the event name", name, f, err)
		}
	}
}

// One frame is written into many streams at once (rule 5: encoding happens once;
// the race detector is the judge).
func TestFrameShared(t *testing.T) {
	f := mustFrame(t, "chat", []byte("hello"))
	var streams sync.WaitGroup
	for i := range 8 {
		streams.Go(func() {
			var b sse.Batch
			for range 100 {
				b.Frame(fmt.Append(nil, i), f)
			}
			if want := strings.Repeat(fmt.Sprintf("id: %d\nevent: chat\ndata: hello\n\n", i), 100); string(b.Bytes()) != want {
				t.Errorf("stream %d is %.80q…", i, b.Bytes())
			}
		})
	}
	streams.Wait()
}

// A batch that has grown costs no allocation.
func TestBatchAllocates(t *testing.T) {
	f := mustFrame(t, "chat", []byte(`{"text":"hello"}`))
	id, data := []byte("c1.2a"), bytes.Repeat([]byte("line\r\n"), 100)
	var b sse.Batch
	fill := func() {
		b.Reset()
		b.Retry(time.Second)
		for range 10 {
			b.Frame(id, f)
			b.Event(id, "unread", data)
		}
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n != 0 {
		t.Errorf("a grown batch of 20 events allocates %v times, want 0", n)
	}
}
