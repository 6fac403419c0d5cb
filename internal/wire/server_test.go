package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/ocsigo/comet/internal/wire"
)

// A way is one of the ways by which wire serves, and what may be asked of it.
// A new way joins the conformance suite with a value of this type and the kinds
// of connection that take it.
type way struct {
	name      string
	hears     bool // a peer that leaves is heard without a write
	deadlines bool // a stalled peer is lost after WriteTimeout
	identity  bool // HTTP/1.0 is sent without chunks
	refuses   bool // a status other than 200 alone stops the stream
	outlives  bool // the server's Shutdown does not end the stream
	hijacks   bool // the connection is hijacked
	together  bool // idle streams have one goroutine between them, not each
}

var (
	parked = way{
		name: "parked", hears: true, deadlines: true, identity: true,
		refuses: true, outlives: true, hijacks: true,
	}
	streamed = way{name: "streamed"}
)

// A kind is one sort of server and connection that the suite runs over.
type kind struct {
	name   string
	way    way
	tune   func(*fasthttp.Server)
	listen listening
	fiber  bool
	coding string // offered by the server and accepted by its peers; empty: neither
}

// listening opens a listener, and gives what dials it.
type listening func(t testing.TB) (net.Listener, func() (net.Conn, error))

// kinds are sockets by the best way there is, the same sockets parked, what is
// always parked, and memory.
var kinds = []kind{
	{name: "tcp", way: best, listen: listenTCP},
	{name: "unix", way: best, listen: listenUnix},
	{name: "small", way: best, listen: listenTCP, tune: func(s *fasthttp.Server) { s.ReduceMemoryUsage = true }},
	{name: "kept", way: best, listen: listenTCP, tune: keepHijacked},
	{name: "fiber", way: best, listen: listenTCP, fiber: true},
	{name: "tcp", way: parked, listen: shy(listenTCP)},
	{name: "unix", way: parked, listen: shy(listenUnix)},
	{name: "tls", way: parked, listen: listenTLS},
	{name: "per-ip", way: parked, listen: listenTCP, tune: func(s *fasthttp.Server) { s.MaxConnsPerIP = 1000 }},
	{name: "unknown", way: parked, listen: listenUnknown},
	{name: "small", way: parked, listen: shy(listenTCP), tune: func(s *fasthttp.Server) { s.ReduceMemoryUsage = true }},
	{name: "kept", way: parked, listen: shy(listenTCP), tune: keepHijacked},
	{name: "fiber", way: parked, listen: shy(listenTCP), fiber: true},
	{name: "memory", way: streamed, listen: listenMemory},
	{name: "memory-fiber", way: streamed, listen: listenMemory, fiber: true},
	{name: "tcp gzip", way: best, listen: listenTCP, coding: "gzip"},
	{name: "tcp zstd", way: best, listen: listenTCP, coding: "zstd"},
	{name: "tcp gzip", way: parked, listen: shy(listenTCP), coding: "gzip"},
	{name: "tls zstd", way: parked, listen: listenTLS, coding: "zstd"},
	{name: "memory gzip", way: streamed, listen: listenMemory, coding: "gzip"},
	{name: "memory zstd", way: streamed, listen: listenMemory, coding: "zstd"},
}

// keepHijacked is a setting of others' that concerns every hijack of a server:
// fasthttp does not close the connection then.
func keepHijacked(s *fasthttp.Server) { s.KeepHijackedConns = true }

// each runs a case over every kind of connection.
func each(t *testing.T, run func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.way.name+"/"+k.name, func(t *testing.T) {
			t.Parallel()
			run(t, k)
		})
	}
}

// server is a running server of some kind, and the way to reach it.
type server struct {
	t    *testing.T
	dial func() (net.Conn, error)
	stop func() error // once; the end of the test calls it if nobody did

	coding string // accepted in every request
}

// serve starts a server whose handler is given.
func (k kind) serve(t *testing.T, handler fasthttp.RequestHandler) *server {
	ln, dial := k.listen(t)
	s := &server{t: t, dial: dial, coding: k.coding}
	done := make(chan error, 1)
	var shutdown func() error
	if k.fiber {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Use(func(c *fiber.Ctx) error { handler(c.Context()); return nil })
		shutdown = app.Shutdown
		go func() { done <- app.Listener(ln) }()
	} else {
		srv := &fasthttp.Server{Handler: handler, Logger: mute{}}
		if k.tune != nil {
			k.tune(srv)
		}
		shutdown = srv.Shutdown
		go func() { done <- srv.Serve(ln) }()
	}
	s.stop = sync.OnceValue(func() error {
		err := shutdown()
		return errors.Join(err, <-done)
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("shutting the server down: %v", err)
		}
	})
	return s
}

// mute keeps fasthttp's complaints about lost peers out of the test's output.
type mute struct{}

func (mute) Printf(string, ...any) {}

// stream starts a server that serves src to the first request for /, and to
// any other an event stream that has ended before it began.
func (k kind) stream(t *testing.T, src wire.Source, o wire.Options) *server {
	var first sync.Once
	return k.serve(t, func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("text/event-stream")
		var it wire.Source
		first.Do(func() { it = src })
		if it == nil {
			it = ended(t)
		}
		k.answer(ctx, it, o)
	})
}

