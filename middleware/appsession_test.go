package middleware_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/session"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// A loginApp is an app with a session store of its own, and handlers for
// everything that Fiber lets an app do to a session.
type loginApp struct {
	*browser
	tabs    *tabs
	storage *shelf
	store   *session.Store
	site    *scope.Site
	log     *logbook
	app     *fiber.App
}

// newLoginApp serves one. more adds to it before it is served.
func newLoginApp(t testing.TB, c session.Config, more ...func(l *loginApp)) *loginApp {
	t.Helper()
	l := &loginApp{tabs: new(tabs), storage: new(shelf), log: new(logbook)}
	c.Storage = l.storage
	l.store = session.New(c)
	l.site = newSite(t, scope.SiteConfig{Heartbeat: time.Second})
	l.app = newApp(fiber.Config{ErrorHandler: tellError})
	l.app.Use(middleware.New(middleware.Config{Site: l.site, Session: l.store, Logger: l.log.logger()}))
	l.app.Get("/", l.tabs.page)
	l.app.Get("/static", func(c *fiber.Ctx) error { return c.SendString("static") })
	l.app.Get("/me", l.with(func(c *fiber.Ctx, s *session.Session) error {
		return c.SendString(fmt.Sprint(s.Get("user")))
	}))
	l.app.Post("/login", l.with(func(c *fiber.Ctx, s *session.Session) error {
		s.Set("user", c.Query("as", "ann"))
		return s.Save()
	}))
	l.app.Post("/regenerate", l.with(func(c *fiber.Ctx, s *session.Session) error {
		return errors.Join(s.Regenerate(), s.Save())
	}))
	l.app.Post("/reset", l.with(func(c *fiber.Ctx, s *session.Session) error {
		return errors.Join(s.Reset(), s.Save())
	}))
	l.app.Post("/destroy", l.with(func(c *fiber.Ctx, s *session.Session) error { return s.Destroy() }))
	l.app.Post("/end", func(c *fiber.Ctx) error { return middleware.EndSession(c) })
	for _, add := range more {
		add(l)
	}
	l.browser = serve(t, l.app)
	return l
}

// with opens the session as an app does.
func (l *loginApp) with(f func(*fiber.Ctx, *session.Session) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		s, err := l.store.Get(c)
		if err != nil {
			return err
		}
		return f(c, s)
	}
}

func (l *loginApp) post(path string) comettest.Answer {
	l.t.Helper()
	a := l.Do("POST", path, "")
	if a.Status != 200 {
		l.t.Fatalf("POST %s: %d %s", path, a.Status, a.Body)
	}
	return a
}

// heard opens the tab's stream and waits until it stands.
func (l *loginApp) heard(address string) *comettest.Tab {
	l.t.Helper()
	es := l.Listen(address)
	es.Expect("mine", "hello")
	return es
}

// goesOn says something in the tab's private channel and hears it.
func (l *loginApp) goesOn(es *comettest.Tab, token string) {
	l.t.Helper()
	p := l.tabs.of(token)
	if err := p.Err(); err != nil {
		l.t.Fatalf("the process ended: %v", err)
	}
	h, err := scope.Register(p, scope.Spec{Name: fmt.Sprintf("later%d", time.Now().UnixNano())})
	if err != nil {
		l.t.Fatal(err)
	}
	if a := l.Do("GET", "/", "", "Comet-Process", token); a.Status != 200 {
		l.t.Errorf("a request of the tab: %d %s", a.Status, a.Body)
	}
	h.Close()
}

func isNobody(a comettest.Answer) bool { return a.Body == "<nil>" }

// A page without a process leaves the app's sessions alone: none is begun, none
// is read.
func TestAppSessionStaticPage(t *testing.T) {
	l := newLoginApp(t, session.Config{})
	if a := l.get("/static"); a.Header.Get("Set-Cookie") != "" || len(l.storage.keys()) != 0 {
		t.Errorf("a static page began a session: %v, %v", a.Header, l.storage.keys())
	}
}

// An app with its own store keeps its user logged in through the first request
// that makes a process.
func TestAppSessionKeepsTheLogin(t *testing.T) {
	l := newLoginApp(t, session.Config{})
	l.post("/login?as=ann")
	cookie := l.Cookies()[0].Value
	token, address := l.tab("/")
	es := l.heard(address)
	if got := l.get("/me").Body; got != "ann" {
		t.Errorf("after the first comet request the user is %s", got)
	}
	if got := l.Cookies(); len(got) != 1 || got[0].Value != cookie {
		t.Errorf("the cookies are %v, want the app's own unchanged", got)
	}
	if n := len(l.storage.keys()); n != 1 {
		t.Errorf("%d sessions in the store, want 1", n)
	}
	l.goesOn(es, token)
}

