package comettest_test

import (
	"context"
	"fmt"
	"html"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/internal/leak"
	"github.com/ocsigo/comet/scope"
)

func TestMain(m *testing.M) {
	leak.Main(m,
		"StartTimeStampUpdater",
		"github.com/valyala/fasthttp.updateServerDate",
		"github.com/valyala/fasthttp.(*workerPool).Start",
	)
}

// A line is what the room says.
type line struct {
	Text string `json:"text"`
}

// A room is a small app: a duplex site channel "chat" and, for each tab, a private
// channel "mine" and an unlimited one "count".
type room struct {
	site *scope.Site
	app  *fiber.App
	chat *channel.Duplex[line, line]
	last *scope.ClientProcess // of the page that was made last

	mu   sync.Mutex
	mine map[string]*channel.Sender[string] // by token
}

func newRoom(t testing.TB, config ...comet.SiteConfig) *room {
	t.Helper()
	r := &room{site: comet.NewSite(config...), mine: map[string]*channel.Sender[string]{}}
	var err error
	r.chat, err = channel.CreateDuplex(r.site, func(_ context.Context, said channel.Received[line]) (line, error) {
		return said.Value, nil
	}, channel.DuplexConfig[line]{Channel: channel.Config{Name: "chat", Size: 100}})
	if err != nil {
		t.Fatal(err)
	}
	r.app = fiber.New(fiber.Config{DisableStartupMessage: true})
	r.app.Use(comet.New(comet.Config{Site: r.site}))
	r.app.Get("/", r.page)
	r.app.Get("/alone", r.page)
	r.app.Get("/here", func(c *fiber.Ctx) error {
		p, err := comet.ClientProcess(c)
		if err != nil {
			return err
		}
		return c.SendString(p.Token())
	})
	r.app.Get("/elsewhere", func(c *fiber.Ctx) error { return c.Redirect("/") })
	r.app.Post("/logout", func(c *fiber.Ctx) error { return comet.EndSession(c) })
	return r
}

func (r *room) page(c *fiber.Ctx) error {
	p, err := comet.ClientProcess(c)
	if err != nil {
		return err
	}
	send, stream := channel.Push[string]()
	mine, err := channel.Create(p, stream, channel.Config{Name: "mine", Encoding: channel.Text})
	if err != nil {
		return err
	}
	n := 0
	count, err := channel.CreateUnlimited(p, channel.From(func(context.Context) (int, error) {
		n++
		return n, nil
	}), channel.UnlimitedConfig{Name: "count"})
	if err != nil {
		return err
	}
	refs := []scope.Ref{mine, count}
	if c.Path() != "/alone" {
		refs = append(refs, r.chat)
	}
	url, err := comet.Open(c, refs...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.mine[p.Token()] = p, send
	return c.SendString(`<meta name="comet" content="` + html.EscapeString(url) + `">`)
}

// say says it in the chat.
func (r *room) say(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := r.chat.Send(t.Context(), line{text}); err != nil {
			t.Error(err)
		}
	}
}

// whisper says it to one tab.
func (r *room) whisper(t testing.TB, tab *comettest.Tab, text string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.mine[tab.Token()].Send(t.Context(), text); err != nil {
		t.Error(err)
	}
}

const address = `<meta name="comet" content="([^"]*)">`

// enter opens the page, connects, and takes the first count.
func enter(b *comettest.Browser) *comettest.Tab {
	tab := b.Open("/")
	tab.Connect(tab.Page.Find(address))
	comettest.Next[int](tab, "count")
	return tab
}

// everywhere runs f in a bubble, in memory by the real clock, and over TCP.
func everywhere(t *testing.T, f func(t *testing.T, serve func(testing.TB, *fiber.App, ...*scope.Site) *comettest.App)) {
	t.Run("bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, comettest.Serve) })
	})
	t.Run("memory", func(t *testing.T) { t.Parallel(); f(t, comettest.Serve) })
	t.Run("tcp", func(t *testing.T) { t.Parallel(); f(t, comettest.ServeTCP) })
}

