package middleware_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

func TestCookieAndRecordComeWithAProcess(t *testing.T) {
	storage := new(shelf)
	b, _, _ := tabApp(t, middleware.Config{Storage: storage, SessionLife: time.Hour})
	if a := b.get("/static"); a.Cookie("comet") != nil || len(storage.keys()) != 0 {
		t.Fatalf("a page without a process set %v and %v", a.Header, storage.keys())
	}
	c := b.get("/").Cookie("comet")
	if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Secure ||
		c.MaxAge < 3590 || c.MaxAge > 3600 || len(c.Value) != 22 {
		t.Fatalf("the cookie is %v", c)
	}
	keys := storage.keys()
	if len(keys) != 1 || !strings.HasPrefix(keys[0], "comet:comet:") || storage.lives[keys[0]] != time.Hour {
		t.Fatalf("records %v", keys)
	}
	if strings.Contains(keys[0], c.Value) {
		t.Error("who reads the storage can make the cookie")
	}
	if a := b.get("/"); a.Cookie("comet") != nil || storage.sets != 1 {
		t.Errorf("the second page set %v, with %d writes", a.Header, storage.sets)
	}
}

// A visitor whom the site refuses a process leaves no record and gets no cookie:
// records do not outgrow MaxSessions (rule 13).
func TestRefusedProcessLeavesNoRecord(t *testing.T) {
	storage := new(shelf)
	b, _, _ := tabApp(t, middleware.Config{Storage: storage, Site: newSite(t, scope.SiteConfig{MaxSessions: 5})})
	for range 20 {
		b.Forget()
		a := b.Do("GET", "/", "", "Sec-Fetch-Mode", "navigate")
		if made := a.Status == http.StatusOK; made != (a.Cookie("comet") != nil) {
			t.Errorf("%d %s, with the cookie %v", a.Status, a.Body, a.Cookie("comet"))
		}
	}
	if n := len(storage.keys()); n != 5 {
		t.Errorf("5 sessions are allowed, %d records are kept", n)
	}
}

// A process whose record cannot be written does not stay behind (rule 13).
func TestProcessWithoutRecordIsEnded(t *testing.T) {
	storage := new(shelf)
	b, _, _ := tabApp(t, middleware.Config{Storage: storage, Site: newSite(t, scope.SiteConfig{MaxSessions: 1})})
	storage.breakWith(errors.New("disk on fire"))
	if a := b.Do("GET", "/", ""); a.Status != 500 || !strings.Contains(a.Body, "disk on fire") || a.Cookie("comet") != nil {
		t.Fatalf("a session that cannot be kept: %d %s, cookie %v", a.Status, a.Body, a.Cookie("comet"))
	}
	storage.breakWith(nil)
	b.tab("/") // the one place is free
}

// A page of two Comets that share a cookie has one session id, whose both
// streams are heard.
func TestPageOfTwoCometsBeginsOneSession(t *testing.T) {
	outer, inner := newSite(t), newSite(t)
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: outer}))
	app.Use(middleware.New(middleware.Config{Site: inner, Path: "/inner"}))
	app.Get("/", func(c *fiber.Ctx) error {
		in, innerErr := middleware.ClientProcess(c)
		out, outerErr := middleware.ClientProcess(c, outer)
		if err := errors.Join(innerErr, outerErr); err != nil {
			return err
		}
		return c.SendString(in.Token() + " " + out.Token())
	})
	app.Get("/who", func(c *fiber.Ctx) error {
		site := inner
		if c.Query("site") == "outer" {
			site = outer
		}
		p, err := middleware.ClientProcess(c, site)
		if err != nil {
			return err
		}
		return c.SendString(p.Token())
	})
	b := serve(t, app)
	in, out, _ := strings.Cut(b.get("/").Body, " ")
	for site, token := range map[string]string{"inner": in, "outer": out} {
		if a := b.Do("GET", "/who?site="+site, "", "Comet-Process", token); a.Body != token {
			t.Errorf("the %s Comet says: %d %s", site, a.Status, a.Body)
		}
	}
}

// A proxy that takes TLS off says so, and Fiber's app decides whether to
// believe it.
func TestCookieIsSecureUnderTLS(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	if c := b.get("/", "X-Forwarded-Proto", "https").Cookie("comet"); c == nil || !c.Secure {
		t.Errorf("the cookie is %v", c)
	}
}

