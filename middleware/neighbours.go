package middleware

import (
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"
)

// neighbours looks for what stands around this middleware and would do harm
// without a trace. Each harm is said once, with its remedy (docs/around.md).
type neighbours struct {
	log    *slog.Logger
	cookie string // the name of the cookie of Comet's own sessions
	around sync.Once
	said   [harms]atomic.Bool
}

// A harm is one that is said once.
type harm int

const (
	cacheStoredPage harm = iota
	csrfOnEndpoint
	cookieRewritten
	keyLost
	netHTTP
	addressOfProxy
	harms
)

func (n *neighbours) say(h harm, message string, args ...any) {
	if !n.said[h].Swap(true) {
		n.log.Warn("comet: "+message, args...)
	}
}

// look looks, at the first request, at how the app is made and what stands before
// this middleware on the way to the endpoint.
func (n *neighbours) look(c *fiber.Ctx, prefix, path string) {
	n.around.Do(func() {
		endpoint := prefix + path
		before := namesBefore(c.App().Stack(), c.Route(), endpoint)
		if strings.Contains(before, "/middleware/cache.New") {
			n.log.Warn("comet: fiber's cache middleware stands before comet.New and may answer in its place, "+
				"with a stored copy of an empty event stream, or of a page that belongs to somebody else: "+
				"register comet.New first, and give cache a Next that skips the endpoint and every page that uses Comet",
				"endpoint", endpoint)
		}
		if strings.Contains(before, "/middleware/limiter.") {
			n.log.Warn("comet: fiber's limiter middleware stands before comet.New; at its limit an EventSource that comes back "+
				"hears 429 and gives up for good: register comet.New first, which has limits of its own (SiteConfig), "+
				"or see that limiter's Next skips the endpoint", "endpoint", endpoint)
		}
		n.lookAtApp(c.App().Config())
	})
}

func (n *neighbours) lookAtApp(app fiber.Config) {
	if app.GETOnly {
		n.log.Warn("comet: fiber.Config.GETOnly refuses every command of a page, for those are POSTs: leave it out")
	}
	if app.DisableHeaderNormalizing {
		n.log.Warn("comet: fiber.Config.DisableHeaderNormalizing hides the headers that a proxy or a browser writes in another case, " +
			"Last-Event-ID among them, without which nothing is replayed: leave it out")
	}
}

// page looks, on a response that must not be cached, for the mark of a cache
// that stands behind and has stored it.
func (n *neighbours) page(c *fiber.Ctx) {
	if string(c.Response().Header.Peek("X-Cache")) == "miss" { // it says unreachable where its Next skips
		n.say(cacheStoredPage, "fiber's cache middleware stored a page that belongs to one client process "+
			"and will hand it to others: give cache a Next that skips it", "route", c.Route().Path)
	}
}

// endpoint looks at a request for an event stream.
func (n *neighbours) endpoint(c *fiber.Ctx, boundedByAddress bool) {
	if c.Locals("fiber.csrf.handler") != nil {
		n.say(csrfOnEndpoint, "fiber's csrf middleware refuses commands, which carry none of its tokens and are guarded "+
			"by Sec-Fetch-Site and Origin: give csrf a Next that skips the endpoint, or register comet.New first", "endpoint", c.Path())
	}
	if boundedByAddress && c.Get(fiber.HeaderXForwardedFor) != "" && c.App().Config().ProxyHeader == "" {
		n.say(addressOfProxy, "a proxy forwards requests, and all its clients count as one address: set fiber.Config.ProxyHeader to a header "+
			"that the proxy sets and does not append to, such as X-Real-IP, with EnableTrustedProxyCheck and TrustedProxies", "address", c.IP())
	}
}

// collected reports whether the response is collected by fiber's adaptor before
// any of it is sent: no event stream can begin.
func (n *neighbours) collected(c *fiber.Ctx) bool {
	conn := c.Context().Conn()
	if conn == nil || reflect.TypeOf(conn).String() != "*fasthttp.fakeAddrer" {
		return false
	}
	n.say(netHTTP, "the app is served by net/http through fiber's adaptor, which sends a response when it is whole, "+
		"so no event stream can begin: serve the app by app.Listen or app.Listener")
	return true
}

// rewritten is told that the response's cookie is not the one that was set.
func (n *neighbours) rewritten() {
	n.say(cookieRewritten, "a middleware behind comet.New, such as fiber's encryptcookie, rewrites Comet's cookie, so that no request is "+
		"known to be of its session: register it before comet.New, or except the cookie", "cookie", n.cookie)
}

// overwritten is told that a session's record lost Comet's key for good.
func (n *neighbours) overwritten() {
	n.say(keyLost, "a session was saved from a copy older than Comet's key in it, and its pages hear gone: "+
		"what saves the app's session has to stand behind comet.New, not before it")
}

// namesBefore returns the names of the handlers that run before route's own for
// requests to endpoint.
func namesBefore(stack [][]*fiber.Route, route *fiber.Route, endpoint string) string {
	for _, routes := range stack {
		var names strings.Builder
		for _, r := range routes {
			if !strings.HasPrefix(endpoint, strings.TrimRight(r.Path, "/")) {
				continue
			}
			for _, h := range r.Handlers {
				name := handlerName(h)
				if r == route && strings.Contains(name, "comet).handle") {
					return names.String()
				}
				names.WriteString(name + "\n")
			}
		}
	}
	return ""
}

func handlerName(h fiber.Handler) string {
	f := runtime.FuncForPC(reflect.ValueOf(h).Pointer())
	if f == nil {
		return ""
	}
	return f.Name()
}
