package around

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// patience bounds what must happen but has no moment of its own.
const patience = time.Minute

// An App is one with Comet in it: a page "/" of a client process, whose event
// stream hears the site channel chat and the private channel mine, and may
// register the site channel news.
type App struct {
	t          testing.TB
	origin     string
	fiber      *fiber.App
	chat, news *scope.Handle
	log        *logbook
}

// A Setup is what stands around Comet.
type Setup struct {
	Fiber         fiber.Config
	Comet         middleware.Config
	Site          scope.SiteConfig
	Tune          func(*fiber.App) // before anything is registered
	Before, After []fiber.Handler  // registered at the root, before comet.New and after it
}

// Serve serves an app until the test ends.
func Serve(t testing.TB, s Setup) *App {
	t.Helper()
	a := &App{t: t, log: new(logbook)}
	site := scope.NewSite(s.Site)
	a.chat, a.news = channel(t, site, "chat"), channel(t, site, "news")
	s.Fiber.DisableStartupMessage = true
	app := fiber.New(s.Fiber)
	a.fiber = app
	if s.Tune != nil {
		s.Tune(app)
	}
	use(app, s.Before)
	s.Comet.Site, s.Comet.Logger = site, slog.New(slog.NewTextHandler(a.log, nil))
	app.Use(middleware.New(s.Comet))
	use(app, s.After)
	app.Get("/", a.page)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.origin = "http://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := site.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := app.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return a
}

func use(app *fiber.App, handlers []fiber.Handler) {
	for _, h := range handlers {
		app.Use(h)
	}
}

func channel(t testing.TB, owner scope.Owner, name string) *scope.Handle {
	t.Helper()
	h, err := scope.Register(owner, scope.Spec{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// page answers with the address of its event stream.
func (a *App) page(c *fiber.Ctx) error {
	p, err := middleware.ClientProcess(c)
	if err != nil {
		return err
	}
	mine, err := scope.Register(p, scope.Spec{Name: "mine"})
	if err != nil {
		return err
	}
	if err := mine.Feed().Put(c.UserContext(), []byte("hello")); err != nil {
		return err
	}
	address, err := middleware.Open(c, a.chat, mine)
	if err != nil {
		return err
	}
	return c.SendString(address)
}

// Origin is where the app is served.
func (a *App) Origin() string { return a.origin }

// Through has pages ask for what serves at origin, a proxy before the app, instead.
func (a *App) Through(origin string) { a.origin = origin }

// Fiber is the app itself.
func (a *App) Fiber() *fiber.App { return a.fiber }

// Log is what Comet logged.
func (a *App) Log() string { return a.log.String() }

func (a *App) put(h *scope.Handle, text string) {
	a.t.Helper()
	if err := h.Feed().Put(context.Background(), []byte(text)); err != nil {
		a.t.Fatal(err)
	}
}

// Logged checks that Comet logged one line that contains text, and nothing else;
// nothing at all if text is empty.
func (a *App) Logged(text string) {
	a.t.Helper()
	want := 1
	if text == "" {
		want = 0
	}
	lines, found := strings.Count(a.Log(), "\n"), strings.Count(a.Log(), text)
	if lines != want || text != "" && found != 1 {
		a.t.Errorf("logged %d lines, %d of them with %q:\n%s", lines, found, text, a.Log())
	}
}

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
