package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/session"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// A club is an app whose site channel "members" is for who is logged in, and
// "public" for all. Its page at / has a client process, the one at /list has none.
type club struct {
	*browser
	site          *scope.Site
	tabs          *tabs
	storage       *shelf
	say, announce func(string)
}

const clubHeartbeat = 2 * time.Second

// newClub serves one, with the app's own sessions or with Comet's; a login is the
// header X-User then, which stands for whatever the app does.
func newClub(t *testing.T, own bool, config middleware.Config, before ...fiber.Handler) *club {
	t.Helper()
	site := newSite(t, scope.SiteConfig{Heartbeat: clubHeartbeat})
	members, say := channelOf(t, site, "members")
	public, announce := channelOf(t, site, "public")
	storage := new(shelf)
	store := session.New(session.Config{Storage: storage})
	user := func(c *fiber.Ctx) string { return c.Get("X-User") }
	if !own {
		config.Session = store
		user = func(c *fiber.Ctx) string {
			s, err := store.Get(c)
			if err != nil {
				return ""
			}
			name, _ := s.Get("user").(string)
			return name
		}
	}
	config.Site, config.User, config.Logger = site, user, new(logbook).logger()
	config.Allow = func(_ context.Context, r scope.Reader, channel string) error {
		if channel == "members" && r.User == "" {
			return errors.New("for members")
		}
		return nil
	}
	app, tabs := newApp(fiber.Config{ErrorHandler: tellError}), new(tabs)
	for _, h := range before {
		app.Use(h)
	}
	app.Use(middleware.New(config))
	app.Get("/", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c)
		if err != nil {
			return err
		}
		tabs.add(p)
		return openPage(members, public)(c)
	})
	app.Get("/list", openPage(members, public))
	app.Post("/login", func(c *fiber.Ctx) error {
		s, err := store.Get(c)
		if err != nil {
			return err
		}
		s.Set("user", "ann")
		return s.Save()
	})
	app.Post("/logout", func(c *fiber.Ctx) error {
		if own {
			return middleware.EndSession(c)
		}
		s, err := store.Get(c)
		if err != nil {
			return err
		}
		return s.Destroy()
	})
	return &club{serve(t, app), site, tabs, storage, say, announce}
}

// TestLogoutEndsWhatAllowDecided: within one heartbeat of the logout nothing more is heard
// that was for who was logged in, with and without a client process; who comes
// back hears what is for all, and has missed none of it.
func TestLogoutEndsWhatAllowDecided(t *testing.T) {
	for _, own := range []bool{false, true} {
		for _, path := range []string{"/", "/list"} {
			t.Run(fmt.Sprintf("own %v, %s", own, path), func(t *testing.T) {
				t.Parallel()
				c := newClub(t, own, middleware.Config{})
				in := []string{"X-User", "ann"}
				if a := c.Do("POST", "/login", ""); a.Status != 200 {
					t.Fatal(a)
				}
				c.get("/", in...) // there is a session that Comet knows
				address := c.get(path, in...).Body
				es := c.Listen(address, in...)
				c.say("one")
				last := es.Expect("members", "one").ID
				start, lost := time.Now(), overslept(t)
				if a := c.Do("POST", "/logout", ""); a.Status != 200 {
					t.Fatal(a)
				}
				for _, e := range es.Rest() {
					if e.ID != "" {
						last = e.ID
					}
					if e.Name != "comet:gone" {
						t.Errorf("heard %s %s", e.Name, e.Data)
					}
				}
				if took := time.Since(start) - lost(); took > clubHeartbeat+time.Second { // a second for a machine that is busy
					t.Errorf("it ended after %v, and %v in which nothing ran", took, lost())
				}
				es.Close()
				c.say("two")
				c.announce("open to all")
				es = c.Listen(address, "Last-Event-ID", last)
				heard := map[string]string{}
				for len(heard) < 2 {
					e := es.Next()
					if e.Name == "members" {
						t.Fatalf("heard %s", e.Data)
					}
					if e.Name == "comet:closed" || e.Name == "public" {
						heard[e.Name] = string(e.Data)
					}
				}
				if !strings.Contains(heard["comet:closed"], "members") || heard["public"] != "open to all" {
					t.Error("heard", heard)
				}
			})
		}
	}
}

