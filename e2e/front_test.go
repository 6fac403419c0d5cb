package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A front is a TCP port before a server, that can be told to fail as networks and proxies do. It passes bytes on until it is
// told otherwise, and knows nothing of what they mean.
type front struct {
	t      *testing.T
	url    string
	addr   string
	target string

	mu       sync.Mutex
	changed  *sync.Cond // stalled was changed, or a connection ended
	listener net.Listener
	answer   string // given to new connections instead of the server's
	stalled  bool
	conns    map[net.Conn]bool // the browser's ends
	serving  sync.WaitGroup
}

// newFront stands before a server, whose URL it is given.
func newFront(t *testing.T, url string) *front {
	t.Helper()
	f := &front{t: t, addr: reserve(t), target: strings.TrimPrefix(url, "http://"), conns: map[net.Conn]bool{}}
	f.url, f.changed = "http://"+f.addr, sync.NewCond(&f.mu)
	f.listen()
	t.Cleanup(func() {
		f.refuse()
		f.flow()
		f.cut()
		f.serving.Wait()
	})
	return f
}

// listen takes new connections; it undoes refuse.
func (f *front) listen() {
	f.t.Helper()
	listener := listenOn(f.t, f.addr)
	f.mu.Lock()
	f.listener = listener
	f.mu.Unlock()
	f.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.serving.Go(func() { f.serve(conn) })
		}
	})
}

// refuse has new connections refused.
func (f *front) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listener.Close()
}

// answers has new connections answered without the server: by HTTP's text, such as "HTTP/1.1 503 Service Unavailable".
// The empty text lets them through again.
func (f *front) answers(statusLine string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = statusLine
}

// cut breaks off all connections as they are, with a TCP reset.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil && !errors.Is(err, net.ErrClosed) {
			f.t.Error(err)
		}
		conn.Close()
		delete(f.conns, conn)
	}
	f.changed.Broadcast()
}

// stall lets no byte through, either way, and closes nothing; flow undoes it, and what was held back goes on.
func (f *front) stall() { f.setStalled(true) }
func (f *front) flow()  { f.setStalled(false) }

func (f *front) setStalled(stalled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = stalled
	f.changed.Broadcast()
}

// open counts the connections.
func (f *front) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *front) serve(conn net.Conn) {
	f.mu.Lock()
	f.conns[conn] = true
	answer := f.answer
	f.mu.Unlock()
	defer func() {
		conn.Close()
		f.mu.Lock()
		delete(f.conns, conn)
		f.changed.Broadcast()
		f.mu.Unlock()
	}()
	if answer != "" {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.WriteString(conn, answer+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		return
	}
	behind, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer behind.Close()
	done := make(chan struct{}, 2)
	f.serving.Go(func() { f.copy(behind, conn, conn); done <- struct{}{} })
	f.serving.Go(func() { f.copy(conn, behind, conn); done <- struct{}{} })
	<-done // one end closed: so does the other
}

// copy passes bytes on, as long as the browser's end is open.
func (f *front) copy(to io.Writer, from io.Reader, conn net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		f.mu.Lock()
		for f.stalled && f.conns[conn] {
			f.changed.Wait()
		}
		f.mu.Unlock()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

func TestFront(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })}
	go server.Serve(listener)
	defer server.Close()
	f := newFront(t, "http://"+listener.Addr().String())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func() (string, error) {
		response, err := client.Post(f.url, "text/plain", strings.NewReader("echo"))
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.Status + " " + string(body), err
	}
	passes := func() {
		t.Helper()
		if got, err := post(); got != "200 OK echo" {
			t.Fatalf("through the front: %q, %v", got, err)
		}
	}
	passes()
	f.answers("HTTP/1.1 503 Service Unavailable")
	if got, err := post(); got != "503 Service Unavailable " {
		t.Fatalf("unavailable: %q, %v", got, err)
	}
	f.answers("")
	f.refuse()
	if _, err := post(); err == nil {
		t.Fatal("a front that refuses connections takes one")
	}
	f.listen()
	passes()

	f.stall()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("through a stalled front: %v", err)
	}
	f.flow()
	conn.SetReadDeadline(time.Now().Add(patience))
	if answer, err := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.0 200") {
		t.Fatalf("after the stall: %q, %v", answer, err)
	}
	waitFor(t, "its connections are closed", func() bool { return f.open() == 0 })

	held, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	waitFor(t, "it has the connection", func() bool { return f.open() == 1 })
	f.cut()
	if _, err := held.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("a cut connection: %v, want a reset", err)
	}
}