// answer serves src, in the kind's coding.
func (k kind) answer(ctx *fasthttp.RequestCtx, src wire.Source, o wire.Options) {
	if k.coding != "" {
		o.Compression = compression
	}
	wire.Serve(ctx, src, o)
}

func ended(t *testing.T) wire.Source {
	s := newScript(t)
	s.finish(nil)
	return s
}

// peer is a client that looks at every byte.
type peer struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
}

const (
	get   = "GET / HTTP/1.1\r\nHost: comet\r\n\r\n"
	get10 = "GET / HTTP/1.0\r\nHost: comet\r\n\r\n"

	// Where the response is fasthttp's own. A per-ip connection that it keeps
	// may be closed twice at Shutdown, which is a race of fasthttp's.
	getOnce = "GET / HTTP/1.1\r\nHost: comet\r\nConnection: close\r\n\r\n"
	head    = "HEAD / HTTP/1.1\r\nHost: comet\r\n\r\n"
)

// connect dials and sends request as it is.
func (s *server) connect(request string) *peer {
	s.t.Helper()
	c, err := s.dial()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	if s.coding != "" {
		request = strings.ReplaceAll(request, "Host:", "Accept-Encoding: "+s.coding+"\r\nHost:")
	}
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	return &peer{t: s.t, conn: c, br: bufio.NewReader(c)}
}

// header reads up to the blank line that ends the response's header. What follows
// is read decoded, and without chunks, where it is encoded.
func (p *peer) header() (status string, h http.Header) {
	p.t.Helper()
	status, err := p.br.ReadString('\n')
	if err != nil {
		p.t.Fatalf("no response: %v", err)
	}
	h = http.Header{}
	for {
		line, err := p.br.ReadString('\n')
		if err != nil {
			p.t.Fatalf("the header is cut: %v", err)
		}
		name, value, found := strings.Cut(strings.TrimSpace(line), ": ")
		if !found {
			if coding := h.Get("Content-Encoding"); coding != "" && coding != "identity" {
				p.br = bufio.NewReader(decoding(coding, unchunked(p.br, h)))
			}
			return strings.TrimSpace(status), h
		}
		h.Add(name, value)
	}
}

// response reads the response with the parser of net/http.
func (p *peer) response(method string) *http.Response {
	p.t.Helper()
	resp, err := http.ReadResponse(p.br, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("no response: %v", err)
	}
	return decode(resp)
}

// events reads n events.
func events(t *testing.T, r *bufio.Reader, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(got), n, err)
		}
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			got = append(got, strings.TrimSpace(data))
		}
	}
	return got
}

// client is a net/http client of the server.
func (s *server) client() *http.Client {
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return s.dial()
	}}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: accepting{tr, s.coding}, Timeout: patience}
}

func listenTCP(t testing.TB) (net.Listener, func() (net.Conn, error)) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln, func() (net.Conn, error) { return net.Dial("tcp4", ln.Addr().String()) }
}

func listenUnix(t testing.TB) (net.Listener, func() (net.Conn, error)) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no unix sockets here: %v", err)
	}
	return ln, func() (net.Conn, error) { return net.Dial("unix", path) }
}

func listenMemory(testing.TB) (net.Listener, func() (net.Conn, error)) {
	ln := fasthttputil.NewInmemoryListener()
	return ln, ln.Dial
}

func listenTLS(t testing.TB) (net.Listener, func() (net.Conn, error)) {
	ln, dial := listenTCP(t)
	cert, roots := certificate(t)
	client := &tls.Config{RootCAs: roots, ServerName: "comet"}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}}),
		func() (net.Conn, error) {
			c, err := dial()
			if err != nil {
				return nil, err
			}
			return tls.Client(c, client), nil
		}
}

// listenUnknown gives connections whose type says nothing but net.Conn.
func listenUnknown(t testing.TB) (net.Listener, func() (net.Conn, error)) {
	ln, dial := listenTCP(t)
	return wrapping{ln}, dial
}

type wrapping struct{ net.Listener }

func (l wrapping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

// shy makes a listener whose connections are sockets in all but their type, so
// that they are parked on every system.
func shy(listen listening) listening {
	return func(t testing.TB) (net.Listener, func() (net.Conn, error)) {
		ln, dial := listen(t)
		return shyListener{ln}, dial
	}
}

type shyListener struct{ net.Listener }

func (l shyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	switch c := c.(type) {
	case *net.TCPConn:
		return shyTCP{c}, err
	case *net.UnixConn:
		return shyUnix{c}, err
	}
	return nil, err
}

type shyTCP struct{ *net.TCPConn }

func (c shyTCP) NetConn() net.Conn { return c.TCPConn }

type shyUnix struct{ *net.UnixConn }

// certificate makes a certificate for the name comet that signs itself.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{"comet"},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// rawBody is everything up to the end of the connection, which must be a clean
// one.
func (p *peer) rawBody() []byte {
	p.t.Helper()
	b, err := io.ReadAll(p.br)
	if err != nil {
		p.t.Fatalf("the connection did not end cleanly: %v", err)
	}
	return bytes.Clone(b)
}
