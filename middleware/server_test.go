package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// patience bounds what must happen but has no moment of its own.
const patience = time.Minute

// newSite returns a site that ends with the test.
func newSite(t testing.TB, config ...scope.SiteConfig) *scope.Site {
	t.Helper()
	site := scope.NewSite(config...)
	t.Cleanup(func() { shutdown(t, site) })
	return site
}

func shutdown(t testing.TB, site *scope.Site) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := site.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// newApp returns an app that stays silent.
func newApp(config ...fiber.Config) *fiber.App {
	var c fiber.Config
	if len(config) > 0 {
		c = config[0]
	}
	c.DisableStartupMessage = true
	return fiber.New(c)
}

// listen serves app on a real loopback listener and returns its origin.
func listen(t testing.TB, app *fiber.App) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	t.Cleanup(func() {
		if err := app.ShutdownWithTimeout(patience); err != nil {
			t.Errorf("app.Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return "http://" + ln.Addr().String()
}

// A browser is a client with a cookie jar.
type browser struct {
	t      testing.TB
	origin string
	client *http.Client
}

func newBrowser(t testing.TB, origin string) *browser {
	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t, origin, &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// serve is listen with one browser.
func serve(t testing.TB, app *fiber.App) *browser {
	t.Helper()
	return newBrowser(t, listen(t, app))
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) cookie(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// do sends a request; fields alternates header names and values.
func (b *browser) do(method, path, body string, fields ...string) answer {
	b.t.Helper()
	resp := b.send(context.Background(), method, path, body, fields...)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: reading the body: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

func (b *browser) send(ctx context.Context, method, path, body string, fields ...string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, b.origin+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			req.Host = fields[i+1]
		}
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// get is a navigation; its answer must be a 200.
func (b *browser) get(path string, fields ...string) answer {
	b.t.Helper()
	a := b.do("GET", path, "", append([]string{"Sec-Fetch-Mode", "navigate"}, fields...)...)
	if a.status != http.StatusOK {
		b.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	return a
}

func (b *browser) cookies() []*http.Cookie {
	u, _ := url.Parse(b.origin)
	return b.client.Jar.Cookies(u)
}

func (b *browser) forget() { b.client.Jar, _ = cookiejar.New(nil) }

// An eventSource is one connection of an EventSource.
type eventSource struct {
	t      testing.TB
	resp   *http.Response
	raw    *bytes.Buffer
	events chan sse.Event
	cancel context.CancelFunc
}

// open connects as EventSource does: with Accept and Cache-Control.
func (b *browser) open(path string, fields ...string) *eventSource {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	resp := b.send(ctx, "GET", path, "", append([]string{
		"Accept", "text/event-stream", "Cache-Control", "no-cache",
		"Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin",
	}, fields...)...)
	es := &eventSource{t: b.t, resp: resp, raw: new(bytes.Buffer), events: make(chan sse.Event, 1000), cancel: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(es.events)
		r := sse.NewReader(io.TeeReader(resp.Body, es.raw))
		for {
			e, err := r.Next()
			if err != nil {
				if err != io.EOF && ctx.Err() == nil {
					b.t.Errorf("event stream of %s: %v", path, err)
				}
				return
			}
			es.events <- e
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		<-done
		resp.Body.Close()
	})
	return es
}

// next returns the next event but hello and heartbeats; false at the end.
func (es *eventSource) next() (sse.Event, bool) {
	es.t.Helper()
	for {
		select {
		case e, ok := <-es.events:
			if ok && (e.Name == "comet:hello" || e.Name == "comet:hb") {
				continue
			}
			return e, ok
		case <-time.After(patience):
			es.t.Fatal("no event came, and no end")
		}
	}
}

// expect reads the next event and checks its name and, unless empty, its data.
func (es *eventSource) expect(name, data string) sse.Event {
	es.t.Helper()
	e, ok := es.next()
	if !ok {
		es.t.Fatalf("the stream ended where %s was due", name)
	}
	if e.Name != name || data != "" && string(e.Data) != data {
		es.t.Fatalf("got event %q %s, want %q %s", e.Name, e.Data, name, data)
	}
	return e
}

// greeted waits for the first hello: from then on the stream stands.
func (es *eventSource) greeted() sse.Event {
	es.t.Helper()
	select {
	case e := <-es.events:
		if e.Name != "comet:hello" {
			es.t.Fatalf("got event %q %s, want comet:hello first", e.Name, e.Data)
		}
		return e
	case <-time.After(patience):
		es.t.Fatal("no hello came")
		return sse.Event{}
	}
}

func (es *eventSource) ended() {
	es.t.Helper()
	if e, ok := es.next(); ok {
		es.t.Fatalf("got event %q %s, want the end", e.Name, e.Data)
	}
}

// channelOf registers a site channel and returns how to put text into it.
func channelOf(t testing.TB, owner scope.Owner, name string) (*scope.Handle, func(string)) {
	t.Helper()
	h, err := scope.Register(owner, scope.Spec{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	feed := h.Feed()
	return h, func(text string) {
		if err := feed.Put(context.Background(), []byte(text)); err != nil {
			t.Errorf("Put: %v", err)
		}
	}
}

// tabs remembers the processes that pages were made for, by token.
type tabs struct {
	mu sync.Mutex
	m  map[string]*scope.ClientProcess
}

func (s *tabs) add(p *scope.ClientProcess) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[string]*scope.ClientProcess)
	}
	s.m[p.Token()] = p
}

func (s *tabs) of(token string) *scope.ClientProcess {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[token]
}

// page is a handler that makes a tab and answers "TOKEN URL". Each tab has a
// private channel "mine" with the value "hello".
func (s *tabs) page(c *fiber.Ctx) error {
	p, err := middleware.ClientProcess(c)
	if err != nil {
		return err
	}
	h, err := scope.Register(p, scope.Spec{Name: "mine"})
	if err != nil && !errors.Is(err, scope.ErrNameTaken) {
		return err
	}
	var refs []scope.Ref
	if h != nil {
		refs = append(refs, h)
		if err := h.Feed().Put(c.UserContext(), []byte(`hello`)); err != nil {
			return err
		}
	}
	address, err := middleware.Open(c, refs...)
	if err != nil {
		return err
	}
	s.add(p)
	return c.SendString(p.Token() + " " + address)
}

// tab loads a page of tabs and returns its token and stream address.
func (b *browser) tab(path string, fields ...string) (token, address string) {
	b.t.Helper()
	token, address, ok := strings.Cut(b.get(path, fields...).body, " ")
	if !ok {
		b.t.Fatalf("GET %s: no address in the page", path)
	}
	return token, address
}

// A logbook collects what is logged.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// shelf is a fiber.Storage of which everything can be seen and broken.
type shelf struct {
	mu      sync.Mutex
	records map[string][]byte
	lives   map[string]time.Duration
	sets    int
	broken  error
}

func (s *shelf) breakWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *shelf) Get(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[key], s.broken
}

func (s *shelf) Set(key string, val []byte, exp time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	if s.records == nil {
		s.records, s.lives = make(map[string][]byte), make(map[string]time.Duration)
	}
	s.sets++
	s.records[strings.Clone(key)], s.lives[strings.Clone(key)] = bytes.Clone(val), exp
	return nil
}

func (s *shelf) Delete(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, key)
	return s.broken
}

func (s *shelf) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.records)
	return s.broken
}

func (s *shelf) Close() error { return nil }

func (s *shelf) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.records {
		keys = append(keys, k)
	}
	return keys
}
