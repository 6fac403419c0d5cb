package tab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A leaving is why a tab goes away from a connection.
var (
	errLeft  = errors.New("the tab leaves")
	errQuiet = errors.New("nothing was heard, not even a heartbeat")
)

// A line is a connection on which a tab hears. It is cut after a number of bytes, or at a
// time, and lets the tab do something else now and then, all on one goroutine.
type line struct {
	net.Conn
	left  int       // bytes until it is cut; negative: it is not
	until time.Time // when the tab leaves
	turn  func()    // is called then, once, in place of leaving; it sets until anew
	quiet time.Duration
	heard time.Time
	// stalled says that the tab read nothing for so long that the server may have given it up.
	stalled bool
	tick    func() time.Duration // what the tab does meanwhile, and how long until the next
	next    time.Time
}

// Read implements io.Reader.
func (l *line) Read(b []byte) (int, error) {
	if l.left == 0 {
		return 0, errLeft
	}
	if l.left > 0 {
		b = b[:min(len(b), l.left)]
	}
	for {
		now := time.Now()
		switch {
		case now.After(l.until) && l.turn != nil:
			turn := l.turn
			l.turn = nil
			turn()
			l.heard = time.Now()
			continue
		case now.After(l.until):
			return 0, errLeft
		case now.Sub(l.heard) > l.quiet:
			return 0, errQuiet
		case !now.Before(l.next):
			l.next = now.Add(l.tick())
			continue
		}
		wake := l.until
		if l.next.Before(wake) {
			wake = l.next
		}
		_ = l.SetReadDeadline(wake.Add(time.Millisecond))
		n, err := l.Conn.Read(b)
		if n > 0 {
			l.heard = time.Now()
			if l.left > 0 {
				l.left -= n
			}
			return n, nil
		}
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			return 0, err
		}
	}
}

// get writes a request and reads the head of its answer.
func get(c net.Conn, r io.Reader, target, cookie, lastID string) (*http.Response, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: soak\r\nAccept: text/event-stream\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n", target)
	if cookie != "" {
		fmt.Fprintf(&b, "Cookie: comet=%s\r\n", cookie)
	}
	if lastID != "" {
		fmt.Fprintf(&b, "Last-Event-ID: %s\r\n", lastID)
	}
	b.WriteString("\r\n")
	_ = c.SetWriteDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, b.String()); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReaderSize(r, 1024), nil)
}

// reset has the connection end as one that broke.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}