// TestLogoutWithoutAProcess: an app's session is kept in sight for an event stream
// of site channels when its client processes have ended, whether the app logs out
// or the session vanishes elsewhere; and is forgotten with it.
func TestLogoutWithoutAProcess(t *testing.T) {
	for name, logout := range map[string]func(c *club){
		"logout": func(c *club) { c.Do("POST", "/logout", "") },
		"vanishes": func(c *club) {
			for _, key := range c.storage.keys() {
				if err := c.storage.Delete(key); err != nil {
					c.t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClub(t, false, middleware.Config{})
			c.Do("POST", "/login", "")
			c.get("/")
			es := c.Listen(c.get("/list").Body)
			c.say("one")
			es.Expect("members", "one")
			for _, p := range c.tabs.m {
				p.Close()
			}
			logout(c)
			es.Ended()
			c.say("two")
			c.Listen(c.get("/list").Body).Expect("comet:closed", "")
		})
	}
}

// TestCheckedAgain: session and Allow are asked at every attach and every
// command, not with the heartbeat alone, which is far away here.
func TestCheckedAgain(t *testing.T) {
	site, storage := newSite(t, scope.SiteConfig{Heartbeat: time.Hour}), new(shelf)
	news, _ := channelOf(t, site, "news")
	var refused atomic.Bool
	app, tabs := newApp(fiber.Config{ErrorHandler: tellError}), new(tabs)
	app.Use(middleware.New(middleware.Config{Site: site, Storage: storage, Logger: new(logbook).logger(),
		Allow: func(context.Context, scope.Reader, string) error {
			if refused.Load() {
				return errors.New("no")
			}
			return nil
		}}))
	app.Get("/", tabs.page)
	app.Get("/news", openPage(news))
	b := serve(t, app)
	_, address := b.tab("/")
	es := b.Listen(address)
	es.Expect("mine", "hello")
	command := func() comettest.Answer { return b.Do("POST", address, "register=news") }
	if a := command(); a.Status != 200 || !strings.Contains(a.Body, "heard") {
		t.Errorf("allowed: %d %s", a.Status, a.Body)
	}
	refused.Store(true)
	if a := b.Do("POST", address, "register=news@-1"); a.Status != 200 || !strings.Contains(a.Body, "wanted") { // as what is not there
		t.Errorf("refused by Allow: %d %s", a.Status, a.Body)
	}
	b.Listen(b.get("/news").Body).Expect("comet:closed", "")
	for _, key := range storage.keys() {
		if err := storage.Delete(key); err != nil {
			t.Fatal(err)
		}
	}
	if a := command(); a.Status != 410 {
		t.Errorf("without its session: %d %s", a.Status, a.Body)
	}
	b.Listen(address).Expect("comet:gone", "")
}

// TestForeignPagesAreNobodys: the event stream of a page of another origin that Config.Origins
// does not name has no session and no user, also where an app's cors lets it be
// read; the page of a named origin has.
func TestForeignPagesAreNobodys(t *testing.T) {
	let := cors.New(cors.Config{AllowOrigins: "https://evil.example", AllowCredentials: true})
	c := newClub(t, true, middleware.Config{Origins: []string{"https://friend.example"}}, let)
	for name, test := range map[string]struct {
		fields []string
		known  bool
	}{
		"foreign":            {[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, false},
		"foreign, by old":    {[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", ""}, false},
		"sibling":            {[]string{"Origin", "https://other.example", "Sec-Fetch-Site", "same-site"}, false},
		"named":              {[]string{"Origin", "https://friend.example", "Sec-Fetch-Site", "cross-site"}, true},
		"of this origin":     {nil, true},
		"of this, by an old": {[]string{"Sec-Fetch-Site", ""}, true},
	} {
		in := append([]string{"X-User", "ann"}, test.fields...)
		es := c.Listen(c.get("/", "X-User", "ann").Body, in...)
		c.say("secret")
		want := map[bool]string{true: "members", false: "comet:closed"}[test.known]
		gone, found := false, false
		for !found {
			e := es.Next()
			if e.Name == "members" && !test.known {
				t.Fatalf("%s: heard %q %s", name, e.Name, e.Data)
			}
			gone, found = gone || e.Name == "comet:gone", e.Name == want
		}
		if !test.known && !gone {
			es.Expect("comet:gone", "")
		} else if test.known && gone {
			t.Errorf("%s: its process is gone", name)
		}
		es.Close()
	}
}

// TestLimitsEvictNobody: at each limit the newcomer is told to come back, or
// refused, and who is attached hears on.
func TestLimitsEvictNobody(t *testing.T) {
	for name, limit := range map[string]scope.SiteConfig{
		"MaxStreams":        {MaxStreams: 2},
		"MaxSessionStreams": {MaxSessionStreams: 2},
		"MaxAddressStreams": {MaxAddressStreams: 2},
		"MaxProcesses":      {MaxProcesses: 2},
		"MaxSessions":       {MaxSessions: 1},
		"MaxCommandRate":    {MaxCommandRate: 1},
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t, limit)
			chat, put := channelOf(t, site, "chat")
			app := newApp() // with Fiber's own ErrorHandler
			app.Use(middleware.New(middleware.Config{Site: site}))
			app.Get("/", func(c *fiber.Ctx) error {
				if _, err := middleware.ClientProcess(c); err != nil {
					return err
				}
				return openPage(chat)(c)
			})
			origin := listen(t, app)
			b := newBrowser(t, origin)
			var attached []*comettest.Tab
			var addresses []string
			for range 2 {
				address := b.get("/").Body
				es := b.Listen(address)
				es.Hello()
				attached, addresses = append(attached, es), append(addresses, address)
			}
			for range 20 { // newcomers
				switch name {
				case "MaxProcesses":
					if a := b.Do("GET", "/", "", "Sec-Fetch-Mode", "navigate"); a.Status != 503 {
						t.Fatalf("one too many: %d", a.Status)
					}
				case "MaxSessions":
					if a := newBrowser(t, origin).Do("GET", "/", "", "Sec-Fetch-Mode", "navigate"); a.Status != 503 {
						t.Fatalf("one too many: %d", a.Status)
					}
				case "MaxCommandRate":
					b.Do("POST", addresses[0], "register=chat")
				default:
					es := b.Listen(b.get("/").Body)
					es.Ended() // one too many heard nothing
					es.Close()
				}
			}
			if name == "MaxCommandRate" {
				a := b.Do("POST", addresses[0], "register=chat")
				if a.Status != 429 || a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, `"retry":`) {
					t.Errorf("too many commands: %d %v %s", a.Status, a.Header, a.Body)
				}
			}
			put("on")
			for _, es := range attached {
				es.Expect("chat", "on")
			}
		})
	}
}

