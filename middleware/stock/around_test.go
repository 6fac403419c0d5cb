package stock

import (
	"bytes"
	"net/http"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/basicauth"
	"github.com/gofiber/fiber/v2/middleware/cache"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/csrf"
	"github.com/gofiber/fiber/v2/middleware/earlydata"
	"github.com/gofiber/fiber/v2/middleware/encryptcookie"
	"github.com/gofiber/fiber/v2/middleware/envvar"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/expvar"
	"github.com/gofiber/fiber/v2/middleware/favicon"
	"github.com/gofiber/fiber/v2/middleware/filesystem"
	"github.com/gofiber/fiber/v2/middleware/healthcheck"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/gofiber/fiber/v2/middleware/idempotency"
	"github.com/gofiber/fiber/v2/middleware/keyauth"
	"github.com/gofiber/fiber/v2/middleware/limiter"
	"github.com/gofiber/fiber/v2/middleware/logger"
	"github.com/gofiber/fiber/v2/middleware/monitor"
	"github.com/gofiber/fiber/v2/middleware/pprof"
	"github.com/gofiber/fiber/v2/middleware/proxy"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/gofiber/fiber/v2/middleware/redirect"
	"github.com/gofiber/fiber/v2/middleware/requestid"
	"github.com/gofiber/fiber/v2/middleware/rewrite"
	"github.com/gofiber/fiber/v2/middleware/session"
	"github.com/gofiber/fiber/v2/middleware/skip"
	"github.com/gofiber/fiber/v2/middleware/timeout"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/middleware/stock/around"
)

const works, warned, harms, apart = around.Works, around.Warned, around.Harms, around.Apart

const secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // of this test alone

func next(c *fiber.Ctx) error { return c.Next() }

// at has a middleware that answers everything stand at one path only, as apps
// register it.
func at(path string, handler fiber.Handler) fiber.Handler {
	return skip.New(handler, func(c *fiber.Ctx) bool { return c.Path() != path })
}

var everyTag = "${pid} ${time} ${referer} ${protocol} ${port} ${ip} ${ips} ${host} ${method} ${path} ${url} ${ua} ${latency} ${status} " +
	"${resBody} ${reqHeaders} ${queryParams} ${body} ${bytesSent} ${bytesReceived} ${route} ${error} ${reqHeader:Accept} ${respHeader:Vary} " +
	"${locals:x} ${query:v} ${form:x} ${cookie:comet}\n"