// A browser that comes without a session gets one when it gets a process, by
// the store's own cookie; logging in later keeps both.
func TestAppSessionBeginsWithAProcess(t *testing.T) {
	l := newLoginApp(t, session.Config{})
	token, address := l.tab("/")
	if len(l.storage.keys()) != 1 || len(l.Cookies()) != 1 || l.Cookies()[0].Name != "session_id" {
		t.Fatalf("sessions %v, cookies %v", l.storage.keys(), l.Cookies())
	}
	es := l.heard(address)
	l.post("/login")
	l.goesOn(es, token)
	if got := l.get("/me").Body; got != "ann" {
		t.Errorf("the user is %s", got)
	}
}

// Fiber's Get keeps a fresh id under one package-wide Locals key, where a second
// Get before Save replaces it: Comet's must not be that second one.
func TestAppSessionFreshInTheHandler(t *testing.T) {
	for name, page := range map[string]func(l *loginApp, c *fiber.Ctx, s *session.Session) error{
		"process before Save": func(l *loginApp, c *fiber.Ctx, s *session.Session) error {
			if err := l.tabs.page(c); err != nil {
				return err
			}
			s.Set("user", "bob")
			return s.Save()
		},
		"Save before process": func(l *loginApp, c *fiber.Ctx, s *session.Session) error {
			s.Set("user", "bob")
			if err := s.Save(); err != nil {
				return err
			}
			return l.tabs.page(c)
		},
		"Regenerate, process, Save": func(l *loginApp, c *fiber.Ctx, s *session.Session) error {
			if err := s.Regenerate(); err != nil {
				return err
			}
			if err := l.tabs.page(c); err != nil {
				return err
			}
			s.Set("user", "bob")
			return s.Save()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoginApp(t, session.Config{}, func(l *loginApp) {
				l.app.Get("/page", l.with(func(c *fiber.Ctx, s *session.Session) error { return page(l, c, s) }))
			})
			for _, visit := range []string{"first", "second"} {
				token, address := l.tab("/page")
				es := l.heard(address)
				if got := l.get("/me").Body; got != "bob" {
					t.Errorf("%s visit: the user is %s", visit, got)
				}
				l.goesOn(es, token)
				if n := len(l.storage.keys()); n != 1 {
					t.Errorf("%s visit: %d sessions in the store", visit, n)
				}
			}
		})
	}
}

// Regenerate: the processes go along, and reconnect under the new id.
func TestAppSessionRegenerate(t *testing.T) {
	t.Parallel()
	l := newLoginApp(t, session.Config{})
	l.post("/login")
	token, address := l.tab("/")
	es := l.heard(address)
	before := l.Cookies()[0].Value
	l.post("/regenerate")
	if l.Cookies()[0].Value == before {
		t.Fatal("the app did not regenerate")
	}
	l.goesOn(es, token)
	l.heard(address)
	time.Sleep(2500 * time.Millisecond) // past two heartbeats: there is nothing to wait for but time
	if err := l.tabs.of(token).Err(); err != nil {
		t.Errorf("the heartbeat did not follow to the new id: %v", err)
	}
}

// Destroy and Reset end the processes as the response goes out, and those of
// this session only.
func TestAppSessionLogout(t *testing.T) {
	for _, path := range []string{"/destroy", "/reset"} {
		t.Run(path, func(t *testing.T) {
			l := newLoginApp(t, session.Config{})
			l.post("/login")
			_, address := l.tab("/")
			es := l.heard(address)
			other := l.another()
			otherToken, _ := other.tab("/")
			start, lost := time.Now(), overslept(t)
			l.post(path)
			es.Expect("comet:gone", "")
			es.Ended()
			if took := time.Since(start) - lost(); took > 900*time.Millisecond {
				t.Errorf("gone came after %v, as if by the heartbeat, and %v in which nothing ran", took, lost())
			}
			if l.tabs.of(otherToken).Err() != nil {
				t.Error("another session's process ended")
			}
			token, again := l.tab("/") // the next page is a new session's
			l.goesOn(l.heard(again), token)
		})
	}
}

