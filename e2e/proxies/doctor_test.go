package proxies

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	fiberproxy "github.com/gofiber/fiber/v2/middleware/proxy"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/doctor"
)

// heartbeat of the doctored site.
const heartbeat = 2 * time.Second

// A doctored app has comet.Doctor at /doctor, as docs/around.md tells.
type doctored struct {
	addr string
	stop func()
}

func newDoctored(t *testing.T) doctored {
	t.Helper()
	site := comet.NewSite(comet.SiteConfig{Heartbeat: heartbeat})
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true, EnableTrustedProxyCheck: true, TrustedProxies: []string{"127.0.0.1"}, ProxyHeader: "X-Real-IP",
	})
	app.Use(comet.New(comet.Config{Site: site}))
	app.All("/doctor", comet.Doctor())
	addr, stop := serve(t, app, site.Shutdown)
	t.Cleanup(stop)
	return doctored{addr, stop}
}

// serve serves app until it is stopped, once.
func serve(t *testing.T, app *fiber.App, shutdown func(context.Context) error) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, stopped := make(chan error, 1), false
	go func() { served <- app.Listener(ln) }()
	return ln.Addr().String(), func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := app.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// examine measures until there is no fault, where there is to be none, but no more than thrice: a machine that is busy may hold
// events back itself.
func examine(t *testing.T, addr string, idle, fault bool) (m doctor.Measured, found []doctor.Finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for range 3 {
		var err error
		if m, err = doctor.Check(ctx, doctor.Options{URL: "http://" + addr + "/doctor", Idle: idle}); err != nil {
			t.Fatal(err)
		}
		if found = doctor.Judge(m); fault || doctor.Healthy(found) {
			break
		}
		t.Logf("a fault: %+v", found)
	}
	return m, found
}

// documented are the configurations of docs/around.md, by their languages.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/around.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for i, part := range strings.Split(string(text), "```") {
		if language, block, ok := strings.Cut(part, "\n"); i%2 == 1 && ok {
			blocks[language] = block
		}
	}
	for _, language := range []string{"nginx", "haproxy", "caddy"} {
		if blocks[language] == "" {
			t.Fatalf("docs/around.md has no configuration for %s", language)
		}
	}
	return blocks
}

// documentedProxies are the proxies as the docs configure them.
func documentedProxies(t *testing.T) []proxy {
	of := documented(t)
	place := strings.NewReplacer("127.0.0.1:3000", "ORIGIN", "bind :80", "bind LISTEN", "app.example.com", "http://LISTEN")
	return []proxy{
		nginxWith("nginx", place.Replace(of["nginx"])),
		{name: "HAProxy", program: "haproxy", pkg: "haproxy", args: haproxyArgs, config: place.Replace(of["haproxy"])},
		{name: "Caddy", program: "caddy", pkg: "caddy", args: caddyArgs, config: caddyHead + place.Replace(of["caddy"])},
	}
}

var (
	haproxyArgs = []string{"-db", "-f", "DIR/config"}
	caddyArgs   = []string{"run", "--adapter", "caddyfile", "--config", "DIR/config"}
)

const caddyHead = "{\nadmin off\nauto_https off\n}\n"

func nginxWith(name, locations string) proxy {
	before, rest, _ := strings.Cut(nginx("1.1"), "gzip on;")
	_ = rest
	return proxy{name: name, program: "nginx", pkg: "nginx-light", args: nginxArgs, config: before + "server { listen LISTEN; " + locations + " } }"}
}

func nginxLocation(name, lines string) proxy {
	return nginxWith(name, "location / { proxy_pass http://ORIGIN; proxy_http_version 1.1; proxy_set_header Host $http_host; "+lines+" }")
}

func haproxyWith(name, defaults, listen string) proxy {
	return proxy{name: name, program: "haproxy", pkg: "haproxy", args: haproxyArgs, config: "defaults\nmode http\ntimeout connect 5s\ntimeout client 60s\n" +
		"timeout server 60s\n" + defaults + "\nlisten here\nbind LISTEN\n" + listen + "\nserver origin ORIGIN\n"}
}

func caddyWith(name, site string) proxy {
	return proxy{name: name, program: "caddy", pkg: "caddy", args: caddyArgs, config: caddyHead + "http://LISTEN {\n" + site + "\n}\n"}
}

// TestDocumentedProxies: with the lines that docs/around.md tells, the doctor finds no fault in nginx, HAProxy and Caddy, and the
// app knows who asks.
func TestDocumentedProxies(t *testing.T) {
	for _, p := range documentedProxies(t) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			m, found := examine(t, p.before(t, newDoctored(t).addr), true, false)
			if !doctor.Healthy(found) {
				t.Errorf("found %+v in %+v", found, m)
			}
			for _, f := range found {
				if !strings.Contains(f.What, "six connections") {
					t.Errorf("a note: %s", f.What)
				}
			}
			if m.Seen.Address != "127.0.0.1" || m.Seen.Forwarded["X-Real-IP"] != "127.0.0.1" {
				t.Errorf("the app saw %+v", m.Seen)
			}
		})
	}
}

// TestAwayBehindNginx: while the app is away, the documented nginx has an EventSource come back.
func TestAwayBehindNginx(t *testing.T) {
	app := newDoctored(t)
	addr := documentedProxies(t)[0].before(t, app.addr)
	app.stop()
	resp, err := http.Get("http://" + addr + "/comet?v=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || string(body) != "retry: 3000\n\n" {
		t.Errorf("%d %s %q %v", resp.StatusCode, resp.Header.Get("Content-Type"), body, err)
	}
}

