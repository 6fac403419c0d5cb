package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
)

const patience = 5 * time.Second

// A wireTap reads one stream's raw bytes.
type wireTap struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func tap(t *testing.T, addr, path, cookie, lastID string) *wireTap {
	t.Helper()
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	request := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
	if cookie != "" {
		request += "Cookie: " + cookie + "\r\n"
	}
	if lastID != "" {
		request += "Last-Event-ID: " + lastID + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	return &wireTap{t, conn, bufio.NewReader(conn)}
}

// until reads up to and with text.
func (w *wireTap) until(text string) string {
	w.t.Helper()
	var all strings.Builder
	for !strings.HasSuffix(all.String(), text) {
		c, err := w.r.ReadByte()
		if err != nil {
			w.t.Fatalf("%v after %q", err, all.String())
		}
		all.WriteByte(c)
	}
	return all.String()
}

// address is that of a page's event stream, and the page's cookie.
func address(t *testing.T, ready control.Ready) (path, cookie string) {
	t.Helper()
	res, err := http.Get("http://" + ready.Addr + ready.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		cookie = c.Name + "=" + c.Value
	}
	return string(body), cookie
}

// What differs from stream to stream, and is of the same length: the date, the
// address's tag, the epoch, the token. The retry is jittered.
var (
	ownParts = regexp.MustCompile(`Date: [^\r]{29}\r|id: _[0-9a-z]{3}~|"position":"[0-9a-z]{8}\.|"process":"[A-Za-z0-9_-]{22}"`)
	jitter   = regexp.MustCompile(`[0-9a-f]+\r\nretry: [0-9]+\n`)
)

func normal(wire string) string {
	wire = ownParts.ReplaceAllStringFunc(wire, func(s string) string { return s[:5] + strings.Repeat("#", len(s)-5) })
	return jitter.ReplaceAllString(wire, "#\r\nretry: #\n")
}

// TestFloorWritesWhatCometWrites compares all bytes, from the response's first to
// the last value's, in every mode that the floor has.
func TestFloorWritesWhatCometWrites(t *testing.T) {
	for _, c := range []config{{modeSite, 1}, {modeMany, 32}, {modePrivate, 0}} {
		t.Run(c.mode, func(t *testing.T) {
			comet, err := newComet(c)
			if err != nil {
				t.Fatal(err)
			}
			bare, err := newFloor(c)
			if err != nil {
				t.Fatal(err)
			}
			want, got := script(t, comet, c), script(t, bare, c)
			if i := differ(want, got); i >= 0 {
				from := max(i-40, 0)
				t.Errorf("from byte %d on comet wrote\n%.120q\nthe floor\n%.120q", i, want[from:], got[from:])
			}
		})
	}
}

// differ is the first byte in which two texts differ; -1: none.
func differ(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// script has a stream hear 40 values, one by one, and where there is a replay come
// back for the last ten.
func script(t *testing.T, s target, c config) string {
	ready, err := s.start()
	if err != nil {
		t.Fatal(err)
	}
	path, cookie := "/stream?ch=0", ""
	if ready.Page != "" {
		path, cookie = address(t, ready)
	}
	stream := tap(t, ready.Addr, path, cookie, "")
	wire := stream.until("\n\n\r\n")
	for i := range 40 {
		data := fmt.Sprintf("value %d", i)
		if err := s.publish(i%max(c.channels, 1), []byte(data)); err != nil {
			t.Fatal(err)
		}
		wire += stream.until("data: " + data + "\n\n\r\n")
	}
	if c.mode == modeSite {
		again := tap(t, ready.Addr, path, cookie, idOf(wire, "value 29"))
		wire += again.until("data: value 39\n\n\r\n")
	}
	return normal(wire)
}

// idOf is the id of the event with this data.
func idOf(wire, data string) string {
	before, _, _ := strings.Cut(wire, "\nevent: load\ndata: "+data+"\n")
	return before[strings.LastIndex(before, "id: ")+len("id: "):]
}