func TestCookieThatIsNoneOfOursIsReplaced(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	for _, value := range []string{"", "x", strings.Repeat("A", 21), strings.Repeat("A", 23), strings.Repeat("!", 22)} {
		a := b.another().get("/", "Cookie", "comet="+value)
		if c := a.Cookie("comet"); c == nil || c.Value == value {
			t.Errorf("cookie %q was kept", value)
		}
	}
}

// Two apps on one host share the browser's cookies, for these know no port: they
// must not take each other's sessions away.
func TestTwoAppsOnOneHost(t *testing.T) {
	one, _, _ := tabApp(t, middleware.Config{})
	two, _, _ := tabApp(t, middleware.Config{})
	token, _ := one.tab("/")
	cookie := one.Cookies()[0].Value
	one.tab(two.App().Origin() + "/")
	if got := one.Cookies(); len(got) != 1 || got[0].Value != cookie {
		t.Fatalf("the second app replaced the first one's cookie: %v", got)
	}
	if a := one.Do("GET", "/who", "", "Comet-Process", token); a.Body != token {
		t.Errorf("after a visit to the second app, the first says %s", a.Body)
	}
}

// Requests extend a session, once a tenth of its life is over; an event stream
// does not.
func TestRequestsExtendTheSession(t *testing.T) {
	storage := new(shelf)
	b, _, _ := tabApp(t, middleware.Config{Storage: storage, SessionLife: 2 * time.Second})
	token, address := b.tab("/")
	record := storage.keys()[0]
	age := func() { // as if all but a second of it were over
		storage.mu.Lock()
		defer storage.mu.Unlock()
		soon := time.Now().Add(time.Second).UnixMilli()
		storage.records[record] = []byte(itoa(soon))
	}
	for name, request := range map[string]func() comettest.Answer{
		"page":    func() comettest.Answer { return b.get("/") },
		"token":   func() comettest.Answer { return b.Do("GET", "/who", "", "Comet-Process", token) },
		"command": func() comettest.Answer { return b.Do("POST", address, "detach=x") },
	} {
		age()
		before := storage.sets
		if a := request(); a.Cookie("comet") == nil || storage.sets != before+1 {
			t.Errorf("%s: %d %v, %d writes: the session was not extended", name, a.Status, a.Header, storage.sets-before)
		}
	}
	age()
	before := storage.sets
	es := b.Listen(address)
	es.Expect("mine", "hello")
	if es.Answer().Header.Get("Set-Cookie") != "" || storage.sets != before {
		t.Error("an event stream extended the session")
	}
}

