package middleware_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// tabApp is an app with a page that makes a tab at / and, at /who, one that
// tells which tab it was asked by.
func tabApp(t testing.TB, config middleware.Config) (*browser, *tabs, *scope.Site) {
	t.Helper()
	if config.Site == nil {
		config.Site = newSite(t)
	}
	s := new(tabs)
	app := newApp(fiber.Config{ErrorHandler: tellError})
	app.Use(middleware.New(config))
	app.Get("/", s.page)
	app.All("/who", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c)
		if err != nil {
			return err
		}
		return c.SendString(p.Token())
	})
	app.Get("/static", func(c *fiber.Ctx) error { return c.SendString("static") })
	return serve(t, app), s, config.Site
}

func TestTokenNamesTheTab(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	token, _ := b.tab("/")
	multipart := "--x\r\nContent-Disposition: form-data; name=\"comet\"\r\n\r\n" + token + "\r\n--x--\r\n"
	for name, a := range map[string]comettest.Answer{
		"header":             b.Do("GET", "/who", "", "Comet-Process", token, "Sec-Fetch-Mode", "cors"),
		"header, navigation": b.Do("GET", "/who", "", "Comet-Process", token),
		"form": b.Do("POST", "/who", "text=x&comet="+url.QueryEscape(token),
			"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Mode", "cors"),
		"form, navigation": b.Do("POST", "/who", "comet="+token,
			"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Mode", "navigate"),
		"multipart": b.Do("POST", "/who", multipart, "Content-Type", "multipart/form-data; boundary=x"),
	} {
		if a.Status != 200 || a.Body != token {
			t.Errorf("%s: %d %s, want %s", name, a.Status, a.Body, token)
		}
	}
	if a := b.Do("GET", "/who?comet="+token, "", "Sec-Fetch-Mode", "cors"); a.Status == 200 {
		t.Error("a token in a query, which ends up in logs and Referers, was taken")
	}
}

// Unknown, foreign and ended tokens get one answer (rule 8).
func TestTokenThatIsNotTheSessions(t *testing.T) {
	b, tabs, _ := tabApp(t, middleware.Config{})
	token, _ := b.tab("/")
	other := b.another()
	other.tab("/")
	ended, _ := b.tab("/")
	tabs.of(ended).Close()
	want := b.Do("GET", "/who", "", "Comet-Process", "AAAAAAAAAAAAAAAAAAAAAA")
	if !strings.Contains(want.Body, scope.ErrNoProcess.Error()) {
		t.Fatalf("an unknown token: %s", want.Body)
	}
	for name, a := range map[string]comettest.Answer{
		"foreign":    other.Do("GET", "/who", "", "Comet-Process", token),
		"no session": b.another().Do("GET", "/who", "", "Comet-Process", token),
		"ended":      b.Do("GET", "/who", "", "Comet-Process", ended),
	} {
		if a.Status != want.Status || a.Body != want.Body {
			t.Errorf("%s: %d %q, want as unknown: %d %q", name, a.Status, a.Body, want.Status, want.Body)
		}
	}
}

func TestOnlyNavigationsMint(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	for mode, mints := range map[string]bool{
		"navigate": true, "": true, "cors": false, "no-cors": false, "same-origin": false, "websocket": false,
	} {
		var fields []string
		if mode != "" {
			fields = []string{"Sec-Fetch-Mode", mode}
		}
		a := b.another().Do("GET", "/who", "", fields...)
		switch {
		case mints && (a.Status != 200 || a.Cookie("comet") == nil):
			t.Errorf("mode %q: %d %s, want a process and a cookie", mode, a.Status, a.Body)
		case !mints && (!strings.Contains(a.Body, "Comet-Process") || a.Cookie("comet") != nil):
			t.Errorf("mode %q: %s, want ErrNoProcess with the remedy, and no cookie", mode, a.Body)
		}
	}
}

func TestOneProcessARequest(t *testing.T) {
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: newSite(t)}))
	app.Get("/", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c)
		if q, again := middleware.ClientProcess(c); q != p || again != err || err != nil {
			t.Errorf("two answers in one request: %v %v, %v %v", p, err, q, again)
		}
		return nil
	})
	serve(t, app).get("/")
}

