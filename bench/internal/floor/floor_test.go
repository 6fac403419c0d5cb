//go:build linux

package floor

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestPendingValuesGoOutInOneChunk has ten values pending before any loop looks.
func TestPendingValuesGoOutInOneChunk(t *testing.T) {
	s, err := Listen(Config{Channels: 1, Keep: 10})
	if err != nil {
		t.Fatal(err)
	}
	s.Serve()
	conn, err := net.Dial("tcp4", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(conn)
	until(t, r, "comet:hello")
	until(t, r, "\n\n\r\n")
	for i := range 10 {
		s.log.add(0, fmt.Appendf(nil, "%d", i))
	}
	for _, l := range s.loops {
		l.wake()
	}
	wire := until(t, r, "data: 9\n\n\r\n")
	if n := strings.Count(wire, "event: load"); n != 10 {
		t.Errorf("%d of 10 values came", n)
	}
	if n := strings.Count(wire, "\n\n\r\n"); n != 1 {
		t.Errorf("they came in %d chunks: %q", n, wire)
	}
}

func until(t *testing.T, r *bufio.Reader, text string) string {
	t.Helper()
	var all strings.Builder
	for !strings.HasSuffix(all.String(), text) {
		c, err := r.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q", err, all.String())
		}
		all.WriteByte(c)
	}
	return all.String()
}

func TestLogKeepsTheLast(t *testing.T) {
	l := newLog(1, 4)
	for i := range 6 {
		l.add(0, fmt.Appendf(nil, "%d", i))
	}
	if _, _, kept := l.since(1, nil, budget); kept {
		t.Error("the second of six values is kept, by a log of four")
	}
	text, at, kept := l.since(2, nil, budget)
	if n := strings.Count(string(text), "data: "); n != 4 || at != 6 || !kept {
		t.Errorf("after the second of six values: %d values, place %d, kept %v", n, at, kept)
	}
	if text, at, _ := l.since(2, nil, 1); strings.Count(string(text), "data: ") != 1 || at != 3 {
		t.Errorf("a budget of one byte took %q, up to %d", text, at)
	}
}