// stockMiddlewares are all of fiber v2's, by the names of their packages.
var stockMiddlewares = []around.Neighbour{
	{Name: "adaptor, of net/http middleware", Before: works, After: works, Handler: func() fiber.Handler {
		return adaptor.HTTPMiddleware(func(h http.Handler) http.Handler { return h })
	}, Note: "An app that is itself served by net/http (`adaptor.FiberApp`) has no event streams: they are told to come back, and the log says why"},
	{Name: "basicauth", Before: works, After: works, Browser: []string{"Authorization", "Basic YW5uOnNlY3JldA=="}, Handler: func() fiber.Handler {
		return basicauth.New(basicauth.Config{Users: map[string]string{"ann": "secret"}})
	}, Note: "After comet.New it guards the pages and not the endpoint; a browser sends what it was told to the EventSource's requests, too"},
	{Name: "cache", Before: warned, After: works, Log: "register comet.New first, and give cache a Next", Handler: func() fiber.Handler {
		return cache.New(cache.Config{Next: func(c *fiber.Ctx) bool { return c.Path() == "/" }})
	}, Note: "It stores whatever the response says. Register comet.New first, and give it a Next that skips pages with a client process"},
	{Name: "compress", Before: works, After: works, Handler: func() fiber.Handler { return compress.New() },
		Note: "It leaves event streams alone; `Config.Compression` compresses them"},
	{Name: "cors", Before: works, After: works, Browser: []string{"Origin", "https://app.example.com"}, Handler: func() fiber.Handler { return cors.New() },
		Note: "Other origins are let in by `Config.Origins`, with credentials; what cors lets in besides is nobody's: no session, no user, no commands"},
	{Name: "csrf", Before: harms, After: works, Log: "give csrf a Next that skips the endpoint", Handler: func() fiber.Handler { return csrf.New() },
		Remedied: func() fiber.Handler { return csrf.New(csrf.Config{Next: around.SkipEndpoint}) },
		Note:     "Before, it answers commands 403. Register comet.New first, or give it a Next that skips the endpoint: commands are guarded here"},
	{Name: "earlydata", Before: works, After: works, Handler: func() fiber.Handler { return earlydata.New() },
		Note: "It answers commands in early data 425, as it should"},
	{Name: "encryptcookie", Before: works, After: harms, Log: "rewrites Comet's cookie", Handler: func() fiber.Handler {
		return encryptcookie.New(encryptcookie.Config{Key: secret})
	}, Remedied: func() fiber.Handler {
		return encryptcookie.New(encryptcookie.Config{Key: secret, Except: []string{"comet"}})
	}, Note: "Register it before comet.New, or put `comet` into its Except"},
	{Name: "envvar", Before: works, After: works, Handler: func() fiber.Handler { return at("/envvars", envvar.New()) }, Note: "At a path of its own"},
	{Name: "etag", Before: works, After: works, Handler: func() fiber.Handler { return etag.New() }, Note: "There is no body for it to read"},
	{Name: "expvar", Before: works, After: works, Handler: func() fiber.Handler { return expvar.New() }, Note: "At a path of its own"},
	{Name: "favicon", Before: works, After: works, Handler: func() fiber.Handler { return favicon.New() }, Note: "At a path of its own"},
	{Name: "filesystem", Before: works, After: works, Handler: func() fiber.Handler {
		return filesystem.New(filesystem.Config{Root: http.Dir("testdata/public"), Next: func(c *fiber.Ctx) bool { return c.Path() == "/" }})
	}, Note: "A file that has the endpoint's name would hide it"},
	{Name: "healthcheck", Before: works, After: works, Handler: func() fiber.Handler { return healthcheck.New() }, Note: "At a path of its own"},
	{Name: "helmet", Before: works, After: works, Handler: func() fiber.Handler { return helmet.New() }, Note: "Its headers are the event stream's, too"},
	{Name: "idempotency", Before: works, After: works, Browser: []string{"X-Idempotency-Key", "00000000-0000-0000-0000-000000000000"}, Handler: func() fiber.Handler {
		return idempotency.New()
	}, Note: "A command that is repeated under its key is answered as it was"},
	{Name: "keyauth", Before: works, After: works, Browser: []string{"Cookie", "access_token=key"}, Handler: func() fiber.Handler {
		return keyauth.New(keyauth.Config{KeyLookup: "cookie:access_token", Validator: func(_ *fiber.Ctx, key string) (bool, error) { return key == "key", nil }})
	}, Note: "The key in a cookie: an EventSource sends no headers of the page's"},
	{Name: "limiter", Before: warned, After: works, Log: "register comet.New first, which has limits", Handler: func() fiber.Handler {
		return limiter.New(limiter.Config{Max: 100})
	}, Note: "Before, its 429 ends an EventSource for good. Register comet.New first, or give it a Next that skips the endpoint"},
	{Name: "logger", Before: works, After: works, Handler: func() fiber.Handler {
		return logger.New(logger.Config{Output: new(bytes.Buffer)})
	}, Note: "It logs an event stream when it begins. URLs carry tokens: see [security](security.md)"},
	{Name: "logger, every tag", Before: works, After: works, Handler: func() fiber.Handler {
		return logger.New(logger.Config{Format: everyTag, Output: new(bytes.Buffer)})
	}, Note: "`${resBody}` is a note of what the response is not, `${latency}` the time until the event stream begins"},
	{Name: "monitor", Before: works, After: works, Handler: func() fiber.Handler { return at("/metrics", monitor.New()) }, Note: "At a path of its own"},
	{Name: "pprof", Before: works, After: works, Handler: func() fiber.Handler { return pprof.New() }, Note: "At a path of its own"},
	{Name: "proxy", Before: works, After: works, Handler: func() fiber.Handler {
		return at("/elsewhere", proxy.Forward("http://127.0.0.1:9"))
	}, Note: "At a path of its own. Between a browser and Comet it holds everything back, as `comet-doctor` says"},
	{Name: "recover", Before: works, After: works, Handler: func() fiber.Handler { return recover.New() }, Note: "Event streams have their own"},
	{Name: "redirect", Before: works, After: works, Handler: func() fiber.Handler {
		return redirect.New(redirect.Config{Rules: map[string]string{"/old": "/"}, StatusCode: 301})
	}, Note: "An EventSource follows redirects"},
	{Name: "requestid", Before: works, After: works, Handler: func() fiber.Handler { return requestid.New() }, Note: "Its header is the event stream's, too"},
	{Name: "rewrite", Before: works, After: works, Handler: func() fiber.Handler {
		return rewrite.New(rewrite.Config{Rules: map[string]string{"/old": "/"}})
	}, Note: "Of other paths"},
	{Name: "rewrite, of the endpoint's path", Before: works, After: apart, Setting: around.Setup{Comet: middleware.Config{PublicPath: "/push"}}, Handler: func() fiber.Handler {
		return rewrite.New(rewrite.Config{Rules: map[string]string{"/push": "/comet"}})
	}, Note: "With `Config.PublicPath`, the path that browsers ask for"},
	{Name: "session, saved around the handlers", Before: harms, After: works, Again: true, Log: "has to stand behind comet.New", Note: "With `Config.Session`. A session that is " +
		"saved when comet.New has returned loses Comet's key: register comet.New first"},
	{Name: "skip", Before: works, After: works, Handler: func() fiber.Handler {
		return skip.New(fiber.Handler(func(c *fiber.Ctx) error { return fiber.ErrTeapot }), func(c *fiber.Ctx) bool { return c.Path() != "/tea" })
	}, Note: "A way to keep any middleware off the endpoint"},
	{Name: "timeout", Before: works, After: works, Handler: func() fiber.Handler { return timeout.NewWithContext(next, time.Second) },
		Note: "It bounds the handlers, and an event stream begins when they have returned"},
	{Name: "timeout, former", Before: works, After: works, Handler: func() fiber.Handler {
		//lint:ignore SA1019 apps have it
		return timeout.New(next, time.Minute)
	}, Note: "As before; what it gives up on, it answers 408"},
}

