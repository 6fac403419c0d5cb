package comettest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"
	storage "github.com/gofiber/storage/memory/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// A witness is a test of which it is only seen how it fails.
type witness struct {
	testing.TB
	said     strings.Builder
	cleanups []func()
}

func (w *witness) Helper()          {}
func (w *witness) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }
func (w *witness) Errorf(format string, args ...any) {
	fmt.Fprintf(&w.said, format+"\n", args...)
}
func (w *witness) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	runtime.Goexit()
}
func (w *witness) Fatal(args ...any) { w.Fatalf("%s", fmt.Sprint(args...)) }

// watch runs f as a test, with its end, and returns how it failed.
func watch(t *testing.T, f func(testing.TB)) string {
	w := &witness{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(w.cleanups) - 1; i >= 0; i-- {
				w.cleanups[i]()
			}
		}()
		f(w)
	}()
	<-done
	return w.said.String()
}

// A test that fails says what was due, what came instead, and all that the tab saw.
func TestFailures(t *testing.T) {
	entered := func(t testing.TB) (*room, *comettest.Tab) {
		r := newRoom(t)
		return r, enter(comettest.Serve(t, r.app, r.site).Browser())
	}
	for name, row := range map[string]struct {
		f    func(testing.TB)
		want []string
	}{
		"nothing comes": {func(t testing.TB) {
			_, tab := entered(t)
			comettest.Next[line](tab, "chat")
		}, []string{`want a value of "chat", which did not come in 1m0s`, "EventSource is open", "200 OK text/event-stream", "count 1", "  | event: count"}},
		"another event": {func(t testing.TB) {
			r, tab := entered(t)
			r.say(t, "hi")
			tab.Expect("mine", "hi")
		}, []string{`want mine hi, heard chat {"text":"hi"}`}},
		"another type": {func(t testing.TB) {
			r, tab := entered(t)
			r.say(t, "hi")
			comettest.Next[int](tab, "chat")
		}, []string{`want a value of "chat", of type int, as json: `, `{"text":"hi"}`}},
		"a control event before": {func(t testing.TB) {
			r, tab := entered(t)
			r.last.Close()
			tab.Answer()
			synctest.Wait()
			r.say(t, "hi")
			comettest.Next[line](tab, "chat")
		}, []string{`want a value of "chat", and heard before it: comet:gone {"process":`}},
		"something where nothing is due": {func(t testing.TB) {
			r, tab := entered(t)
			r.say(t, "hi")
			tab.Nothing()
		}, []string{`want nothing more, heard chat {"text":"hi"}`}},
		"an event where the end is due": {func(t testing.TB) {
			r, tab := entered(t)
			r.say(t, "hi")
			tab.Ended()
		}, []string{`want the connection's end, heard chat`}},
		"an event where the tab is to be sent away": {func(t testing.TB) {
			r, tab := entered(t)
			r.say(t, "hi")
			tab.Away()
		}, []string{`want comet:away, heard chat`}},
		"an end without a word": {func(t testing.TB) {
			_, tab := entered(t)
			tab.Cut()
			tab.Away()
		}, []string{"want comet:away, and the connection ended without it"}},
		"no EventSource": {func(t testing.TB) {
			r := newRoom(t)
			comettest.Serve(t, r.app, r.site).Browser().Open("/").Next()
		}, []string{"the tab was never connected: see Connect"}},
		"a closed EventSource": {func(t testing.TB) {
			_, tab := entered(t)
			tab.Close()
			tab.Next()
		}, []string{"the EventSource is closed for good", "closed for good: closed by the test"}},
		"a closed one that is to come back": {func(t testing.TB) {
			_, tab := entered(t)
			tab.Close()
			tab.Reconnect()
		}, []string{"open another tab"}},
		"connected twice": {func(t testing.TB) {
			_, tab := entered(t)
			tab.Connect(tab.URL())
		}, []string{"the tab has an EventSource"}},
		"a status": {func(t testing.TB) {
			_, tab := entered(t)
			tab.Get("/nowhere").Want(200)
		}, []string{"GET /nowhere: got 404 Not Found, want 200"}},
		"a page without an address": {func(t testing.TB) {
			_, tab := entered(t)
			tab.Get("/here").Find(`<meta "([^"]*)"`)
		}, []string{"GET /here: the answer has nothing of <meta"}},
		"a command that is refused": {func(t testing.TB) {
			_, tab := entered(t)
			tab.Pull("chat")
		}, []string{"the command pull=chat got 400"}},
		"a port in a bubble": {func(t testing.TB) {
			r := newRoom(t)
			t.Cleanup(func() { _ = r.site.Shutdown(t.Context()) })
			comettest.ServeTCP(t, r.app, r.site)
		}, []string{"use Serve"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				said := watch(t, row.f)
				for _, want := range row.want {
					if !strings.Contains(said, want) {
						t.Errorf("it does not say %s:\n%s", want, said)
					}
				}
				t.Log(said)
			})
		})
	}
}

// Nothing is not to be had by the real clock.
func TestNothingNeedsABubble(t *testing.T) {
	t.Parallel()
	said := watch(t, func(t testing.TB) {
		r := newRoom(t)
		enter(comettest.Serve(t, r.app, r.site).Browser()).Nothing()
	})
	if !strings.Contains(said, "synctest.Test") {
		t.Error(said)
	}
}

// What an app leaves running is told, with its stack; that of other apps is not.
func TestLeaks(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	leaky := func(t testing.TB) {
		r := newRoom(t)
		r.app.Get("/leak", func(*fiber.Ctx) error {
			go func() { <-release }()
			return nil
		})
		comettest.Serve(t, r.app, r.site).Browser().Get("/leak").Want(200)
	}
	if said := watch(t, leaky); !strings.Contains(said, "left goroutines") || !strings.Contains(said, "fail_test.go") {
		t.Error(said)
	}
	tidy := func(t testing.TB) { r := newRoom(t); enter(comettest.Serve(t, r.app, r.site).Browser()) }
	if said := watch(t, tidy); said != "" {
		t.Error(said)
	}
}

// A tab is sent to another node, and back.
func TestRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, sessions := memory.New(memory.Config{Nodes: true}), storage.New()
		t.Cleanup(func() {
			if err := engine.Close(context.Background()); err != nil {
				t.Error(err)
			}
			_ = sessions.Close()
		})
		var processes []*scope.ClientProcess
		node := func() *comettest.App {
			app, site := fiber.New(fiber.Config{DisableStartupMessage: true}), comet.NewSite(comet.SiteConfig{Engine: engine})
			app.Use(comet.New(comet.Config{Site: site, Storage: sessions}))
			app.Get("/", func(c *fiber.Ctx) error {
				p, err := comet.ClientProcess(c)
				if err != nil {
					return err
				}
				processes = append(processes, p)
				url, err := comet.Open(c)
				if err != nil {
					return err
				}
				return c.SendString(url)
			})
			app.Get("/here", func(c *fiber.Ctx) error {
				_, err := comet.ClientProcess(c)
				return err
			})
			return comettest.Serve(t, app, site)
		}
		a, b := node(), node()
		browser := a.Browser()
		tab := browser.Open("/")
		tab.Connect(tab.Page.Body)
		tab.Hello()
		for _, to := range []struct {
			app    *comettest.App
			status int
		}{{b, 421}, {a, 200}} {
			browser.Route(to.app)
			tab.Reconnect()
			tab.Hello()
			tab.Get("/here").Want(to.status)
			if !processes[0].Active() {
				t.Error("the tab is away")
			}
		}
		time.Sleep(time.Hour)
		tab.Nothing()
	})
}