func wantText(t *testing.T, tab *comettest.Tab, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := comettest.Next[line](tab, "chat"); got.Text != w {
			t.Fatalf("heard %q, want %q\n%s", got.Text, w, tab.Transcript())
		}
	}
}

// A tab hears, is cut and comes back, and misses nothing.
func TestTab(t *testing.T) {
	everywhere(t, func(t *testing.T, serve func(testing.TB, *fiber.App, ...*scope.Site) *comettest.App) {
		r := newRoom(t)
		tab := enter(serve(t, r.app, r.site).Browser())
		r.say(t, "hello")
		wantText(t, tab, "hello")
		r.whisper(t, tab, "psst")
		if got := comettest.Next[string](tab, "mine", channel.Text); got != "psst" {
			t.Error(got)
		}
		if reply := tab.Pull("count"); reply.State == "" {
			t.Error(reply)
		}
		if got := comettest.Next[int](tab, "count"); got != 2 {
			t.Errorf("counted %d", got)
		}
		tab.Send("chat", line{"from the tab"}, line{"and more"})
		wantText(t, tab, "from the tab", "and more")
		tab.Cut()
		if tab.Ended() {
			t.Error("a cut is told as a clean end")
		}
		r.say(t, "missed", "and this")
		tab.Reconnect()
		wantText(t, tab, "missed", "and this")
		tab.Close()
		if status := tab.Closed(); status != 200 || tab.State() != comettest.Closed {
			t.Error(status, tab.State())
		}
	})
}

// A cut is at the byte, wherever that is, and what it left out comes again.
func TestCutAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		b := comettest.Serve(t, r.app, r.site).Browser()
		probe := enter(b)
		r.say(t, "one", "two")
		wantText(t, probe, "one", "two")
		whole := len(probe.Wire()) - 20 // numbers in it have one digit more or less
		probe.Close()
		for n := 1; n <= whole; n += 5 {
			tab := b.Open("/")
			tab.CutAfter(n)
			r.say(t, "one", "two")
			tab.Connect(tab.Page.Find(address))
			synctest.Wait()
			if got := tab.Wire(); len(got) != n {
				t.Fatalf("%d bytes came before the cut, want %d", len(got), n)
			}
			wantText(t, tab, "one", "two")
			r.say(t, "three")
			wantText(t, tab, "three")
			tab.Close()
		}
	})
}

// Retry is waited for, by the bubble's clock, and no less; Idle is longer.
func TestFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		tab := enter(comettest.Serve(t, r.app, r.site).Browser())
		tab.Nothing()
		var inactive atomic.Int32
		r.last.AfterInactive(10*time.Minute, func(error) { inactive.Add(1) })
		begin, retry := time.Now(), tab.Retry()
		tab.Cut()
		tab.Ended()
		tab.Hello()
		if took := time.Since(begin); took != retry {
			t.Errorf("back after %v, want %v", took, retry)
		}
		comettest.Next[int](tab, "count")
		tab.Idle(9 * time.Minute)
		comettest.Next[int](tab, "count")
		if inactive.Load() != 0 {
			t.Error("inactive after nine minutes")
		}
		tab.Idle(11 * time.Minute)
		r.say(t, "good morning")
		wantText(t, tab, "good morning")
		if n := inactive.Load(); n != 1 {
			t.Errorf("inactive %d times after eleven minutes", n)
		}
		time.Sleep(10 * time.Hour)
		comettest.Next[int](tab, "count")
		tab.Nothing()
	})
}

// A server that restarts sends the tab away: the tab comes back to the next one and hears what was
// lost by name.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		app := comettest.Serve(t, r.app, r.site)
		tab := enter(app.Browser())
		r.say(t, "old")
		wantText(t, tab, "old")
		next := newRoom(t)
		begin := time.Now()
		app.Restart(next.app, next.site)
		wait := tab.Away()
		if wait <= 0 || wait != tab.Retry() {
			t.Errorf("sent away for %v, and back after %v", wait, tab.Retry())
		}
		tab.Hello()
		if away := time.Since(begin); away != wait {
			t.Errorf("away for %v, and was told %v", away, wait)
		}
		next.say(t, "new")
		seen := map[string]bool{}
		for len(seen) < 3 {
			seen[tab.Next().Name] = true
		}
		if !seen["comet:full"] || !seen["comet:gone"] || !seen["chat"] {
			t.Errorf("heard %v\n%s", seen, tab.Transcript())
		}
	})
}

