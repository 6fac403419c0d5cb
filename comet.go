package comet

import (
	"log/slog"
	"net"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// Config says where Comet stands in an app.
type Config = middleware.Config

// ConfigDefault is the default config.
var ConfigDefault = middleware.ConfigDefault

// SiteConfig says how a site works: its engine, its lifetimes, its bounds.
type SiteConfig = scope.SiteConfig

// Reader says who hears, to Config.Allow.
type Reader = scope.Reader

// What the functions of this package and of package channel answer; compare with
// errors.Is.
var (
	// ErrNotInstalled: comet.New does not stand before the route.
	ErrNotInstalled = middleware.ErrNotInstalled
	// ErrNoProcess: the request belongs to no client process of its session.
	ErrNoProcess = scope.ErrNoProcess
	// ErrElsewhere: the request belongs to a client process of another node.
	ErrElsewhere = scope.ErrElsewhere
	// ErrProcessGone: the client process has ended.
	ErrProcessGone = scope.ErrProcessGone
	// ErrTooMany: a bound of the SiteConfig is reached.
	ErrTooMany = scope.ErrTooMany
	// ErrBadRef: a ref cannot be heard by the event stream it was given to.
	ErrBadRef = scope.ErrBadRef
	// ErrTooLong: the event stream's address would leave no room for cookies.
	ErrTooLong = scope.ErrTooLong
	// ErrShutdown: the site was shut down.
	ErrShutdown = scope.ErrShutdown
)

// New returns the middleware: see [middleware.New].
func New(config ...Config) fiber.Handler { return middleware.New(config...) }

// NewSite returns a site of its own lifetimes and bounds: see [scope.NewSite].
func NewSite(config ...SiteConfig) *scope.Site { return scope.NewSite(config...) }

// ReadyConfig says how Ready answers.
type ReadyConfig = middleware.ReadyConfig

// Ready returns a handler for a load balancer's readiness probe: see
// [middleware.Ready].
func Ready(site *scope.Site, config ...ReadyConfig) fiber.Handler {
	return middleware.Ready(site, config...)
}

// Site returns the site that serves the request: see [middleware.Site].
func Site(c *fiber.Ctx) *scope.Site { return middleware.Site(c) }

// ClientProcess returns the client process, one tab's page, that the request
// belongs to: see [middleware.ClientProcess].
func ClientProcess(c *fiber.Ctx, site ...*scope.Site) (*scope.ClientProcess, error) {
	return middleware.ClientProcess(c, site...)
}

// Open returns the address of an event stream that hears refs: see
// [middleware.Open].
func Open(c *fiber.Ctx, refs ...scope.Ref) (string, error) { return middleware.Open(c, refs...) }

// Scripts returns the directory from which a page imports comet.js: see
// [middleware.Scripts].
func Scripts(c *fiber.Ctx, site ...*scope.Site) (string, error) {
	return middleware.Scripts(c, site...)
}

// EndSession ends the session of the request and its client processes: see
// [middleware.EndSession].
func EndSession(c *fiber.Ctx, site ...*scope.Site) error { return middleware.EndSession(c, site...) }

// Listener returns ln for app.Listener, with an Accept that waits out what passes, as
// when no descriptor is left: see [middleware.Listener].
func Listener(ln net.Listener, log ...*slog.Logger) net.Listener {
	return middleware.Listener(ln, log...)
}

// Doctor returns a handler that proves whether event streams arrive through
// whatever lies before the app: see [middleware.Doctor].
func Doctor() fiber.Handler { return middleware.Doctor() }

// Inspect returns a handler that shows site live, for the app to put behind its own
// authorization: see [middleware.Inspect].
func Inspect(site *scope.Site) fiber.Handler { return middleware.Inspect(site) }