// A session that vanishes elsewhere is found with the heartbeat.
func TestAppSessionVanishes(t *testing.T) {
	t.Parallel()
	l := newLoginApp(t, session.Config{})
	_, address := l.tab("/")
	es := l.heard(address)
	if err := l.store.Delete(l.Cookies()[0].Value); err != nil { // as expiry and other servers do
		t.Fatal(err)
	}
	es.Expect("comet:gone", "")
	es.Ended()
}

// A record that lost its key to a Save that Comet did not see, likewise.
func TestAppSessionLosesItsKeyElsewhere(t *testing.T) {
	t.Parallel()
	l := newLoginApp(t, session.Config{})
	l.post("/login")
	old := l.storage.records[l.Cookies()[0].Value]
	_, address := l.tab("/")
	es := l.heard(address)
	if err := l.storage.Set(l.Cookies()[0].Value, old, time.Hour); err != nil {
		t.Fatal(err)
	}
	es.Expect("comet:gone", "")
}

// Save is last-write-wins: a handler that read the session before there was a
// key, and saves after, loses it. It is put back.
func TestAppSessionKeyLostToAConcurrentSave(t *testing.T) {
	reading, saving := make(chan struct{}), make(chan struct{})
	l := newLoginApp(t, session.Config{}, func(l *loginApp) {
		l.app.Post("/slow", l.with(func(c *fiber.Ctx, s *session.Session) error {
			reading <- struct{}{}
			<-saving
			s.Set("cart", "full")
			return s.Save()
		}))
	})
	l.post("/login")
	var wg sync.WaitGroup
	wg.Go(func() { l.post("/slow") })
	<-reading
	token, address := l.tab("/")
	es := l.heard(address)
	saving <- struct{}{}
	wg.Wait()
	l.goesOn(es, token)
	l.heard(address)
	if got := l.get("/me").Body; got != "ann" {
		t.Errorf("the user is %s", got)
	}
}

// The key of a session with tabs is written once, not with every page.
func TestAppSessionIsWrittenOnce(t *testing.T) {
	l := newLoginApp(t, session.Config{})
	l.post("/login")
	l.tab("/")
	before := l.storage.sets
	for range 3 {
		_, address := l.tab("/")
		l.heard(address)
	}
	if l.storage.sets != before {
		t.Errorf("three more tabs wrote %d times", l.storage.sets-before)
	}
}

// Tabs that open at once in a session without a key agree on one.
func TestAppSessionTabsOpenAtOnce(t *testing.T) {
	l := newLoginApp(t, session.Config{})
	l.post("/login")
	var wg sync.WaitGroup
	addresses := make([]string, 8)
	for i := range addresses {
		wg.Go(func() { _, addresses[i] = l.tab("/") })
	}
	wg.Wait()
	for _, address := range addresses {
		l.heard(address)
	}
}

// How long a session lasts is the app's to say, also when Comet writes it.
func TestAppSessionExpiryIsTheApps(t *testing.T) {
	l := newLoginApp(t, session.Config{}, func(l *loginApp) {
		l.app.Get("/short", l.with(func(c *fiber.Ctx, s *session.Session) error {
			if err := l.tabs.page(c); err != nil {
				return err
			}
			s.SetExpiry(90 * time.Second)
			return s.Save()
		}))
	})
	l.tab("/short")
	id := l.Cookies()[0].Value
	if got := l.storage.lives[id]; got != 90*time.Second {
		t.Errorf("the record lives %v, want what the handler set", got)
	}
}

// EndSession ends the processes and leaves the app's session to the app.
func TestAppSessionEndSession(t *testing.T) {
	l := newLoginApp(t, session.Config{})
	l.post("/login")
	_, address := l.tab("/")
	es := l.heard(address)
	l.post("/end")
	es.Expect("comet:gone", "")
	es.Ended()
	if got := l.get("/me").Body; got != "ann" {
		t.Errorf("the user is %s", got)
	}
}

