package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
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

// listen serves app on a loopback port. Its sites are the test's to end.
func listen(t testing.TB, app *fiber.App) *comettest.App {
	t.Helper()
	return comettest.ServeTCP(t, app)
}

// A browser is comettest's, with what these tests ask most.
type browser struct {
	*comettest.Browser
	t testing.TB
}

func newBrowser(t testing.TB, app *comettest.App) *browser { return &browser{app.Browser(), t} }

// another is the browser of another person.
func (b *browser) another() *browser { return newBrowser(b.t, b.App()) }

// Listen connects, and returns when there is an answer.
func (b *browser) Listen(url string, fields ...string) *comettest.Tab {
	tab := b.Browser.Listen(url, fields...)
	tab.Answer()
	return tab
}

// serve is listen with one browser.
func serve(t testing.TB, app *fiber.App) *browser {
	t.Helper()
	return newBrowser(t, listen(t, app))
}

// get is a navigation; its answer must be a 200.
func (b *browser) get(path string, fields ...string) comettest.Answer {
	return b.Get(path, fields...).Want(http.StatusOK)
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
	page := b.get(path, fields...)
	return page.Find(`^(\S+) `), page.Find(` (.*)`)
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

// overslept begins to count for how long the machine had the test's process not run, and
// returns who tells. What a test says of Comet's time is not about that.
func overslept(t testing.TB) func() time.Duration {
	const nap = 10 * time.Millisecond
	var total atomic.Int64
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for begin := time.Now(); ; begin = time.Now() {
			select {
			case <-end:
				return
			case <-time.After(nap):
			}
			if over := time.Since(begin) - nap; over > nap {
				total.Add(int64(over))
			}
		}
	}()
	t.Cleanup(func() {
		close(end)
		<-ended
	})
	return func() time.Duration { return time.Duration(total.Load()) }
}

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
