package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A script is a server that says, byte for byte, what its test tells it to say. "/" is a page that keeps a log of what its
// EventSource hears; every request for an event stream goes to answer, one after the other.
type script struct {
	t    *testing.T
	addr string
	url  string

	mu       sync.Mutex
	answer   func(x *exchange)
	scene    string // which answer that is, the query of what is asked for in it
	listener net.Listener
	conns    map[net.Conn]bool
	streams  int // event streams asked for
	serving  sync.WaitGroup
	went     chan struct{} // the page asked for /go
}

// recorder is the page. Its log has a line for each event: the type, the data as JSON, and the last id, if there is one. When
// it hears the data "go", the script goes on. A script of many scenes has the page begin each anew.
const recorder = `<!doctype html><link rel="icon" href="data:,"><script>
const log = [];
let source, scene = "";
function begin(next) {
  source?.close();
  log.length = 0;
  scene = "?" + next;
}
function listen(url = "/stream", options = {}, ...names) {
  source = new EventSource(url + scene, options);
  source.onopen = () => log.push("open");
  source.addEventListener("error", e => "data" in e || log.push("error, readyState " + source.readyState));
  for (const name of ["message", ...names]) source.addEventListener(name, e => {
    if ("data" in e) log.push(name + " " + JSON.stringify(e.data) + (e.lastEventId && " #" + e.lastEventId));
    if (e.data === "go") fetch("/go");
  });
}
</script>`

func newScript(t *testing.T, answer func(x *exchange)) *script {
	t.Helper()
	s := &script{t: t, addr: reserve(t), answer: answer, conns: map[net.Conn]bool{}, went: make(chan struct{}, 16)}
	s.url = "http://" + s.addr
	s.listen()
	t.Cleanup(func() {
		s.refuse()
		s.hangUp()
		s.serving.Wait()
	})
	return s
}

func (s *script) listen() {
	s.t.Helper()
	listener := listenOn(s.t, s.addr)
	s.mu.Lock()
	s.listener = listener
	s.mu.Unlock()
	s.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !s.takes(listener, conn) {
				conn.Close()
				continue
			}
			s.serving.Go(func() { s.serve(conn) })
		}
	})
}

// takes notes a connection for hangUp, unless it was accepted just before refuse and would come too late for that.
func (s *script) takes(listener net.Listener, conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != listener {
		return false
	}
	s.conns[conn] = true
	return true
}

// begin has the script answer otherwise from now on. What the page asked for in the scene before, and what is still open of that, ends.
func (s *script) begin(scene string, answer func(x *exchange)) {
	s.mu.Lock()
	s.scene, s.answer, s.streams = scene, answer, 0
	s.mu.Unlock()
	s.hangUp()
}

// enter counts a request for an event stream. One of another scene came too late.
func (s *script) enter(scene string) (nth int, answer func(x *exchange)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if scene != s.scene {
		return 0, func(*exchange) {}
	}
	s.streams++
	return s.streams, s.answer
}

// refuse has the system refuse new connections, until listen.
func (s *script) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
}

// hangUp closes all connections.
func (s *script) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}

func (s *script) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	reader := bufio.NewReader(conn)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	x := &exchange{Request: request, script: s, conn: conn, reader: reader}
	switch {
	case request.URL.Path == "/go":
		x.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		s.went <- struct{}{}
	case request.URL.Path == "/":
		x.page(recorder, "Set-Cookie: lax=yes; SameSite=Lax")
	case strings.Contains(request.Header.Get("Accept"), "text/event-stream"):
		var answer func(x *exchange)
		x.nth, answer = s.enter(request.URL.RawQuery)
		answer(x)
	default:
		x.page(`<!doctype html><link rel="icon" href="data:,">elsewhere`)
	}
}

// asked counts the event streams that the page asked for.
func (s *script) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams
}

// An exchange is one request for an event stream, and its connection. That is closed when the script's answer returns.
type exchange struct {
	*http.Request
	nth    int // of its kind, from 1
	script *script
	conn   net.Conn
	reader *bufio.Reader
}

// say writes bytes. The browser may have gone.
func (x *exchange) say(bytes string) {
	if _, err := io.WriteString(x.conn, bytes); err != nil && !errors.Is(err, net.ErrClosed) {
		x.script.t.Logf("%s: %v", x.URL, err)
	}
}

func (x *exchange) page(body string, headers ...string) {
	x.status("200 OK", append(headers, "Content-Type: text/html; charset=utf-8", fmt.Sprint("Content-Length: ", len(body)))...)
	x.say(body)
}

func (x *exchange) status(line string, headers ...string) {
	x.say("HTTP/1.1 " + line + "\r\n" + strings.Join(append(headers, "Connection: close"), "\r\n") + "\r\n\r\n")
}

// stream begins an event stream, with further headers, and says its first bytes.
func (x *exchange) stream(bytes string, headers ...string) {
	x.status("200 OK", append(headers, "Content-Type: text/event-stream", "Cache-Control: no-store")...)
	x.say(bytes)
}

// pause waits until the page heard the data "go", and everything before it.
func (x *exchange) pause() {
	select {
	case <-x.script.went:
	case <-x.gone():
	}
}

// hang keeps the connection open until the browser or the test ends it.
func (x *exchange) hang() { <-x.gone() }

func (x *exchange) gone() <-chan struct{} {
	gone := make(chan struct{})
	x.script.serving.Go(func() {
		defer close(gone)
		io.Copy(io.Discard, x.reader)
	})
	return gone
}

// back says in the page's log with which id the browser came back, and stays.
func (x *exchange) back() {
	id := "none"
	if ids, sent := x.Header["Last-Event-Id"]; sent {
		id = strings.Join(ids, "|")
	}
	x.stream("data: back with " + id + "\n\n")
	x.hang()
}

// A pin is one thing that Comet relies on in a browser.
type pin struct {
	name   string
	answer func(x *exchange)
	listen string              // JavaScript; default listen()
	want   []string            // the page's log
	differ map[string][]string // the log in those browsers where it is another one
}

// check goes through pins, one after the other, in one page of each browser.
func check(t *testing.T, pins []pin) {
	inWebKitToo(t, func(t *testing.T, in string) {
		s := newScript(t, nil)
		tab := newSessionIn(t, in).open(s.url)
		tab.expect("") // browsers write to the console of what is wrong here on purpose
		for i, pin := range pins {
			t.Run(pin.name, func(t *testing.T) {
				scene := fmt.Sprint(i + 1)
				eval[any](tab, fmt.Sprintf(`begin(%q)`, scene))
				s.begin(scene, pin.answer)
				pin.check(t, tab, in)
			})
		}
	})
}

func (pin pin) check(t *testing.T, tab *tab, in string) {
	tab.t = t
	start, want := pin.listen, pin.want
	if start == "" {
		start = "listen()"
	}
	if differs, does := pin.differ[in]; does {
		want = differs
	}
	eval[any](tab, start)
	tab.until(fmt.Sprintf("log.length >= %d || log.length && source.readyState === 2", len(want)))
	if got := eval[[]string](tab, "log"); !slices.Equal(got, want) {
		t.Errorf("in %s the page heard\n\t%s\nwant\n\t%s", in, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
