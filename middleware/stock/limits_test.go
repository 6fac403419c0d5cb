package stock

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/limiter"

	"github.com/ocsigo/comet/middleware/stock/around"
	"github.com/ocsigo/comet/scope"
)

func open(t *testing.T, a *around.App, fields ...string) *around.Page {
	t.Helper()
	p, err := a.Open(fields...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hears(t *testing.T, p *around.Page, text string) {
	t.Helper()
	if err := p.Hears(text); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, p *around.Page) {
	t.Helper()
	if err := p.Connect(""); err != nil {
		t.Fatal(err)
	}
	if err := p.Expect("mine", "hello"); err != nil {
		t.Fatal(err)
	}
}

// TestMaxConnsPerIP: event streams count against the server's bound although
// Comet holds them, a newcomer is refused and nobody is evicted for it, and one
// that ends makes room.
func TestMaxConnsPerIP(t *testing.T) {
	a := around.Serve(t, around.Setup{Tune: func(app *fiber.App) { app.Server().MaxConnsPerIP = 2 }})
	first, second := open(t, a), open(t, a) // the connection is the event stream's then
	connect(t, first)
	connect(t, second)
	first.Cut()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = first.Connect(""); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal("there is no room after one was cut:", err)
	}
	if third, err := a.Open(); err == nil {
		t.Error("a third connection was served", third)
	}
	hears(t, second, "on")
}

// TestConcurrency: event streams do not count as requests that are served.
func TestConcurrency(t *testing.T) {
	a := around.Serve(t, around.Setup{Fiber: fiber.Config{Concurrency: 2, DisableKeepalive: true}})
	var pages []*around.Page
	for range 6 {
		p := open(t, a)
		connect(t, p)
		pages = append(pages, p)
	}
	hears(t, pages[0], "on")
}

// TestLimiterBeforeComet pins why it is warned of: an EventSource that comes back
// at the limit is answered 429, at which it gives up.
func TestLimiterBeforeComet(t *testing.T) {
	a := around.Serve(t, around.Setup{Before: []fiber.Handler{limiter.New(limiter.Config{Max: 2})}})
	p := open(t, a)
	connect(t, p)
	p.Cut()
	if err := p.Connect(""); err == nil || !strings.Contains(err.Error(), "429") {
		t.Error("the third request:", err)
	}
	a.Logged("see that limiter's Next skips the endpoint")
}

// TestServedByNetHTTP: where fiber's adaptor collects responses, an event stream
// is told to come back instead of hanging, and the log says why.
func TestServedByNetHTTP(t *testing.T) {
	a := around.Serve(t, around.Setup{})
	server := httptest.NewServer(adaptor.FiberApp(a.Fiber()))
	defer server.Close()
	for range 2 {
		resp, err := http.Get(server.URL + "/comet?v=1")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(string(body), "retry: ") {
			t.Errorf("%d %q %v", resp.StatusCode, body, err)
		}
	}
	a.Logged("serve the app by app.Listen")
}

// TestAddressesBehindAProxy: bounds by address go by the header that a trusted
// proxy sets, and by no header of anybody else; where none is set, the log says
// that all are one.
func TestAddressesBehindAProxy(t *testing.T) {
	one := scope.SiteConfig{MaxAddressStreams: 1}
	trusting := func(proxy string) fiber.Config {
		return fiber.Config{EnableTrustedProxyCheck: true, TrustedProxies: []string{proxy}, ProxyHeader: "X-Real-IP"}
	}
	for name, c := range map[string]struct {
		fiber fiber.Config
		apart bool // the two readers are two addresses
		log   string
	}{
		"trusted":     {trusting("127.0.0.1"), true, ""},
		"not trusted": {trusting("192.0.2.9"), false, ""},
		"not told":    {fiber.Config{}, false, "set fiber.Config.ProxyHeader"},
	} {
		t.Run(name, func(t *testing.T) {
			a := around.Serve(t, around.Setup{Fiber: c.fiber, Site: one})
			first := open(t, a, "X-Real-IP", "192.0.2.1", "X-Forwarded-For", "192.0.2.1")
			second := open(t, a, "X-Real-IP", "192.0.2.2", "X-Forwarded-For", "192.0.2.2")
			connect(t, first)
			if err := second.Connect(""); err != nil {
				t.Fatal(err)
			}
			if err := second.Expect("mine", "hello"); (err == nil) != c.apart {
				t.Errorf("the second reader: %v", err)
			}
			hears(t, first, "on")
			a.Logged(c.log)
		})
	}
}
