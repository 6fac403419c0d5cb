package middleware

import (
	"errors"
	"fmt"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/scope"
)

// comet is what New makes of a Config.
type comet struct {
	cfg         Config
	site        *scope.Site
	origins     origins
	sessions    sessions
	neighbours  neighbours
	probes      probes // the doctor's
	compression *wire.Compression
	asking      chan struct{} // a place each for those who wait for the session storage
}

// New returns the middleware. It serves the event stream at Config.Path, and
// lets the handlers after it use [Site], [ClientProcess], [Open] and
// [EndSession].
//
// It panics when the Config is wrong, naming every fault and its remedy; when
// the Site already belongs to another Comet; and in a child of Fiber's Prefork
// when the Site's engine is not shared between processes, for each child would
// then have channels of its own under the same names.
func New(config ...Config) fiber.Handler {
	m, err := build(config...)
	if err != nil {
		panic(fmt.Sprintf("comet.New: %v", err))
	}
	return m.handle
}

func build(config ...Config) (*comet, error) {
	cfg, err := configDefault(config...)
	err = errors.Join(err, checkPrefork(cfg.Site))
	m := &comet{
		cfg: cfg, site: cfg.Site, origins: newOrigins(cfg.Origins), neighbours: neighbours{log: cfg.Logger, cookie: cfg.Cookie},
		asking: make(chan struct{}, maxAsking),
	}
	if err == nil {
		if m.site == nil {
			m.site = scope.NewSite()
		}
		m.compression, err = wire.NewCompression(cfg.Compression...)
		m.sessions = newSessions(cfg, m.site.EndSession, &m.neighbours)
	}
	if m.site != nil {
		err = errors.Join(err, m.bind())
	}
	if err != nil {
		m.closed()
		return nil, err
	}
	return m, nil
}

func (m *comet) bind() error {
	err := m.site.Bind(scope.Hooks{
		Allow:  m.cfg.Allow,
		Alive:  m.alive,
		Retry:  m.cfg.Retry,
		Cause:  causeOf,
		Logger: m.cfg.Logger,
		Closed: m.closed,
	})
	if err != nil {
		return fmt.Errorf("bad Site: %w", err)
	}
	return nil
}

// checkPrefork refuses a site per child where the app means one site.
func checkPrefork(site *scope.Site) error {
	if !fiber.IsChild() || site != nil && beyondThisProcess(site.Engine().Caps()) {
		return nil
	}
	return errors.New("under Prefork this app runs in several processes, and the site's engine is in the memory of one, " +
		"so a message sent in one child would be lost to the tabs of all others: " +
		"set fiber.Config.Prefork to false, or give Config.Site a SiteConfig.Engine that processes share")
}

// beyondThisProcess: a memory engine is shared, too, by the nodes of a test.
func beyondThisProcess(caps engine.Caps) bool {
	return caps.Shared && caps.Durability > engine.None
}

// handle serves the endpoint, and accompanies every other request.
func (m *comet) handle(c *fiber.Ctx) error {
	if m.cfg.Next != nil && m.cfg.Next(c) {
		return c.Next()
	}
	prefix := standsAt(c)
	m.neighbours.look(c, prefix, m.cfg.Path)
	if isEndpoint(c, prefix, m.cfg.Path) {
		return m.endpoint(c)
	}
	if file, kept, ok := asset(c, prefix, m.cfg.Path); ok {
		return m.serveAsset(c, file, kept)
	}
	return m.accompany(c, prefix)
}

// accompany runs the handlers that follow with this Comet as the innermost.
func (m *comet) accompany(c *fiber.Ctx, prefix string) (err error) {
	r := &request{comet: m, outer: current(c), prefix: prefix}
	if err := r.clash(); err != nil {
		return err
	}
	m.sessions.enter(c, &r.visit)
	c.Locals(localsKey{}, r)
	left := false
	defer func() {
		if !left { // a panic: no answer to go by
			m.sessions.abandon(&r.visit)
		}
	}()
	err = c.Next()
	left = true
	if leaveErr := r.leave(c); err == nil {
		err = leaveErr
	}
	if r.outer != nil {
		c.Locals(localsKey{}, r.outer)
	}
	return err
}

func (m *comet) closed() {
	m.probes.close()
	if m.sessions != nil {
		m.sessions.close()
	}
}
