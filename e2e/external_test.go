package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// An instance is an app with a Comet of its own, at 127.0.0.1 and at localhost: for a browser two sites.
type instance struct {
	t    *testing.T
	site *scope.Site
	app  *fiber.App
	port string
}

// readWithin bounds how long a request takes to come: browsers hold connections ready that ask for nothing, and Fiber's Shutdown waits
// for them (docs/draining.md).
const readWithin = 5 * time.Second

// newInstance serves the app when routes has given it some, at an address that is known before: reserve's.
func newInstance(t *testing.T, addr string, config comet.Config, routes func(app *fiber.App)) *instance {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: readWithin})
	i := &instance{t: t, site: config.Site, app: app, port: port}
	i.app.Use(comet.New(config))
	routes(i.app)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- i.app.Listener(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := i.site.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := i.app.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return i
}

func (i *instance) at(host string) string { return "http://" + net.JoinHostPort(host, i.port) }

// A newsroom is the instance that has what others hear: headlines, and the newest price. It notes who asked to hear.
type newsroom struct {
	*instance
	headlines *channel.Sender[string]
	price     *channel.Sender[string]

	mu    sync.Mutex
	known map[bool]int // by whether the reader had a session
}

func newNewsroom(t *testing.T, origins ...string) *newsroom {
	t.Helper()
	n := &newsroom{known: map[bool]int{}}
	site := comet.NewSite()
	headlines, stream := channel.Push[string]()
	if _, err := channel.Create(site, stream, channel.Config{Name: "headlines", Size: 20}); err != nil {
		t.Fatal(err)
	}
	price, prices := channel.Push[string]()
	if _, err := channel.CreateNewest(site, prices, channel.NewestConfig{Name: "price"}); err != nil {
		t.Fatal(err)
	}
	n.headlines, n.price = headlines, price
	config := comet.Config{Site: site, Origins: origins, Allow: func(_ context.Context, r scope.Reader, _ string) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.known[r.Session != ""]++
		return nil
	}}
	n.instance = newInstance(t, reserve(t), config, func(app *fiber.App) {
		app.Get("/", func(c *fiber.Ctx) error { // a page of its own, by which a browser has a session here
			if _, err := comet.ClientProcess(c); err != nil {
				return err
			}
			c.Type("html")
			return c.SendString(`<!doctype html><link rel="icon" href="data:,">`)
		})
	})
	return n
}

func (n *newsroom) say(sender *channel.Sender[string], texts ...string) {
	n.t.Helper()
	for _, text := range texts {
		if err := sender.Send(context.Background(), text); err != nil {
			n.t.Fatal(err)
		}
	}
}

// readers gives how many were asked for since it was called last, with a session and without.
func (n *newsroom) readers() (known, unknown int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer clear(n.known)
	return n.known[true], n.known[false]
}

// newPaper is an app whose pages hear the newsroom's channels: the last two headlines, and the newest price.
func newPaper(t *testing.T, addr string, news *newsroom) *instance {
	url := news.at("127.0.0.1") + "/comet"
	return newInstance(t, addr, comet.Config{Site: comet.NewSite()}, func(app *fiber.App) {
		app.Get("/", func(c *fiber.Ctx) error {
			return (&room{t: t}).page(c, "", channel.External(url, "headlines", channel.ExternalConfig{History: 2}),
				channel.External(url, "price", channel.ExternalConfig{Newest: true}))
		})
	})
}

// Rule 17: a page of one origin hears another's channels with credentials, from the last ones on. A page of the same site is known
// there, one of another site is nobody; one whose origin is not named hears nothing.
func TestExternal(t *testing.T) { inWebKitToo(t, external) }

func external(t *testing.T, in string) {
	papers := reserve(t)
	_, port, _ := net.SplitHostPort(papers)
	news := newNewsroom(t, "http://127.0.0.1:"+port, "http://localhost:"+port)
	paper, unnamed := newPaper(t, papers, news), newPaper(t, reserve(t), news)
	news.say(news.headlines, "1", "2", "3")
	news.say(news.price, "p1", "p2", "p3")
	s := newSessionIn(t, in)
	s.open(news.at("127.0.0.1")) // the browser has a session there

	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			tab := s.open(paper.at(host))
			tab.t = t
			defer tab.close() // readers are asked for with every heartbeat
			tab.until(`window.ready`)
			news.readers()
			eval[bool](tab, `begin({ withCredentials: true }, "headlines", "price"), true`)
			next := map[string]string{"127.0.0.1": "4", "localhost": "5"}[host]
			last := []string{fmt.Sprint(next[0] - '0' - 2), fmt.Sprint(next[0] - '0' - 1)}
			tab.wantHeard("headlines", last...)
			tab.wantHeard("price", "p3")
			eval[bool](tab, `comet.restart(), true`)
			news.say(news.headlines, next)
			tab.wantHeard("headlines", append(last, next)...)
			tab.wantHeard("price", "p3")
			known, unknown := news.readers()
			if sameSite := host == "127.0.0.1"; (known > 0) != sameSite || (unknown > 0) == sameSite {
				t.Errorf("a page at %s was known %d times and unknown %d times", host, known, unknown)
			}
		})
	}

	tab := s.open(unnamed.at("127.0.0.1"))
	tab.expect("") // of an origin that is refused
	tab.until(`window.ready`)
	eval[bool](tab, `begin({ withCredentials: true }, "headlines"), true`)
	tab.until(`states.filter(s => s.why === "refused").length >= 2`)
	if heard := eval[int](tab, `heard.headlines.length + sources.filter(s => s.helloAt).length`); heard != 0 {
		t.Error("a page of an origin that is not named heard something")
	}
}

// Rule 17: an instance that speaks another version says so where the page can read it: an EventSource hears comet:end and does not
// come back, comet.js tells every channel and the page.
func TestExternalVersion(t *testing.T) { inEachEngine(t, externalVersion) }

func externalVersion(t *testing.T, in string) {
	papers := reserve(t)
	news := newNewsroom(t, "http://"+strings.Replace(papers, "127.0.0.1", "localhost", 1))
	paper := newPaper(t, papers, news)
	tab := newSessionIn(t, in).open(paper.at("localhost"))
	tab.until(`window.ready`)
	eval[bool](tab, `(() => {
		window.newer = url.replace("v=1", "v=2");
		window.source = new EventSource(newer, { withCredentials: true });
		window.got = [];
		for (const name of ["comet:hello", "comet:end"]) source.addEventListener(name, e => got.push(JSON.parse(e.data)));
		return newer !== url;
	})()`)
	tab.until(`source.readyState === 2`)
	if got := eval[string](tab, `JSON.stringify(got.map(({ version, reason }) => ({ version, reason })))`); got != `[{"version":1},{"reason":"version"}]` {
		t.Errorf("a plain EventSource heard %s", got)
	}
	eval[bool](tab, `(() => {
		window.comet = lib.connect(newer, { withCredentials: true });
		comet.addEventListener("error", e => failed[""] = e.error.name + " " + e.error.reason);
		hear("headlines");
		return true;
	})()`)
	tab.until(`failed[""] === "ChannelClosed version" && failed.headlines === "ChannelClosed version" && comet.state === "closed" && comet.why === "version"`)
}
