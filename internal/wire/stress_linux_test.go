package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// The stress test of decision 0012: no byte of one connection reaches another,
// however fast descriptors are reused. One server answers event streams,
// ordinary requests and another's hijacks; clients come, break off and reset at
// any moment, stop reading until they are cut, or see the end. Every line of
// every answer says whose it is, and every client checks every line. The clients'
// own sockets are in the same process, so a late write to any of them is seen,
// too: by the server, as a request that nobody sent.

// stressEnv says how long: COMET_STRESS=10m. Without it the test is a short one.
const stressEnv = "COMET_STRESS"

func TestNoForeignBytes(t *testing.T) {
	duration := 2 * time.Second
	if testing.Short() {
		duration = 200 * time.Millisecond
	}
	if s := os.Getenv(stressEnv); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := newCrowd(t)
	deadline := time.Now().Add(duration)
	var wg sync.WaitGroup
	for i := range 32 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for time.Now().Before(deadline) && c.foreign.Load() == 0 {
				c.visit(random)
			}
		})
	}
	wg.Wait()
	eventually(t, "every event stream is over", func() bool { return c.begun.Load() == c.over.Load() })
	t.Logf("%d streams (%d lines), %d ordinary answers, %d echoes, %d broken off",
		c.begun.Load(), c.lines.Load(), c.ordinary.Load(), c.echoes.Load(), c.broken.Load())
	if c.begun.Load() == 0 || c.lines.Load() == 0 || c.ordinary.Load() == 0 || c.echoes.Load() == 0 {
		t.Error("not everything was tried")
	}
}

// crowd is the server of the stress test, and what its clients saw.
type crowd struct {
	t    *testing.T
	dial func() (net.Conn, error)
	ids  atomic.Uint64

	begun, over, lines, ordinary, echoes, broken, foreign atomic.Int64
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{t: t}
	ln, dial := listenTCP(t)
	c.dial = dial
	srv := &fasthttp.Server{Handler: c.handle, Logger: mute{}, ErrorHandler: c.badRequest}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(), <-done); err != nil {
			t.Error(err)
		}
	})
	return c
}

// alarm reports foreign bytes, and ends the test.
func (c *crowd) alarm(format string, args ...any) {
	if c.foreign.Add(1) < 10 {
		c.t.Errorf(format, args...)
	}
}

// badRequest is told of requests that cannot be read. Those of clients that
// broke off are cut; a malformed one is nobody's.
func (c *crowd) badRequest(ctx *fasthttp.RequestCtx, err error) {
	if text := err.Error(); !strings.Contains(text, "EOF") && !strings.Contains(text, "reset") {
		c.alarm("the server was sent what no client sends: %v", err)
	}
	ctx.Error("bad request", fasthttp.StatusBadRequest)
}

// line n of connection id, of some length.
func line(id uint64, n int) string {
	return fmt.Sprintf("%d/%d/%s", id, n, strings.Repeat("x", int(id*31+uint64(n)*7)%200))
}

// handle answers /stream/ID, /plain/ID and /echo/ID.
func (c *crowd) handle(ctx *fasthttp.RequestCtx) {
	kind, number, _ := strings.Cut(strings.Trim(string(ctx.Path()), "/"), "/")
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		c.alarm("a request for %q, which no client makes", ctx.Path())
		return
	}
	switch kind {
	case "stream":
		c.begun.Add(1)
		wire.Serve(ctx, &chatter{crowd: c, id: id}, wire.Options{
			Budget: 1 << (6 + id%8), WriteTimeout: time.Duration(20+id%100) * time.Millisecond,
		})
	case "plain":
		for n := range int(id % 50) {
			ctx.WriteString(line(id, n) + "\n")
		}
	case "echo": // as a WebSocket would
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(conn net.Conn) {
			for r := bufio.NewReader(conn); ; {
				got, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if !strings.HasPrefix(got, fmt.Sprint(id, "/")) {
					c.alarm("echo %d was sent %q", id, got)
				}
				if _, err := io.WriteString(conn, got); err != nil {
					return
				}
			}
		})
	default:
		c.alarm("a request for %q, which no client makes", ctx.Path())
	}
}

// chatter is a Source that says its lines: all at once, now and then, for ever,
// or until it breaks.
type chatter struct {
	crowd *crowd
	id    uint64
	n     int
	ended atomic.Bool
	wake  func()
}

