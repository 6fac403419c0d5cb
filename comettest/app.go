package comettest

import (
	"context"
	"errors"
	"net"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/scope"
)

// patience is how long a test waits for what has no moment of its own. In a
// bubble it is fake time, and passes at once.
const patience = time.Minute

// An App is a Fiber app that is served until the test ends. Its methods are for
// the test's goroutine.
type App struct {
	t      testing.TB
	origin string
	memory bool // else on a loopback port
	bubble bool
	mark   mark   // of its goroutines, if they are looked for
	stop   func() // shuts down what is served now
}

// Serve serves app in memory until the test and its subtests are over, and returns at once. Sites
// are all the Sites that app has: those that it makes with comet.NewSite, and
// gives to comet.New. When the test ends, the tabs are closed first, then the
// Sites and the app shut down; the test fails if one of them does not end within
// a minute, or if a goroutine that the app started is left. Serve takes the app
// over: no one else is to serve it or to shut it down.
//
// Within a bubble of testing/synctest everything runs in the bubble, by its
// clock; then the app, its Sites, engines and channels are to be made in the
// bubble, too.
func Serve(t testing.TB, app *fiber.App, sites ...*scope.Site) *App {
	t.Helper()
	a := &App{t: t, memory: true, bubble: inBubble()}
	host := newHost()
	a.origin = "http://" + host
	if !a.bubble {
		a.mark = newMark()
	}
	a.start(listen(host), app, sites)
	t.Cleanup(a.end)
	return a
}

// ServeTCP is Serve on a port of the loopback interface: through real sockets,
// with their buffers and the way to them that a deployed app has. It is not for
// a bubble, which sockets cannot be part of, and does not look for goroutines.
func ServeTCP(t testing.TB, app *fiber.App, sites ...*scope.Site) *App {
	t.Helper()
	if inBubble() {
		t.Fatal("comettest: ServeTCP within a bubble: sockets do not know its clock; use Serve")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("comettest: ", err)
	}
	a := &App{t: t, origin: "http://" + l.Addr().String()}
	a.start(l, app, sites)
	t.Cleanup(a.end)
	return a
}

// Origin is where the app is served: scheme and host, without a slash.
func (a *App) Origin() string { return a.origin }

// start has app served on l; a.stop ends it.
func (a *App) start(l net.Listener, app *fiber.App, sites []*scope.Site) {
	served := make(chan error, 1)
	pprof.Do(context.Background(), a.mark.labels(), func(context.Context) {
		go func() { served <- app.Listener(l) }()
	})
	a.stop = sync.OnceFunc(func() {
		a.t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var errs []error
		for _, site := range sites {
			errs = append(errs, site.Shutdown(ctx))
		}
		errs = append(errs, app.ShutdownWithContext(ctx))
		_ = l.Close() // also where app was shut down before
		errs = append(errs, <-served)
		if err := errors.Join(errs...); err != nil {
			a.t.Errorf("comettest: shutting down %s: %v", a.origin, err)
		}
	})
}

// workersEnd is when fasthttp's pool of workers, which sleeps ten seconds at a
// time, has seen that its server was shut down.
const workersEnd = 11 * time.Second

// end is the end of the test.
func (a *App) end() {
	a.t.Helper()
	a.stop()
	if a.bubble {
		time.Sleep(workersEnd) // of fake time
	} else {
		a.mark.check(a.t)
	}
}

// Stop shuts the app down before the test's end: its tabs' event streams end as
// the Sites end them, and the tabs try in vain to come back. See Restart.
func (a *App) Stop() {
	a.t.Helper()
	a.stop()
}

// Restart shuts the app down and serves another one in its place: a deploy, as
// tabs see it. Their addresses stay, and they come back by themselves. It is
// for Serve only.
func (a *App) Restart(app *fiber.App, sites ...*scope.Site) {
	a.t.Helper()
	if !a.memory {
		a.t.Fatal("comettest: Restart: the app is served on a port, which another process may take meanwhile; use Serve")
	}
	a.stop()
	a.start(listen(a.origin[len("http://"):]), app, sites)
}