// The private channels of a page come with its process, and only then.
func TestOpenIncludesTheProcessOfTheRequest(t *testing.T) {
	site := newSite(t)
	chat, put := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site}))
	var s tabs
	app.Get("/private", s.page)
	app.Get("/public", openPage(chat))
	b := serve(t, app)

	token, address := b.tab("/private")
	if !strings.Contains(address, token) {
		t.Errorf("the address %s does not name the process %s", address, token)
	}
	b.Listen(address).Expect("mine", "hello")

	a := b.get("/public")
	if strings.Contains(a.Body, "p=") {
		t.Errorf("the address %s names a process, without ClientProcess", a.Body)
	}
	if got := a.Header.Get("Cache-Control"); got != "" {
		t.Errorf("a page without a process has Cache-Control %q", got)
	}
	put("heard")
	b.Listen(a.Body).Expect("chat", "heard")
}

// A page with a process is not stored, whatever the app says later: Back would
// bring it up again with the process of the first visit.
func TestPageWithAProcessIsNotStored(t *testing.T) {
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: newSite(t)}))
	app.Get("/", func(c *fiber.Ctx) error {
		_, err := middleware.ClientProcess(c)
		c.Set("Cache-Control", "public, max-age=3600")
		return err
	})
	if got := serve(t, app).get("/").Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestRefOfAnotherProcessIsRefused(t *testing.T) {
	b, tabs, _ := tabApp(t, middleware.Config{})
	token, _ := b.tab("/")
	h, err := scope.Register(tabs.of(token), scope.Spec{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(fiber.Config{ErrorHandler: tellError})
	app.Use(middleware.New(middleware.Config{Site: newSite(t)}))
	app.Get("/", openPage(h))
	if a := serve(t, app).Do("GET", "/", ""); !strings.Contains(a.Body, scope.ErrBadRef.Error()) {
		t.Errorf("Open said %s", a.Body)
	}
}

// 50 attached tabs are enough; detached ones make room (rule 10).
func TestTooManyTabs(t *testing.T) {
	site := newSite(t, scope.SiteConfig{MaxProcesses: 2})
	b, _, _ := tabApp(t, middleware.Config{Site: site})
	for range 2 {
		_, address := b.tab("/")
		b.Listen(address).Expect("mine", "hello")
	}
	if a := b.Do("GET", "/", ""); !strings.Contains(a.Body, scope.ErrTooMany.Error()) {
		t.Errorf("the third attached tab: %d %s", a.Status, a.Body)
	}
	b.another().tab("/") // another session has its own
}

func TestWithoutTheMiddleware(t *testing.T) {
	app := newApp()
	app.Get("/", func(c *fiber.Ctx) error {
		_, processErr := middleware.ClientProcess(c)
		_, openErr := middleware.Open(c)
		for _, err := range []error{processErr, openErr, middleware.EndSession(c)} {
			if !errors.Is(err, middleware.ErrNotInstalled) || !strings.Contains(err.Error(), "app.Use(comet.New())") {
				t.Errorf("got %v, want the remedy", err)
			}
		}
		defer func() {
			if r := fmt.Sprint(recover()); !strings.Contains(r, "app.Use(comet.New())") {
				t.Errorf("Site panicked with %s, want the remedy", r)
			}
		}()
		middleware.Site(c)
		return nil
	})
	serve(t, app).Do("GET", "/", "")
}

func TestNextSkips(t *testing.T) {
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: newSite(t), Next: func(c *fiber.Ctx) bool { return c.Path() != "/with" }}))
	app.Get("/+", func(c *fiber.Ctx) error {
		_, err := middleware.ClientProcess(c)
		return c.SendString(fmt.Sprint(errors.Is(err, middleware.ErrNotInstalled)))
	})
	b := serve(t, app)
	if b.get("/with").Body != "false" || b.get("/without").Body != "true" {
		t.Error("Next was not asked")
	}
	if a := b.Do("GET", "/comet", ""); a.Header.Get("Content-Type") == "text/event-stream" {
		t.Error("the endpoint is not skipped")
	}
}