func (s *chatter) Start(wake func()) {
	s.wake = wake
	s.later()
}

// later wakes the stream from elsewhere: also when it is over, and its
// descriptor another's.
func (s *chatter) later() {
	time.AfterFunc(time.Duration(s.id%5)*time.Millisecond, s.wake)
	if s.id%3 == 0 {
		go s.wake()
	}
}

func (s *chatter) Collect(b *sse.Batch, budget int) (bool, error) {
	for range 1 + s.id%7 {
		if b.Len() < budget {
			b.Event(nil, "", []byte(line(s.id, s.n)))
			s.n++
		}
	}
	switch s.id % 8 {
	case 0: // for ever
		return true, nil
	case 1:
		if s.n > 20 {
			return false, io.EOF
		}
	case 2:
		if s.n > 20 {
			return false, errBroken
		}
	}
	if s.n > 2000 {
		return false, io.EOF
	}
	s.later()
	return false, nil
}

var errBroken = errors.New("the source is broken, as told")

func (s *chatter) Gone(error) {
	if s.ended.Swap(true) {
		s.crowd.alarm("Gone was called twice")
	}
	s.crowd.over.Add(1)
}

// visit is one client's connection.
func (c *crowd) visit(random *rand.Rand) {
	conn, err := c.dial()
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if random.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0) // closes with a reset
	}
	id := c.ids.Add(1)
	v := visitor{crowd: c, conn: conn, id: id, stay: 1 + random.IntN(1<<random.IntN(9))}
	switch random.IntN(8) {
	case 0:
		v.ordinary()
	case 1:
		v.echo()
	case 2:
		_, _ = io.WriteString(conn, v.request("stream")[:random.IntN(40)%len(v.request("stream"))])
		c.broken.Add(1)
	case 3: // reads nothing: cut by the write timeout, or leaves before
		_, _ = io.WriteString(conn, v.request("stream"))
		time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
		c.broken.Add(1)
	default:
		v.stream()
	}
}

// visitor is a client that knows what it must hear.
type visitor struct {
	*crowd
	conn net.Conn
	id   uint64
	stay int // how many lines of a stream it hears
}

func (v *visitor) request(kind string) string {
	return fmt.Sprintf("GET /%s/%d HTTP/1.1\r\nHost: comet\r\n\r\n", kind, v.id)
}

// ordinary asks twice on one connection, as browsers do.
func (v *visitor) ordinary() {
	r := bufio.NewReader(v.conn)
	for range 2 {
		_, _ = io.WriteString(v.conn, v.request("plain"))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			v.alarm("an ordinary answer: %v", err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		var want bytes.Buffer
		for n := range int(v.id % 50) {
			want.WriteString(line(v.id, n) + "\n")
		}
		if err != nil || resp.StatusCode != 200 || !bytes.Equal(body, want.Bytes()) {
			v.alarm("ordinary answer to %d: %s, %q, %v", v.id, resp.Status, body, err)
			return
		}
		v.crowd.ordinary.Add(1)
	}
}

func (v *visitor) echo() {
	_, _ = io.WriteString(v.conn, v.request("echo"))
	r := bufio.NewReader(v.conn)
	for n := range 1 + v.stay/10 {
		want := line(v.id, n) + "\n"
		_, _ = io.WriteString(v.conn, want)
		if got, err := r.ReadString('\n'); err != nil || got != want {
			v.alarm("echo %d: %q, %v, want %q", v.id, got, err, want)
			return
		}
		v.echoes.Add(1)
	}
}

// stream hears some lines, or up to an end or a cut.
func (v *visitor) stream() {
	_, _ = io.WriteString(v.conn, v.request("stream"))
	resp, err := http.ReadResponse(bufio.NewReader(v.conn), nil)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "reset") {
			v.broken.Add(1) // cut before it began: a source may break at once
			return
		}
		v.alarm("stream %d: %v", v.id, err)
		return
	}
	r := bufio.NewReader(resp.Body)
	for n := 0; n < v.stay; n++ {
		got, err := r.ReadString('\n')
		if err == nil {
			_, err = r.ReadString('\n')
		}
		if want := "data: " + line(v.id, n) + "\n"; !strings.HasPrefix(want, got) || err == nil && got != want {
			v.alarm("stream %d: %q, %v, want %q", v.id, got, err, want)
			return
		}
		if err != nil {
			return
		}
		v.lines.Add(1)
	}
	v.broken.Add(1)
}