// Every KeyLookup of Fiber's store works.
func TestAppSessionByHeader(t *testing.T) {
	l := newLoginApp(t, session.Config{KeyLookup: "header:X-Session"})
	id := l.post("/login").Header.Get("X-Session")
	if id == "" {
		t.Fatal("the store names no session")
	}
	named := []string{"X-Session", id}
	token, address := l.tab("/", named...)
	es := l.Listen(address, named...)
	es.Expect("mine", "hello")
	if got := l.get("/me", named...).Body; got != "ann" {
		t.Errorf("the user is %s", got)
	}
	moved := l.Do("POST", "/regenerate", "", named...).Header.Get("X-Session")
	if moved == "" || moved == id {
		t.Fatal("the app did not regenerate")
	}
	if err := l.tabs.of(token).Err(); err != nil {
		t.Fatalf("Regenerate ended the process: %v", err)
	}
	l.Listen(address, "X-Session", moved).Expect("mine", "hello")
	l.Do("POST", "/destroy", "", "X-Session", moved)
	eventually(t, "Destroy ends the process", func() bool { return l.tabs.of(token).Err() != nil })
}

func TestAppSessionByQuery(t *testing.T) {
	l := newLoginApp(t, session.Config{KeyLookup: "query:sid"})
	id := l.post("/login").Cookie("sid").Value // Fiber answers by cookie there too
	l.Forget()
	if got := l.get("/me?sid=" + id).Body; got != "ann" {
		t.Fatalf("the user is %s", got)
	}
	l.Forget()
	_, address := l.tab("/?sid=" + id)
	es := l.Listen(address + "&sid=" + id)
	es.Expect("mine", "hello") // and not gone: the session in the query was found
}

// A failing storage is not a logout.
func TestAppSessionFailingStorage(t *testing.T) {
	t.Parallel()
	l := newLoginApp(t, session.Config{})
	l.post("/login")
	token, address := l.tab("/")
	l.heard(address)
	l.storage.breakWith(errors.New("disk on fire"))
	l.heard(address) // known from memory
	time.Sleep(1500 * time.Millisecond)
	if err := l.tabs.of(token).Err(); err != nil {
		t.Errorf("the process ended: %v", err)
	}
	// A session that only the storage knows: the stream is told to come again.
	stranger := l.another()
	lost := stranger.Listen(address, "Cookie", "session_id=unknown")
	lost.Answer().Want(200) // that a native EventSource comes back after
	if state := lost.State(); state == comettest.Closed {
		t.Errorf("it does not:\n%s", lost.Transcript())
	}
	lost.Close()
	a := stranger.Do("POST", address, "pull=x", "Cookie", "session_id=unknown")
	if a.Status != 503 {
		t.Errorf("a command: %d, want 503", a.Status)
	}
	if strings.Count(l.log.String(), "disk on fire") != 1 {
		t.Errorf("the failure was not logged once:\n%s", l.log.String())
	}
	l.storage.breakWith(nil)
	if isNobody(l.get("/me")) {
		t.Error("the login is lost")
	}
}

// A process whose session could not be kept is no page to send, and has ended
// (rule 13).
func TestAppSessionThatCannotBeKept(t *testing.T) {
	var token string
	l := newLoginApp(t, session.Config{}, func(l *loginApp) {
		l.app.Get("/break", func(c *fiber.Ctx) error {
			err := l.tabs.page(c)
			token, _, _ = strings.Cut(string(c.Response().Body()), " ")
			l.storage.breakWith(errors.New("disk on fire"))
			return err
		})
	})
	a := l.Do("GET", "/break", "")
	if a.Status != 500 || !strings.Contains(a.Body, "disk on fire") {
		t.Errorf("the page came: %d %s", a.Status, a.Body)
	}
	if l.tabs.of(token).Err() == nil {
		t.Error("the process lives on")
	}
}

// A visitor whom the site refuses a process gets no session from Comet (rule 13).
func TestAppSessionOfARefusedProcess(t *testing.T) {
	storage := new(shelf)
	site := newSite(t, scope.SiteConfig{MaxSessions: 5})
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Session: session.New(session.Config{Storage: storage})}))
	app.Get("/", func(c *fiber.Ctx) error {
		_, err := middleware.ClientProcess(c)
		if errors.Is(err, scope.ErrTooMany) {
			return c.SendString("without")
		}
		return err
	})
	b := serve(t, app)
	for range 20 {
		b.Forget()
		if a := b.get("/"); (a.Body == "without") != (a.Cookie("session_id") == nil) {
			t.Errorf("%q, with the cookie %v", a.Body, a.Cookie("session_id"))
		}
	}
	if n := len(storage.keys()); n != 5 {
		t.Errorf("5 sessions are allowed, %d records are kept", n)
	}
}

