package middleware_test

import (
	"context"
	"slices"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/session"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// A bulletin is an app with a login, a channel that all hear, and a notifier.
type bulletin struct {
	*browser // its first
	site     *scope.Site
	chat     *channel.Channel[string]
	notices  *channel.Notifier[string]
}

func newBulletin(t *testing.T) *bulletin {
	b := &bulletin{site: newSite(t)}
	_, stream := channel.Push[string]()
	var err error
	if b.chat, err = channel.Create(b.site, stream, channel.Config{Name: "chat"}); err != nil {
		t.Fatal(err)
	}
	if b.notices, err = channel.Notify[string](b.site, channel.Config{Name: "notices"}); err != nil {
		t.Fatal(err)
	}
	store := session.New(session.Config{Storage: new(shelf)})
	user := func(c *fiber.Ctx) string {
		s, err := store.Get(c)
		if err != nil {
			return ""
		}
		name, _ := s.Get("user").(string)
		return name
	}
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: b.site, Session: store, User: user}))
	app.Get("/", b.page)
	app.Post("/login", func(c *fiber.Ctx) error {
		s, err := store.Get(c)
		if err != nil {
			return err
		}
		s.Set("user", c.Query("as"))
		return s.Save()
	})
	app.Post("/logout", func(c *fiber.Ctx) error {
		s, err := store.Get(c)
		if err != nil {
			return err
		}
		return s.Destroy()
	})
	b.browser = serve(t, app)
	return b
}

func (b *bulletin) page(c *fiber.Ctx) error {
	p, err := middleware.ClientProcess(c)
	if err != nil {
		return err
	}
	mine, err := b.notices.For(p)
	if err != nil {
		return err
	}
	url, err := middleware.Open(c, b.chat, mine)
	if err != nil {
		return err
	}
	return c.JSON([]string{p.Session(), url})
}

// of is a page of the browser's: its session and its event stream's URL.
func (b *bulletin) of(browser *browser) (key, url string) {
	var both []string
	if browser.get("/").JSON(&both); len(both) != 2 {
		b.t.Fatal(both)
	}
	return both[0], both[1]
}

func (b *bulletin) tell(user, text string, tabs int) {
	b.t.Helper()
	if r, err := b.notices.ToUser(b.t.Context(), user, text); err != nil || r != (channel.Reach{Tabs: tabs, Nodes: 1}) {
		b.t.Fatalf("%s to %s: %+v, %v, want %d tabs", text, user, r, err, tabs)
	}
}

// heardUntil returns the notices that come before last.
func heardUntil(tab *comettest.Tab, last string) (all []string) {
	for {
		text := comettest.Next[string](tab, "notices")
		if text == last {
			return all
		}
		all = append(all, text)
	}
}

// silentUntilGone fails the test if a notice is heard before comet:gone.
func silentUntilGone(t *testing.T, tab *comettest.Tab) {
	t.Helper()
	for e := tab.Next(); e.Name != "comet:gone"; e = tab.Next() {
		if e.Name == "notices" {
			t.Errorf("heard %s\n%s", e.Data, tab.Transcript())
		}
	}
}

// TestNotifyOverHTTP: all tabs of a user hear what is said to that user, before
// they connect and after, nobody else does, and a logout ends it.
func TestNotifyOverHTTP(t *testing.T) {
	b := newBulletin(t)
	ann, also, bob := b.browser, b.another(), b.another()
	for browser, name := range map[*browser]string{ann: "ann", also: "ann", bob: "bob"} {
		browser.Do("POST", "/login?as="+name, "").Want(200)
	}
	key, url := b.of(ann)
	b.tell("ann", "before", 1) // between page and event stream
	_, second := b.of(ann)
	_, third := b.of(also)
	_, his := b.of(bob)
	streams := []*comettest.Tab{ann.Listen(url), ann.Listen(second), also.Listen(third), bob.Listen(his)}
	want := channel.Readers{Streams: 4, Sessions: 3, Users: 2, Nodes: 1}
	eventually(t, "four readers", func() bool { return b.chat.Readers() == want })

	b.tell("ann", "hers", 3)
	b.tell("bob", "his", 1)
	if r, err := b.notices.ToSession(t.Context(), key, "session"); err != nil || r.Tabs != 2 {
		t.Fatal(r, err)
	}
	b.tell("ann", "last", 3)
	b.tell("bob", "last", 1)
	for i, want := range [][]string{{"before", "hers", "session"}, {"hers", "session"}, {"hers"}, {"his"}} {
		if got := heardUntil(streams[i], "last"); !slices.Equal(got, want) {
			t.Errorf("tab %d heard %q, want %q", i, got, want)
		}
	}

	ann.Do("POST", "/logout", "").Want(200)
	b.tell("ann", "later", 1)
	if n := b.site.Session(key).Count().Tabs; n != 0 {
		t.Errorf("%d tabs of the session that is over", n)
	}
	for _, tab := range streams[:2] {
		silentUntilGone(t, tab)
	}
}

// TestNotifyAcrossAChangeOfUser: whoever logs in in place of another, without a
// logout, does not hear what waits for that other.
func TestNotifyAcrossAChangeOfUser(t *testing.T) {
	b := newBulletin(t)
	b.Do("POST", "/login?as=ann", "")
	_, url := b.of(b.browser)
	b.Listen(url).Close()
	eventually(t, "the tab to be away", func() bool { return b.site.User("ann").Count() == scope.TabCount{Tabs: 1, Nodes: 1} })
	b.tell("ann", "secret", 1)
	b.Do("POST", "/login?as=bob", "")
	silentUntilGone(t, b.Listen(url)) // bob's
	b.tell("ann", "later", 0)
	b.tell("bob", "later", 0)
}

// TestPresenceOverHTTP: a presence channel made of who hears another.
func TestPresenceOverHTTP(t *testing.T) {
	b := newBulletin(t)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	here, err := channel.Create(b.site, channel.FromSeq(b.chat.Presence(channel.PresenceConfig{Grace: -1})), channel.Config{Name: "presence"})
	if err != nil {
		t.Fatal(err)
	}
	var changes []channel.Change
	b.Do("POST", "/login?as=ann", "")
	_, url := b.of(b.browser)
	es := b.Listen(url)
	told := func(n int) []channel.Change {
		eventually(t, "changes", func() bool {
			changes, _, err = here.Recent(ctx, 10)
			return err == nil && len(changes) == n
		})
		return changes
	}
	if got := told(1)[0]; got != (channel.Change{User: "ann", Here: true, Count: 1}) {
		t.Error(got)
	}
	es.Close()
	if got := told(2)[1]; got != (channel.Change{User: "ann"}) {
		t.Error(got)
	}
}

// TestUserPanics: a User that panics leaves no client process behind.
func TestUserPanics(t *testing.T) {
	site := newSite(t)
	app := newApp()
	app.Use(func(c *fiber.Ctx) (err error) {
		defer func() {
			if recover() != nil {
				err = fiber.ErrTeapot
			}
		}()
		return c.Next()
	})
	app.Use(middleware.New(middleware.Config{Site: site, User: func(c *fiber.Ctx) string { return c.Locals("user").(string) }}))
	app.Get("/", func(c *fiber.Ctx) error {
		_, err := middleware.ClientProcess(c)
		return err
	})
	b := serve(t, app)
	if a := b.Do("GET", "/", ""); a.Status != fiber.StatusTeapot {
		t.Error(a)
	}
	if keys := slices.Collect(site.Sessions()); len(keys) != 0 {
		t.Error(len(keys), "sessions have client processes")
	}
}