// Who is sent away loses nothing, and a test of something else is not told: comet:away
// is no news for a page.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, comet.SiteConfig{MaxStreamAge: time.Hour})
		tab := enter(comettest.Serve(t, r.app, r.site).Browser())
		tab.Ignore("count")
		for i := range 4 {
			r.say(t, fmt.Sprint(i))
			wantText(t, tab, fmt.Sprint(i))
			time.Sleep(time.Hour)
		}
		tab.Nothing()
		if n := strings.Count(tab.Wire(), "event: comet:away"); n < 4 {
			t.Errorf("in four hours sent away %d times, with an age of one\n%s", n, tab.Transcript())
		}
		r.say(t, "last")
		wantText(t, tab, "last")
	})
}

// The tab is an EventSource: 204 and any other answer end it for good.
func TestEndsForGood(t *testing.T) {
	everywhere(t, func(t *testing.T, serve func(testing.TB, *fiber.App, ...*scope.Site) *comettest.App) {
		r := newRoom(t)
		r.app.Get("/text", func(c *fiber.Ctx) error { return c.SendString("no stream") })
		b := serve(t, r.app, r.site).Browser()
		for path, want := range map[string]int{"/nowhere": 404, "/text": 200} {
			if got := b.Listen(path).Closed(); got != want {
				t.Errorf("%s: %d, want %d", path, got, want)
			}
		}
		for range 100 { // the answer to a reconnect may be there before Reconnect looks
			tab := b.Open("/alone")
			tab.Connect(tab.Page.Find(address))
			comettest.Next[int](tab, "count")
			b.Post("/logout", nil).Want(200)
			tab.Expect("comet:gone", "")
			if !tab.Ended() {
				t.Error("the connection was cut")
			}
			tab.Reconnect()
			if got := tab.Closed(); got != 204 {
				t.Errorf("the reconnect got %d", got)
			}
		}
	})
}

// What a tab ignores it has not heard, before or after.
func TestIgnore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		tab := enter(comettest.Serve(t, r.app, r.site).Browser())
		r.say(t, "not for us")
		r.whisper(t, tab, "but this")
		synctest.Wait()
		tab.Ignore("chat")
		r.say(t, "nor this")
		tab.Expect("mine", "but this")
		tab.Nothing()
		if !strings.Contains(tab.Transcript(), "not for us") {
			t.Error(tab.Transcript())
		}
	})
}

// Browsers are people: they have their own cookies, and processes of their own.
func TestBrowsers(t *testing.T) {
	everywhere(t, func(t *testing.T, serve func(testing.TB, *fiber.App, ...*scope.Site) *comettest.App) {
		r := newRoom(t)
		app := serve(t, r.app, r.site)
		one, other := app.Browser(), app.Browser()
		tab := enter(one)
		if got := tab.Get("/here").Want(200).Body; got != tab.Token() || got == "" {
			t.Errorf("a request of the tab is of %q, want %q", got, tab.Token())
		}
		one.Do("GET", "/here", "", "Sec-Fetch-Mode", "cors").Want(400)
		thief := other.Listen(tab.URL())
		thief.Expect("comet:gone", "")
		if len(one.Cookies()) != 1 || len(other.Cookies()) != 0 {
			t.Error(one.Cookies(), other.Cookies())
		}
		if page := other.Open("/elsewhere").Page; page.Status != 200 || len(other.Cookies()) != 1 {
			t.Error(page, other.Cookies())
		}
		if got := other.Get("/elsewhere").Want(302).Header.Get("Location"); got != "/" {
			t.Error(got)
		}
		twin := tab.Duplicate()
		tab.Expect("comet:superseded", "")
		comettest.Next[int](twin, "count")
		r.whisper(t, twin, "to the twin")
		twin.Expect("mine", "to the twin")
	})
}

