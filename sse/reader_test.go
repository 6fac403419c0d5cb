package sse_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ocsigo/comet/sse"
)

// streams is what servers send, each with what a browser makes of it. The cases
// are the ones of WHATWG 9.2.5 and 9.2.6 and of its examples' kind.
var streams = []struct {
	name   string
	wire   string
	events []sse.Event
	last   string
	retry  time.Duration // 0: unchanged
}{
	{name: "empty"},
	{name: "blank lines", wire: "\n\r\r\n\n"},
	{name: "one event", wire: "data: x\n\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "cr", wire: "data: x\rdata: y\r\r", events: []sse.Event{{Data: []byte("x\ny")}}},
	{name: "crlf", wire: "data: x\r\ndata: y\r\n\r\n", events: []sse.Event{{Data: []byte("x\ny")}}},
	{name: "mixed ends", wire: "data: x\rdata: y\ndata: z\r\n\n", events: []sse.Event{{Data: []byte("x\ny\nz")}}},
	{name: "cr cr lf is two ends", wire: "data: x\r\r\ndata: y\n\n", events: []sse.Event{{Data: []byte("x")}, {Data: []byte("y")}}},
	{name: "cr lf cr lf is two ends", wire: "data: x\r\n\r\ndata: y\n\n", events: []sse.Event{{Data: []byte("x")}, {Data: []byte("y")}}},
	{name: "lf cr is two ends", wire: "data: x\n\rdata: y\n\n", events: []sse.Event{{Data: []byte("x")}, {Data: []byte("y")}}},
	{name: "bom", wire: "\uFEFFdata: x\n\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "bom alone in its line", wire: "\uFEFF\ndata: x\n\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "two boms", wire: "\uFEFF\uFEFFdata: x\ndata: y\n\n", events: []sse.Event{{Data: []byte("y")}}},
	{name: "bom later", wire: "data: x\n\uFEFFdata: y\n\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "half a bom", wire: "\xEF\xBBdata: x\ndata: y\n\n", events: []sse.Event{{Data: []byte("y")}}},
	{name: "comments", wire: ": a\n:b\n:\ndata: x\n:data: y\n\n: c\n\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "unknown fields", wire: "foo: 1\ndata : 2\nData: 3\n data: 4\ndata: x\n\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "one space is removed", wire: "data:x\ndata: y\ndata:  z\ndata:\t\n\n", events: []sse.Event{{Data: []byte("x\ny\n z\n\t")}}},
	{name: "no colon", wire: "event: n\nevent\nid: 1\nid\ndata\ndata\n\n", events: []sse.Event{{HasID: true, Data: []byte("\n")}}},
	{name: "empty data", wire: "data\n\ndata:\n\ndata: \n\n", events: []sse.Event{{}, {}, {}}},
	{name: "name without data", wire: "event: n\n\ndata: x\n\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "last name wins", wire: "event: a\nevent: b \ndata: x\n\n", events: []sse.Event{{Name: "b ", Data: []byte("x")}}},
	{name: "name message", wire: "event: message\ndata: x\n\n", events: []sse.Event{{Name: "message", Data: []byte("x")}}},
	{name: "colon in value", wire: "event: a:b\ndata: c:d\n\n", events: []sse.Event{{Name: "a:b", Data: []byte("c:d")}}},
	{name: "id stays in force", wire: "id: 1\ndata: x\n\ndata: y\n\n", last: "1",
		events: []sse.Event{{ID: "1", HasID: true, Data: []byte("x")}, {ID: "1", Data: []byte("y")}}},
	{name: "id without data counts", wire: "id: 1\n\ndata: x\n\n", last: "1", events: []sse.Event{{ID: "1", Data: []byte("x")}}},
	{name: "id alone", wire: "id: 1\n\n", last: "1"},
	{name: "id cut off", wire: "id: 1\ndata: x\n\nid: 2\n", last: "1", events: []sse.Event{{ID: "1", HasID: true, Data: []byte("x")}}},
	{name: "last id wins", wire: "id: 1\nid: 2\ndata: x\n\n", last: "2", events: []sse.Event{{ID: "2", HasID: true, Data: []byte("x")}}},
	{name: "empty id resets", wire: "id: 1\ndata: x\n\nid:\ndata: y\n\n",
		events: []sse.Event{{ID: "1", HasID: true, Data: []byte("x")}, {HasID: true, Data: []byte("y")}}},
	{name: "id with nul", wire: "id: 1\nid: 2\x00\ndata: x\n\nid: \x00\ndata: y\n\n", last: "1",
		events: []sse.Event{{ID: "1", HasID: true, Data: []byte("x")}, {ID: "1", Data: []byte("y")}}},
	{name: "nul elsewhere", wire: "event: a\x00b\ndata: \x00\n\n", events: []sse.Event{{Name: "a\x00b", Data: []byte("\x00")}}},
	{name: "retry", wire: "retry: 700\n\n", retry: 700 * time.Millisecond},
	{name: "retry in an event", wire: "retry: 700\ndata: x\n\n", retry: 700 * time.Millisecond,
		events: []sse.Event{{Retry: 700 * time.Millisecond, Data: []byte("x")}}},
	{name: "retry at once", wire: "retry: 700\ndata: cut", retry: 700 * time.Millisecond},
	{name: "retry not digits", wire: "retry: -5\nretry: 2.5\nretry: abc\nretry:  5\nretry: 5 \nretry: ٣\nretry:\nretry\n\n"},
	{name: "retry beyond measure", wire: "retry: 99999999999999999999999999\n\n", retry: math.MaxInt64},
	{name: "unfinished event", wire: "data: x\n\ndata: y\n", events: []sse.Event{{Data: []byte("x")}}},
	{name: "unfinished line", wire: "data: x\n\ndata: y", events: []sse.Event{{Data: []byte("x")}}},
	{name: "utf-8", wire: "id: é☃𝄞\nevent: é☃𝄞\ndata: é☃𝄞\n\n", last: "é☃𝄞",
		events: []sse.Event{{ID: "é☃𝄞", HasID: true, Name: "é☃𝄞", Data: []byte("é☃𝄞")}}},
	{name: "other line ends are none", wire: "data: a\vb\fc\u0085d\u2028e\n\n", events: []sse.Event{{Data: []byte("a\vb\fc\u0085d\u2028e")}}},
	{name: "not utf-8", wire: "id: \xC0\xAF\nevent: \xED\xA0\x80\ndata: \xF0\x9D\x84x\xE2\x98\ndata: \xF4\x90\xC3\n\n", last: "\uFFFD\uFFFD",
		events: []sse.Event{{ID: "\uFFFD\uFFFD", HasID: true, Name: "\uFFFD\uFFFD\uFFFD", Data: []byte("\uFFFDx\uFFFD\n\uFFFD\uFFFD\uFFFD")}}},
	{name: "a true U+FFFD among bytes that are not utf-8", wire: "data: \uFFFD\xFF\uFFFD\n\n", events: []sse.Event{{Data: []byte("\uFFFD\uFFFD\uFFFD")}}},
	{name: "first line is unknown", wire: "HTTP/1.1 200 OK\n\ndata: x\n\n", events: []sse.Event{{Data: []byte("x")}}},
}

// outcome is all that a reader can tell of a stream.
func outcome(t *testing.T, r io.Reader) (events []sse.Event, last string, retry time.Duration) {
	t.Helper()
	reader := sse.NewReader(r)
	for {
		e, err := reader.Next()
		if err == io.EOF {
			return events, reader.LastEventID(), reader.Retry()
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
}

func checkStream(t *testing.T, r io.Reader, want naive) {
	t.Helper()
	events, last, retry := outcome(t, r)
	checkEvents(t, events, want.events)
	if last != want.last || retry != want.retry {
		t.Errorf("last event id %q, retry %v; want %q, %v", last, retry, want.last, want.retry)
	}
}

// The table holds, for the reader and for the tests' own naive one, and however
// the stream is cut on its way: at every byte, and at every single place.
func TestReader(t *testing.T) {
	for _, test := range streams {
		t.Run(test.name, func(t *testing.T) {
			want := naive{test.events, test.last, test.retry}
			if want.retry == 0 {
				want.retry = sse.DefaultRetry
			}
			checkStream(t, strings.NewReader(test.wire), want)
			checkStream(t, iotest.OneByteReader(strings.NewReader(test.wire)), want)
			checkStream(t, iotest.DataErrReader(strings.NewReader(test.wire)), want)
			for cut := range len(test.wire) {
				checkStream(t, io.MultiReader(strings.NewReader(test.wire[:cut]), strings.NewReader(test.wire[cut:])), want)
			}
			second := naiveRead([]byte(test.wire))
			checkEvents(t, second.events, want.events)
			if second.last != want.last || second.retry != want.retry {
				t.Errorf("the naive reader has last event id %q, retry %v; want %q, %v", second.last, second.retry, want.last, want.retry)
			}
		})
	}
}

// A large event comes through in pieces of any size.
func TestReaderPieces(t *testing.T) {
	want := sse.Event{ID: "1", HasID: true, Data: bytes.Repeat([]byte("𝄞 and a line\n"), 1000)}
	wire, err := want.AppendText(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 2, 3, 5, 4095, 4096, 4097, 1 << 20} {
		events, _, _ := outcome(t, &pieces{wire, size})
		checkEvents(t, events, []sse.Event{want})
	}
}

// A line end is found wherever it falls, among line ends of the other kind too:
// lengths around the powers of two at which an implementation may cut its search.
func TestReaderLineLengths(t *testing.T) {
	for _, power := range []int{256, 512, 1024, 4096, 8192} {
		for length := power - 12; length <= power+2; length++ {
			for _, end := range []string{"\n", "\r", "\r\n"} {
				long := strings.Repeat("x", length)
				wire := "data: " + long + end + "data: y\rdata: z\n" + end + "data: " + long + "\n\r"
				checkStream(t, strings.NewReader(wire), naiveRead([]byte(wire)))
			}
		}
	}
}

type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

// An event is there with its blank line: no byte after it is waited for, nor the
// LF that may follow a CR.
func TestReaderDoesNotWait(t *testing.T) {
	errWaits := errors.New("waits for more")
	for _, wire := range []string{"data: x\n\n", "data: x\r\r", "data: x\r\n\r", "data: x\r\n\r\n"} {
		r := sse.NewReader(io.MultiReader(strings.NewReader(wire), iotest.ErrReader(errWaits)))
		if e, err := r.Next(); err != nil || string(e.Data) != "x" {
			t.Errorf("%q: %q, %v; want the event", wire, e.Data, err)
		}
		for range 2 {
			if _, err := r.Next(); err != errWaits {
				t.Errorf("%q: then error %v, want the source's", wire, err)
			}
		}
	}
}

// The bound is exact, is the same however the stream is cut, and is an event's:
// a stream of small events and comments may go on for ever.
func TestReaderMaxEventBytes(t *testing.T) {
	const limit = 40
	for _, test := range []struct {
		wire   string
		events int
		err    error
	}{
		{"data: " + strings.Repeat("x", limit-6) + "\n\n", 1, io.EOF},
		{"data: " + strings.Repeat("x", limit-5) + "\n\n", 0, sse.ErrTooLong},
		{strings.Repeat("x", limit+1), 0, sse.ErrTooLong},
		{":" + strings.Repeat("x", limit) + "\n", 0, sse.ErrTooLong},
		{strings.Repeat("data: xxxx\n", 5), 0, io.EOF},
		{strings.Repeat("data: xxxx\n", 7) + "\n", 1, io.EOF},
		{strings.Repeat("data: xxxx\n", 8) + "\n", 0, sse.ErrTooLong},
		{strings.Repeat("data\n", 50) + "\n", 0, sse.ErrTooLong},
		{"id: " + strings.Repeat("i", 20) + "\nevent: " + strings.Repeat("n", 20) + "\n", 0, sse.ErrTooLong},
		{strings.Repeat("event: "+strings.Repeat("n", 20)+"\n", 50) + "\n", 0, sse.ErrTooLong},
		{strings.Repeat("id: 1\ndata: xxxx\n\n", 100), 100, io.EOF},
		{strings.Repeat(": a heartbeat\n", 100), 0, io.EOF},
	} {
		for _, r := range []io.Reader{strings.NewReader(test.wire), iotest.OneByteReader(strings.NewReader(test.wire))} {
			reader := sse.NewReader(r, sse.ReaderConfig{MaxEventBytes: limit})
			events := 0
			_, err := reader.Next()
			for ; err == nil; _, err = reader.Next() {
				events++
			}
			if events != test.events || err != test.err {
				t.Errorf("%.60q…: %d events, then %v; want %d, %v", test.wire, events, err, test.events, test.err)
			}
			if _, again := reader.Next(); again != err {
				t.Errorf("%.60q…: the error is %v the second time", test.wire, again)
			}
		}
	}
}

// The default bound admits 16 MiB less the field, and no more.
func TestReaderDefaultBound(t *testing.T) {
	for size, want := range map[int]error{sse.DefaultMaxEventBytes - 6: nil, sse.DefaultMaxEventBytes - 5: sse.ErrTooLong} {
		var b sse.Batch
		b.Event(nil, "", bytes.Repeat([]byte("x"), size))
		e, err := sse.NewReader(bytes.NewReader(b.Bytes())).Next()
		if err != want || (err == nil && len(e.Data) != size) {
			t.Errorf("%d bytes: %d bytes read, error %v; want error %v", size, len(e.Data), err, want)
		}
	}
}

// A client that reconnects hands on what the stream before left.
func TestReaderConfig(t *testing.T) {
	first := sse.NewReader(strings.NewReader("retry: 10\nid: 7\ndata: x\n\n"))
	for _, err := first.Next(); err == nil; _, err = first.Next() {
	}
	second := sse.NewReader(strings.NewReader("data: y\n\nretry: 0\n\n"), sse.ReaderConfig{LastEventID: first.LastEventID(), Retry: first.Retry()})
	if second.LastEventID() != "7" || second.Retry() != 10*time.Millisecond {
		t.Errorf("starts with %q, %v", second.LastEventID(), second.Retry())
	}
	e, err := second.Next()
	if err != nil || e.ID != "7" || e.HasID {
		t.Errorf("the event has id %q (own: %v), error %v; want 7, handed on", e.ID, e.HasID, err)
	}
	if _, err := second.Next(); err != io.EOF || second.Retry() != 0 {
		t.Errorf("at the end: error %v, retry %v; want io.EOF, 0", err, second.Retry())
	}
	defer func() {
		if recover() == nil {
			t.Error("two configs did not panic")
		}
	}()
	sse.NewReader(nil, sse.ReaderConfig{}, sse.ReaderConfig{})
}

// An event's data is the caller's: nothing read later changes it.
func TestReaderDataIsTheCallers(t *testing.T) {
	r := sse.NewReader(strings.NewReader("data: first\n\ndata: other\n\n"))
	first, _ := r.Next()
	second, _ := r.Next()
	_ = append(first.Data, "overwritten"...)
	if string(first.Data) != "first" || string(second.Data) != "other" {
		t.Errorf("events are %q and %q", first.Data, second.Data)
	}
}

// A source that gives nothing for ever is an error, not a busy loop; one that
// does so now and then is not.
func TestReaderNoProgress(t *testing.T) {
	if _, err := sse.NewReader(&stutter{}).Next(); err != io.ErrNoProgress {
		t.Errorf("error %v, want io.ErrNoProgress", err)
	}
	events, _, _ := outcome(t, &stutter{src: iotest.OneByteReader(strings.NewReader("data: x\n\n"))})
	checkEvents(t, events, []sse.Event{{Data: []byte("x")}})
}

// stutter gives nothing every other time; without a source, ever.
type stutter struct {
	src   io.Reader
	calls int
}

func (s *stutter) Read(b []byte) (int, error) {
	if s.calls++; s.src == nil || s.calls%2 == 1 {
		return 0, nil
	}
	return s.src.Read(b)
}

// Read yields an error once and ends; it ends silently at the end of the stream,
// and at once when the loop is left.
func TestRead(t *testing.T) {
	broken := errors.New("broken")
	var events []sse.Event
	var errs []error
	for e, err := range sse.Read(io.MultiReader(strings.NewReader("data: x\n\ndata: y"), iotest.ErrReader(broken))) {
		if err != nil {
			errs = append(errs, err)
			e.Data = []byte("error")
		}
		events = append(events, e)
	}
	checkEvents(t, events, []sse.Event{{Data: []byte("x")}, {Data: []byte("error")}})
	if len(errs) != 1 || errs[0] != broken {
		t.Errorf("errors %v, want the source's once", errs)
	}
	for e := range sse.Read(strings.NewReader("data: x\n\ndata: y\n\n")) {
		if string(e.Data) != "x" {
			t.Errorf("the loop went on to %q", e.Data)
		}
		break
	}
}