// settings are those of fiber.Config and of its server that concern connections
// and headers.
var settings = []around.Neighbour{
	{Name: "`WriteTimeout`, `ReadTimeout`, `IdleTimeout`", Before: works, After: apart, Test: "middleware.TestServerConfig", Note: "They do not cut an event stream; " +
		"a peer that takes nothing for 10 s is cut by Comet"},
	{Name: "`Immutable`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{Immutable: true}}, Note: "Nothing is borrowed from a request either way"},
	{Name: "`ReduceMemoryUsage`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{ReduceMemoryUsage: true}}, Note: "An idle event stream has no buffer either way"},
	{Name: "`ETag`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{ETag: true}}, Note: "As etag"},
	{Name: "`StreamRequestBody`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{StreamRequestBody: true}}, Note: "Commands are read up to `SiteConfig.MaxCommand`"},
	{Name: "`DisableKeepalive`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{DisableKeepalive: true}}, Note: "Event streams stay"},
	{Name: "`StrictRouting`, `CaseSensitive`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{StrictRouting: true, CaseSensitive: true}}, Note: "The endpoint is matched as routes are"},
	{Name: "`Concurrency`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{Concurrency: 2}}, Note: "Event streams do not count; `SiteConfig.MaxStreams` bounds them"},
	{Name: "`GETOnly`", Before: harms, After: apart, Setting: around.Setup{Fiber: fiber.Config{GETOnly: true}}, Log: "refuses every command", Note: "Commands are POSTs: leave it out"},
	{Name: "`DisableHeaderNormalizing`", Before: harms, After: apart, Setting: around.Setup{Fiber: fiber.Config{DisableHeaderNormalizing: true}}, Log: "hides the headers",
		Note: "`Last-Event-ID` as a proxy writes it is not found, and nothing is replayed: leave it out"},
	{Name: "`Server().MaxConnsPerIP`", Before: works, After: apart, Setting: around.Setup{Tune: func(app *fiber.App) { app.Server().MaxConnsPerIP = 8 }},
		Note: "Event streams count, and are parked instead of taken over. At the limit an EventSource hears 429 and gives up: prefer `SiteConfig.MaxAddressStreams`"},
	{Name: "`EnableTrustedProxyCheck`, `TrustedProxies`, `ProxyHeader`", Before: works, After: apart, Setting: around.Setup{Fiber: fiber.Config{
		EnableTrustedProxyCheck: true, TrustedProxies: []string{"127.0.0.1"}, ProxyHeader: "X-Real-IP"}},
		Browser: []string{"X-Real-IP", "192.0.2.1", "X-Forwarded-Host", "app.example.com"},
		Note:    "They decide what the address of a reader is. Use a header that the proxy sets and does not append to; where one forwards and none is set, bounds by address say so in the log"},
	{Name: "`Prefork`", Before: apart, After: apart, Test: "middleware.TestPreforkNeedsASharedEngine", Note: "Refused at start-up without an engine that processes share"},
}

// TestAround: each of fiber's middlewares, before comet.New and after it, and each
// setting works, or is named once in the log with a remedy that helps.
func TestAround(t *testing.T) {
	t.Run("middlewares", func(t *testing.T) { around.Run(t, withoutSession(stockMiddlewares)) })
	t.Run("settings", func(t *testing.T) { around.Run(t, withoutTests(settings)) })
	t.Run("session", sessionAround)
}

// withoutTests leaves out what tests of their own prove.
func withoutTests(rows []around.Neighbour) (rest []around.Neighbour) {
	for _, n := range rows {
		if n.Test == "" {
			rest = append(rest, n)
		}
	}
	return rest
}

func withoutSession(rows []around.Neighbour) (rest []around.Neighbour) {
	for _, n := range rows {
		if n.Handler != nil {
			rest = append(rest, n)
		}
	}
	return rest
}

// TestAroundIsInTheDocs: docs/around.md has these rows and no others.
func TestAroundIsInTheDocs(t *testing.T) {
	around.Table(t, "../../docs/around.md", "middleware/stock.TestAround", append(stockMiddlewares, settings...))
}

// TestAroundIsWhole: each of fiber's middlewares has a row.
func TestAroundIsWhole(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}", "github.com/gofiber/fiber/v2/middleware/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 25 {
		t.Fatal("fiber has", packages)
	}
	for _, p := range packages {
		name := path.Base(p)
		if !slices.ContainsFunc(stockMiddlewares, func(n around.Neighbour) bool { return n.Name == name || strings.HasPrefix(n.Name, name+",") }) {
			t.Errorf("%s has no row", p)
		}
	}
}

// sessionAround is the row of sessions: one that is made around the handlers and
// saved when they are done, from a copy older than theirs.
func sessionAround(t *testing.T) {
	for _, n := range stockMiddlewares {
		if n.Handler != nil {
			continue
		}
		store := session.New()
		n.Setting.Comet = middleware.Config{Session: store}
		n.Handler = func() fiber.Handler {
			return func(c *fiber.Ctx) error {
				s, err := store.Get(c)
				if err != nil {
					return err
				}
				s.Set("visited", c.Path())
				if err := c.Next(); err != nil {
					return err
				}
				return s.Save()
			}
		}
		around.Run(t, []around.Neighbour{n})
	}
}