// TestNothingSecretIsLogged: whatever goes wrong, neither a token nor a session's
// cookie or name is in the log.
func TestNothingSecretIsLogged(t *testing.T) {
	log, storage := new(logbook), new(shelf)
	everything := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
	site := newSite(t, scope.SiteConfig{MaxCommandRate: 5})
	news, _ := channelOf(t, site, "news")
	var bad atomic.Bool
	app, tabs := newApp(fiber.Config{ErrorHandler: tellError}), new(tabs)
	app.Use(middleware.New(middleware.Config{Site: site, Storage: storage, Logger: everything,
		User: func(c *fiber.Ctx) string { return c.Query("p") },
		Allow: func(context.Context, scope.Reader, string) error {
			if bad.Load() {
				panic("allow is out of order")
			}
			return nil
		}}))
	app.Get("/", tabs.page)
	app.Get("/news", openPage(news))
	b := serve(t, app)
	token, address := b.tab("/")
	otherToken, other := b.tab("/")
	b.Listen(address).Expect("mine", "hello")
	take := func(context.Context, scope.Sent) (int, error) { return 0, errors.New("the inbox is out of order") }
	if _, err := scope.Receive(tabs.of(token), scope.InboxSpec{Name: "in", Take: take}); err != nil {
		t.Fatal(err)
	}
	source, err := scope.Register(tabs.of(token), scope.Spec{Name: "source"})
	if err != nil {
		t.Fatal(err)
	}
	source.Feed().End(errors.New("the source is out of order"))
	for _, form := range []string{
		"attach=" + otherToken, "detach=" + otherToken, "attach=" + otherToken + ".x", "attach=" + token[1:], "comet=" + otherToken + "&pull=x",
		"send=in&value=1", "register=" + token, "pull=" + token, "nothing=" + token, "%", "attach=" + url.QueryEscape(otherToken),
	} {
		b.Do("POST", address, form)
	}
	bad.Store(true)
	b.Listen(b.get("/news").Body).Hello()
	b.Do("POST", other, "register=news")
	bad.Store(false)
	storage.breakWith(errors.New("the storage is out of order"))
	b.Do("GET", "/", "", "Sec-Fetch-Mode", "navigate")
	b.Do("GET", "/", "", "Comet-Process", token)
	b.Do("POST", address, "pull=x")
	b.Listen(address).Hello()
	storage.breakWith(nil)
	b.another().Listen(address).Expect("comet:gone", "") // stolen
	said := log.String()
	for _, what := range []string{"allow is out of order", "the storage is out of order", "the inbox is out of order", "the source is out of order"} {
		if !strings.Contains(said, what) {
			t.Errorf("the log does not tell that %s:\n%s", what, said)
		}
	}
	secrets := []string{token, otherToken, b.Cookies()[0].Value}
	for _, key := range storage.keys() {
		secrets = append(secrets, key[strings.LastIndex(key, ":")+1:])
	}
	for _, secret := range secrets {
		if strings.Contains(said, secret) {
			t.Errorf("the log has %s:\n%s", secret, said)
		}
	}
}