// fiberForward is Fiber's own proxy middleware, which collects responses.
func fiberForward(t *testing.T, origin string) string {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.All("/doctor", func(c *fiber.Ctx) error {
		return fiberproxy.DoTimeout(c, "http://"+origin+c.OriginalURL(), 20*time.Second)
	})
	addr, stop := serve(t, app, func(context.Context) error { return nil })
	t.Cleanup(stop)
	return addr
}

// TestDoctorFinds: what a proxy does wrong is found, and so is who can mend it.
func TestDoctorFinds(t *testing.T) {
	for _, c := range []struct {
		proxy
		what  string // "" for no fault
		fault bool
		line  string // of the remedy for that proxy
	}{
		{nginxWith("nginx that buffers", "location / { proxy_pass http://ORIGIN; proxy_set_header Host $http_host; proxy_ignore_headers X-Accel-Buffering; }"), "Something buffers", true, "no proxy_ignore_headers X-Accel-Buffering"},
		{nginxWith("nginx that buffers no more", "location / { proxy_pass http://ORIGIN; proxy_set_header Host $http_host; proxy_ignore_headers X-Accel-Buffering; proxy_buffering off; }"), "", false, ""},
		{nginxLocation("nginx without Last-Event-ID", `proxy_set_header Last-Event-ID "";`), "is not sent again", true, "no proxy_set_header Last-Event-ID"},
		{nginxLocation("nginx without POST", "limit_except GET { deny all; }"), "POST was answered 403", true, "no limit_except GET"},
		{nginxLocation("nginx without patience", "proxy_read_timeout 1s;"), "was silent was cut", true, "proxy_read_timeout"},
		{nginxLocation("nginx that hides headers", "proxy_hide_header Cache-Control;"), "Cache-Control arrives", true, "no proxy_hide_header Cache-Control"},
		{nginxWith("nginx with a Host of its own", "location / { proxy_pass http://ORIGIN; proxy_http_version 1.1; }"), "one of another origin", true, "proxy_set_header Host $http_host"},
		{nginxWith("nginx with HTTP 1.0", "location / { proxy_pass http://ORIGIN; proxy_set_header Host $http_host; }"), "speaks HTTP/1.0", false, "proxy_http_version 1.1"},
		{nginxLocation("nginx that tells of the reader", "proxy_set_header X-Forwarded-For 192.0.2.7;"), "finds no address", false, "proxy_set_header X-Real-IP"},
		{nginxWith("nginx that limits", "limit_conn one 4; location / { proxy_pass http://ORIGIN; proxy_http_version 1.1; proxy_set_header Host $http_host; }"),
			"at once 4 were answered", true, "limit_conn"},
		{haproxyWith("HAProxy as it comes", "", ""), "held back", true, "option http-no-delay"},
		{haproxyWith("HAProxy told", "option http-no-delay", ""), "", false, ""},
		{haproxyWith("HAProxy without Last-Event-ID", "option http-no-delay", "http-request del-header Last-Event-ID"), "is not sent again", true, "no http-request del-header"},
		{haproxyWith("HAProxy without patience", "option http-no-delay\ntimeout server 1s", ""), "was silent was cut", true, "timeout server"},
		{haproxyWith("HAProxy that buffers", "option http-no-delay", "http-response wait-for-body time 10s"), "Something buffers", true, "no http-response wait-for-body"},
		{haproxyWith("HAProxy that compresses", "option http-no-delay\ncompression algo gzip\ncompression type text/event-stream", ""), "", false, ""}, // it heeds no-transform
		{haproxyWith("HAProxy with a Host of its own", "option http-no-delay", "http-request set-header Host other.example.com"), "one of another origin", true, "set-header Host"},
		{caddyWith("Caddy as it comes", "reverse_proxy ORIGIN"), "", false, ""},
		{caddyWith("Caddy that buffers", "reverse_proxy ORIGIN {\nbuffer_responses\n}"), "Something buffers", true, "without response_buffers"},
		{caddyWith("Caddy without Last-Event-ID", "reverse_proxy ORIGIN {\nheader_up -Last-Event-ID\n}"), "is not sent again", true, "no header_up -Last-Event-ID"},
		{caddyWith("Caddy with a Host of its own", "reverse_proxy ORIGIN {\nheader_up Host other.example.com\n}"), "", false, ""}, // X-Forwarded-Host tells
		{proxy{name: "Fiber's proxy middleware"}, "Something buffers", true, "the proxy middleware sends"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			origin, addr := newDoctored(t).addr, ""
			if c.program == "" {
				addr = fiberForward(t, origin)
			} else {
				c.config = strings.Replace(c.config, "server { listen", "limit_conn_zone $server_port zone=one:1m; server { listen", 1)
				addr = c.before(t, origin)
			}
			m, found := examine(t, addr, strings.Contains(c.what, "silent"), c.fault)
			if doctor.Healthy(found) == c.fault {
				t.Errorf("a fault: %v; found %+v in %+v", c.fault, found, m)
			}
			if c.what == "" {
				return
			}
			for _, f := range found {
				if strings.Contains(f.What, c.what) && f.Fault == c.fault {
					for _, remedy := range f.Remedies {
						if strings.Contains(remedy, c.line) {
							return
						}
					}
				}
			}
			t.Errorf("not found: %q with %q, but %+v in %+v", c.what, c.line, found, m)
		})
	}
}