// Eliom's scope hierarchies: the innermost answers, and each by its site.
func TestTwoComets(t *testing.T) {
	outer, inner := newSite(t), newSite(t)
	outerChat, outerPut := channelOf(t, outer, "news")
	innerChat, innerPut := channelOf(t, inner, "chat")
	app := newApp(fiber.Config{ErrorHandler: tellError})
	app.Use(middleware.New(middleware.Config{Site: outer}))
	app.Use("/admin", middleware.New(middleware.Config{Site: inner, Cookie: "admin"}))
	siteName := map[*scope.Site]string{outer: "outer", inner: "inner"}
	app.Get("/admin/page", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c)
		if err != nil {
			return err
		}
		named, err := middleware.ClientProcess(c, outer)
		if err != nil {
			return err
		}
		own, err := middleware.Open(c, innerChat)
		if err != nil {
			return err
		}
		others, err := middleware.Open(c, outerChat)
		if err != nil {
			return err
		}
		_, mixed := middleware.Open(c, innerChat, outerChat)
		return c.SendString(strings.Join([]string{siteName[middleware.Site(c)], siteName[p.Site()], siteName[named.Site()],
			fmt.Sprint(errors.Is(mixed, scope.ErrBadRef)), own, others}, " "))
	})
	app.Get("/page", func(c *fiber.Ctx) error {
		_, err := middleware.ClientProcess(c, inner)
		return c.SendString(siteName[middleware.Site(c)] + " " + fmt.Sprint(errors.Is(err, middleware.ErrNotInstalled)))
	})
	b := serve(t, app)
	if got := b.get("/page").Body; got != "outer true" {
		t.Errorf("outside the inner Comet: %s", got)
	}
	a := b.get("/admin/page")
	got := strings.Fields(a.Body)
	if len(got) != 6 || strings.Join(got[:4], " ") != "inner inner outer true" {
		t.Fatalf("within both: %s", a.Body)
	}
	if a.Cookie("comet") == nil || a.Cookie("admin") == nil {
		t.Error("each Comet has a cookie of its own")
	}
	if !strings.HasPrefix(got[4], "/admin/comet?") || !strings.HasPrefix(got[5], "/comet?") {
		t.Errorf("addresses %s and %s", got[4], got[5])
	}
	innerPut("in")
	outerPut("out")
	b.Listen(got[4]).Expect("chat", "in")
	b.Listen(got[5]).Expect("news", "out")
}

func TestTwoCometsAtOnePathAreRefused(t *testing.T) {
	app := newApp(fiber.Config{ErrorHandler: tellError})
	app.Use(middleware.New(middleware.Config{Site: newSite(t)}), middleware.New(middleware.Config{Site: newSite(t)}))
	app.Get("/", func(c *fiber.Ctx) error { return nil })
	if a := serve(t, app).Do("GET", "/", ""); !strings.Contains(a.Body, "two Comets serve /comet: give one") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// After the inner Comet the outer one is the innermost again, also for what an
// error handler asks.
func TestNestingUnwinds(t *testing.T) {
	outer, inner := newSite(t), newSite(t)
	app := newApp(fiber.Config{ErrorHandler: func(c *fiber.Ctx, err error) error {
		if middleware.Site(c) != outer {
			t.Error("the error handler is not in the outer Comet")
		}
		p, mintErr := middleware.ClientProcess(c)
		if mintErr != nil {
			t.Error(mintErr)
			return mintErr
		}
		return c.SendString(p.Token())
	}})
	app.Use(middleware.New(middleware.Config{Site: outer}), func(c *fiber.Ctx) error {
		err := c.Next()
		if middleware.Site(c) != outer {
			t.Error("after Next the inner Comet is still there")
		}
		return err
	}, middleware.New(middleware.Config{Site: inner, Path: "/inner"}))
	app.Get("/", func(c *fiber.Ctx) error {
		if middleware.Site(c) != inner {
			t.Error("the handler is not in the inner Comet")
		}
		return io.ErrUnexpectedEOF
	})
	if a := serve(t, app).get("/"); a.Header.Get("Cache-Control") != "no-store" || a.Cookie("comet") == nil {
		t.Errorf("the error page: %v", a.Header)
	}
}

// What stands in the Locals is closed by fasthttp if it can be.
func TestNothingInTheLocalsIsACloser(t *testing.T) {
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: newSite(t)}))
	app.Get("/", func(c *fiber.Ctx) error {
		c.Context().VisitUserValuesAll(func(key, value any) {
			if _, ok := value.(io.Closer); ok {
				t.Errorf("Locals %T: %T has a Close method", key, value)
			}
		})
		return nil
	})
	serve(t, app).get("/")
}

// comet.New() alone has a site of its own.
func TestCometAlone(t *testing.T) {
	var site *scope.Site
	app := newApp()
	app.Use(middleware.New())
	app.Get("/", func(c *fiber.Ctx) error {
		site = middleware.Site(c)
		address, err := middleware.Open(c)
		if err != nil {
			return err
		}
		return c.SendString(address)
	})
	b := serve(t, app)
	t.Cleanup(func() { shutdown(t, site) })
	if a := b.get("/"); !strings.HasPrefix(a.Body, "/comet") {
		t.Errorf("Open gave %s", a.Body)
	}
	if a := b.Do("HEAD", "/comet", ""); a.Status != http.StatusOK {
		t.Errorf("HEAD: %d", a.Status)
	}
}