func itoa(n int64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// An expired session is no session: its pages hear gone (rule 8).
func TestExpiredSession(t *testing.T) {
	storage := new(shelf)
	b, _, _ := tabApp(t, middleware.Config{Storage: storage})
	token, address := b.tab("/")
	record := storage.keys()[0]
	_ = storage.Set(record, []byte("1000"), 0) // long ago
	if a := b.Do("GET", "/who", "", "Comet-Process", token); !strings.Contains(a.Body, scope.ErrNoProcess.Error()) {
		t.Errorf("the token still names the process: %s", a.Body)
	}
	b.Listen(address).Expect("comet:gone", "")
}

// A record that vanishes ends the session's streams with the heartbeat.
func TestVanishedRecordEndsStreams(t *testing.T) {
	t.Parallel()
	storage := new(shelf)
	b, _, _ := tabApp(t, middleware.Config{Storage: storage, Site: newSite(t, scope.SiteConfig{Heartbeat: time.Second})})
	_, address := b.tab("/")
	es := b.Listen(address)
	es.Expect("mine", "hello")
	_ = storage.Reset()
	es.Expect("comet:gone", "")
	es.Ended()
}

// A failing storage is not a logout; it is an error where something new has to
// be kept.
func TestFailingStorageIsNoLogout(t *testing.T) {
	t.Parallel()
	storage, log := new(shelf), new(logbook)
	b, tabs, _ := tabApp(t, middleware.Config{
		Storage: storage, Logger: log.logger(), Site: newSite(t, scope.SiteConfig{Heartbeat: time.Second}),
	})
	token, address := b.tab("/")
	es := b.Listen(address)
	es.Expect("mine", "hello")
	storage.breakWith(errors.New("disk on fire"))
	if a := b.Do("GET", "/who", "", "Comet-Process", token); a.Body != token {
		t.Errorf("with a broken storage the token names %s", a.Body)
	}
	if a := b.another().Do("GET", "/", ""); a.Status != 500 || !strings.Contains(a.Body, "disk on fire") {
		t.Errorf("a new session that cannot be kept: %d %s", a.Status, a.Body)
	}
	time.Sleep(1500 * time.Millisecond) // past a heartbeat: there is nothing to wait for but time
	if err := tabs.of(token).Err(); err != nil {
		t.Errorf("the process ended: %v", err)
	}
	b.Listen(address).Expect("mine", "hello") // a new connection, too
	if n := strings.Count(log.String(), "disk on fire"); n != 1 {
		t.Errorf("the failure was logged %d times, want once a minute:\n%s", n, log.String())
	}
}

func TestEndSession(t *testing.T) {
	storage := new(shelf)
	site := newSite(t)
	tabs := new(tabs)
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Storage: storage}))
	app.Get("/", tabs.page)
	app.Post("/logout", func(c *fiber.Ctx) error { return middleware.EndSession(c) })
	b := serve(t, app)
	other := b.another()
	_, address := b.tab("/")
	otherToken, otherAddress := other.tab("/")
	es, otherStream := b.Listen(address), other.Listen(otherAddress)
	es.Expect("mine", "hello")
	otherStream.Expect("mine", "hello")
	old := b.Cookies()[0].Value

	a := b.Do("POST", "/logout", "")
	if c := a.Cookie("comet"); c == nil || c.Value != "" || len(b.Cookies()) != 0 {
		t.Errorf("the cookie stays: %v", a.Header)
	}
	es.Expect("comet:gone", "")
	es.Ended()
	if len(storage.keys()) != 1 {
		t.Errorf("records %v, want the other session's", storage.keys())
	}
	if tabs.of(otherToken).Err() != nil {
		t.Error("another session's process ended")
	}
	if b.get("/"); b.Cookies()[0].Value == old {
		t.Error("after a logout the session is the old one")
	}
}

// Logging out ends the session with every Comet on the way, also where they
// share a cookie; naming a site ends it there. A page that is made in the same
// request begins a new session.
func TestEndSessionOfNestedComets(t *testing.T) {
	outer, inner := newSite(t), newSite(t)
	tabs := new(tabs)
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: outer}))
	app.Get("/outer", tabs.page)
	app.Use(middleware.New(middleware.Config{Site: inner, Path: "/inner"}))
	app.Get("/inner/page", tabs.page)
	app.Post("/logout", func(c *fiber.Ctx) error {
		if err := middleware.EndSession(c); err != nil {
			return err
		}
		return tabs.page(c)
	})
	app.Post("/leave", func(c *fiber.Ctx) error { return middleware.EndSession(c, inner) })
	b := serve(t, app)
	pages := func() (o, i *scope.ClientProcess) {
		outerToken, _ := b.tab("/outer")
		innerToken, _ := b.tab("/inner/page")
		return tabs.of(outerToken), tabs.of(innerToken)
	}

	o, i := pages()
	b.Do("POST", "/leave", "")
	if o.Err() != nil || i.Err() == nil {
		t.Errorf("the inner site was named: outer %v, inner %v", o.Err(), i.Err())
	}
	o, i = pages()
	token, _, _ := strings.Cut(b.Do("POST", "/logout", "").Body, " ")
	if o.Err() == nil || i.Err() == nil {
		t.Errorf("no site was named: outer %v, inner %v", o.Err(), i.Err())
	}
	p := tabs.of(token)
	if p == nil || p.Err() != nil || p.Session() == i.Session() {
		t.Errorf("the page of the same request: %v", p)
	}
}

// A browser without cookies hears gone, and its reconnect a 204: no loop.
func TestCookiesRefused(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	_, address := b.tab("/")
	b.Forget()
	es := b.Listen(address)
	es.Expect("comet:gone", "")
	es.Ended()
	es.Reconnect()
	if status := es.Closed(); status != http.StatusNoContent {
		t.Errorf("the reconnect got %d, want 204", status)
	}
}