// A tab that is frozen holds up the server's write, which gives up on it; when it
// goes on it comes back for the rest.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		tab := enter(comettest.Serve(t, r.app, r.site).Browser())
		tab.Stall()
		long := strings.Repeat("x", 20_000)
		r.say(t, long, long, "last")
		time.Sleep(20 * time.Second)
		tab.Nothing()
		tab.Resume()
		wantText(t, tab, long, long, "last")
		if tab.Wire() == "" || !strings.Contains(tab.Transcript(), "cut: ") {
			t.Error("the server waited for a tab that reads nothing:", tab.Transcript())
		}
	})
}

// An event stream of another origin is heard by pages of origins that it allows,
// and knows nobody's cookies.
func TestForeign(t *testing.T) {
	everywhere(t, func(t *testing.T, serve func(testing.TB, *fiber.App, ...*scope.Site) *comettest.App) {
		home, away := newRoom(t), newRoom(t)
		app := serve(t, home.app, home.site)
		page, origin := app.Browser(), app.Origin()
		var cookies string
		away.app.Get("/events", func(c *fiber.Ctx) error {
			cookies += c.Get("Cookie")
			c.Set("Access-Control-Allow-Origin", c.Query("allow"))
			c.Set("Content-Type", "text/event-stream")
			return c.SendString("data: " + c.Get("Origin") + "\n\n")
		})
		far := serve(t, away.app, away.site)
		page.Get(far.Origin() + "/").Want(200)
		for _, allow := range []string{"*", url.QueryEscape(origin)} {
			page.Listen(far.Origin()+"/events?allow="+allow).Expect("", origin)
		}
		refused := page.Listen(far.Origin() + "/events?allow=http://elsewhere.test")
		if status := refused.Closed(); status != 200 || !strings.Contains(refused.Transcript(), "is not for pages of") {
			t.Error(status, refused.Transcript())
		}
		if cookies != "" {
			t.Errorf("cookies were sent: %s", cookies)
		}
	})
}

// A tab that is offline stays away however short its retry is, and comes back at
// once; what an answer had up to its end is told together.
func TestOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		asked := 0
		app.Get("/events", func(c *fiber.Ctx) error {
			asked++
			c.Set("Content-Type", "text/event-stream")
			retry := ""
			if asked == 1 {
				retry = "retry: 1000\n" // it holds until there is another
			}
			return c.SendString(fmt.Sprintf("%sid: %d\n\ndata: %[2]d\n\nevent: more\ndata: after %s\n\n", retry, asked, c.Get("Last-Event-ID")))
		})
		tab := comettest.Serve(t, app).Browser().Listen("/events")
		if got := tab.Rest(); len(got) != 2 || string(got[0].Data) != "1" || got[1].Name != "more" || tab.Retry() != time.Second {
			t.Fatal(got, tab.Retry())
		}
		for i := 2; i < 10; i++ {
			tab.Offline()
			time.Sleep(time.Hour)
			synctest.Wait()
			if asked != i-1 || tab.State() != comettest.Connecting {
				t.Fatalf("asked %d times while offline; it is %v", asked, tab.State())
			}
			begin := time.Now()
			tab.Online()
			if n := comettest.Next[int](tab, ""); n != i || time.Since(begin) != 0 {
				t.Fatalf("heard %d after %v", n, time.Since(begin))
			}
			tab.Expect("more", fmt.Sprint("after ", i-1))
		}
		begin := time.Now()
		tab.Offline()
		tab.Online()
		tab.Ignore("more")
		comettest.Next[int](tab, "")
		if time.Since(begin) != 0 {
			t.Errorf("back after %v, want at once", time.Since(begin))
		}
		comettest.Next[int](tab, "")
		if took := time.Since(begin); took != time.Second {
			t.Errorf("back after %v, want a second", took)
		}
		synctest.Wait()
		tab.Nothing()
		tab.Offline()
		if asked != 11 {
			t.Errorf("asked %d times", asked)
		}
	})
}