// A logout elsewhere is heard within three heartbeats, also while a request of
// the session hangs (rule 13: nobody waits without a bound).
func TestAppSessionVanishesUnderARequestThatHangs(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	l := newLoginApp(t, session.Config{}, func(l *loginApp) {
		l.app.Get("/hang", func(c *fiber.Ctx) error {
			close(entered)
			<-release
			return nil
		})
	})
	_, address := l.tab("/")
	es := l.heard(address)
	var wg sync.WaitGroup
	wg.Go(func() { l.Do("GET", "/hang", "") })
	<-entered
	if err := l.store.Delete(l.Cookies()[0].Value); err != nil { // logged out elsewhere
		t.Fatal(err)
	}
	es.Expect("comet:gone", "")
	close(release)
	wg.Wait()
}

// A panic in a handler leaves nothing held: the heartbeat goes on asking.
func TestAppSessionPanicInAHandler(t *testing.T) {
	t.Parallel()
	l := newLoginApp(t, session.Config{})
	recovered := newApp(fiber.Config{ErrorHandler: tellError})
	recovered.Use(func(c *fiber.Ctx) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("recovered: %v", r)
			}
		}()
		return c.Next()
	})
	site := newSite(t, scope.SiteConfig{Heartbeat: time.Second})
	recovered.Use(middleware.New(middleware.Config{Site: site, Session: l.store}))
	recovered.Get("/", l.tabs.page)
	recovered.Get("/panic", func(c *fiber.Ctx) error { panic("on purpose") })
	b := serve(t, recovered)
	_, address := b.tab("/")
	es := b.Listen(address)
	es.Expect("mine", "hello")
	if a := b.Do("GET", "/panic", ""); !strings.Contains(a.Body, "on purpose") {
		t.Fatalf("GET /panic: %s", a.Body)
	}
	_ = l.storage.Reset()
	es.Expect("comet:gone", "")
}

// Two Comets with one store each have their own key and their own processes.
func TestAppSessionTwoComets(t *testing.T) {
	t.Parallel()
	l := newLoginApp(t, session.Config{}, func(l *loginApp) {
		// With its heartbeat it takes a session that was regenerated elsewhere for one that
		// ended, unless somebody came by the new key before: below, two requests later.
		inner := newSite(t, scope.SiteConfig{Heartbeat: 10 * time.Second})
		l.app.Use("/admin", middleware.New(middleware.Config{Site: inner, Session: l.store, Cookie: "admin"}))
		l.app.Get("/admin/page", l.tabs.page)
	})
	_, outerAddress := l.tab("/")
	_, innerAddress := l.tab("/admin/page")
	outer, inner := l.heard(outerAddress), l.heard(innerAddress)
	l.post("/regenerate") // does not pass the inner Comet, whose key goes along all the same
	again := []*comettest.Tab{l.heard(outerAddress), l.heard(innerAddress)}
	for _, es := range []*comettest.Tab{outer, inner} {
		es.Expect("comet:superseded", "")
		es.Ended()
	}
	l.post("/destroy") // nor does this: it notices with its heartbeat
	for _, es := range again {
		es.Expect("comet:gone", "")
	}
}

// Tabs that load, log in and out at once, in every order: whatever came of it,
// the next page is heard, and nobody else's is.
func TestAppSessionEverythingAtOnce(t *testing.T) {
	l := newLoginApp(t, session.Config{})
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	bystander := l.another()
	aside, asideAddress := bystander.tab("/")
	es := bystander.Listen(asideAddress)
	es.Expect("mine", "hello")
	var wg sync.WaitGroup
	for worker := range 4 {
		random := rand.New(rand.NewPCG(uint64(seed), uint64(worker)))
		wg.Go(func() {
			for range 50 {
				if op := random.IntN(7); op > 1 {
					l.post([]string{"/login", "/regenerate", "/reset", "/destroy", "/end"}[op-2])
					continue
				}
				a := l.Do("GET", "/", "") // another tab may log out while the page is made
				if a.Status != 200 && !strings.Contains(a.Body, "client process is gone") {
					t.Errorf("a page: %d %s", a.Status, a.Body)
				}
			}
		})
	}
	wg.Wait()
	token, address := l.tab("/")
	l.goesOn(l.heard(address), token)
	if err := l.tabs.of(aside).Err(); err != nil {
		t.Errorf("another session's process ended: %v", err)
	}
}
