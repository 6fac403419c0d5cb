package middleware

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/ocsigo/comet/scope"
)

// ErrNotInstalled: no Comet has seen the request.
var ErrNotInstalled = errors.New("no Comet here: call app.Use(comet.New()) before the routes that need it")

// localsKey is where the innermost Comet's request stands in the Locals.
type localsKey struct{}

// A request is what one Comet knows of one request that it accompanies. Those
// of the Comets around it follow by outer. It must never have a Close method:
// fasthttp closes what it finds in the Locals.
type request struct {
	comet  *comet
	outer  *request
	prefix string // where the Comet stands; the request's own memory
	visit  visit

	asked     bool // ClientProcess was called; process and err are its answer
	process   *scope.ClientProcess
	err       error
	notStored bool // the response must not be cached
	left      bool // the handlers are done
}

func current(c *fiber.Ctx) *request {
	r, _ := c.Locals(localsKey{}).(*request)
	return r
}

// of returns the request as the Comet of site knows it; without one, as the
// innermost does.
func of(c *fiber.Ctx, sites []*scope.Site) (*request, error) {
	r := current(c)
	if r == nil {
		return nil, ErrNotInstalled
	}
	if len(sites) == 0 {
		return r, nil
	}
	for ; r != nil; r = r.outer {
		if len(sites) == 1 && r.comet.site == sites[0] {
			return r, nil
		}
	}
	if len(sites) > 1 {
		return nil, fmt.Errorf("%d sites named: name one", len(sites))
	}
	return nil, fmt.Errorf("%w: the one of the site named has not seen this request", ErrNotInstalled)
}

// clash reports two Comets that would serve the same path: the outer one would
// get the event streams of both.
func (r *request) clash() error {
	for o := r.outer; o != nil; o = o.outer {
		if o.path() == r.path() {
			return fmt.Errorf("comet: two Comets serve %s: give one of them another Config.Path", r.path())
		}
	}
	return nil
}

// path is where the browser finds the event stream.
func (r *request) path() string {
	if r.comet.cfg.PublicPath != "" {
		return r.comet.cfg.PublicPath
	}
	return escaped(r.prefix) + r.comet.cfg.Path
}

// Site returns the site of the innermost Comet that accompanies the request. It
// panics when there is none.
func Site(c *fiber.Ctx) *scope.Site {
	r := current(c)
	if r == nil {
		panic("comet.Site: " + ErrNotInstalled.Error())
	}
	return r.comet.site
}

// ClientProcess returns the client process that the request belongs to: of the
// innermost Comet, or of the one whose site is named. Every call within a
// request gives the same answer.
//
// A request of a living page says which tab it is of by the header
// Comet-Process or the form field comet, with the process's token: it gets that
// process, or ErrNoProcess when it is unknown, has ended, or belongs to another
// session. A request without a token that is a navigation (Sec-Fetch-Mode:
// navigate, or no such header) makes a new page: it gets a new process, its
// response may not be cached, and where Comet keeps the sessions itself, a
// cookie is set. Anything else gets ErrNoProcess: there is no page to belong to.
// So do the pages that hx-boost or Turbo Drive fetch and swap in; they can hear
// site channels.
//
// Call it before [Open], which otherwise returns the address of an event stream
// without the process.
//
// Where several nodes share an engine, a later request of a page may reach another
// node than the one that has its process. It gets ErrElsewhere then, for the Go
// values that belong to the process are there: have the balancer send requests that
// name their tab to the node that made the page, or do by commands, inboxes and site
// channels what they do.
//
// Other errors: ErrTooMany, when so many pages of the session are open;
// ErrShutdown; ErrNotInstalled; engine.ErrUnavailable, while this node cannot say
// in the engine that it lives; the storage's. A handler may simply return them:
// ErrNoProcess carries the status 400 to Fiber's ErrorHandler, ErrElsewhere 421,
// ErrTooMany, ErrShutdown and engine.ErrUnavailable 503. The process may be kept
// beyond the request. Only the session's storage and, where nodes share it, the
// engine make it block.
func ClientProcess(c *fiber.Ctx, site ...*scope.Site) (*scope.ClientProcess, error) {
	r, err := of(c, site)
	if err != nil {
		return nil, fmt.Errorf("comet.ClientProcess: %w", err)
	}
	if !r.asked {
		r.process, r.err = r.whichProcess(c)
		r.err = withStatus(r.err)
		r.asked = true
	}
	return r.process, r.err
}

func (r *request) whichProcess(c *fiber.Ctx) (*scope.ClientProcess, error) {
	if token := tokenOf(c); token != "" {
		return r.byToken(c, token)
	}
	if mode := c.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return nil, fmt.Errorf("%w: a request that a page makes (Sec-Fetch-Mode: %s) says which tab it is of "+
			"by the header Comet-Process or the form field comet", scope.ErrNoProcess, utils.CopyString(mode))
	}
	return r.mint(c)
}

func (r *request) byToken(c *fiber.Ctx, token string) (*scope.ClientProcess, error) {
	session, err := r.comet.sessions.find(c, true)
	if err != nil {
		return nil, fmt.Errorf("comet.ClientProcess: reading the session: %w", err)
	}
	return r.comet.site.Lookup(c.UserContext(), session, token)
}

func (r *request) mint(c *fiber.Ctx) (*scope.ClientProcess, error) {
	user := ""
	if r.comet.cfg.User != nil { // first: it may panic
		user = utils.CopyString(r.comet.cfg.User(c))
	}
	session, err := r.comet.sessions.take(c, &r.visit)
	if err != nil {
		return nil, fmt.Errorf("comet.ClientProcess: taking up the session: %w", err)
	}
	p, err := r.comet.site.NewProcess(session)
	if err != nil {
		r.comet.sessions.untake(&r.visit)
		return nil, err
	}
	p.BelongsTo(user)
	if err := r.comet.sessions.hold(c, &r.visit, p); err != nil {
		p.Close()
		return nil, fmt.Errorf("comet.ClientProcess: keeping the session: %w", err)
	}
	r.process = p
	r.mustNotBeStored(c)
	if r.left { // an error handler's page: what leave does is still to be done
		if err := r.leave(c); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// tokenOf returns the token that the request carries, in memory of its own.
func tokenOf(c *fiber.Ctx) string {
	if token := c.Get("Comet-Process"); token != "" {
		return utils.CopyString(token)
	}
	if token := c.Context().PostArgs().Peek("comet"); len(token) > 0 {
		return string(token)
	}
	if !strings.HasPrefix(c.Get(fiber.HeaderContentType), fiber.MIMEMultipartForm) {
		return ""
	}
	form, err := c.MultipartForm()
	if err != nil || len(form.Value["comet"]) == 0 {
		return ""
	}
	return utils.CopyString(form.Value["comet"][0])
}

// Open returns the address of an event stream that hears refs: a path and query
// for the page to give to new EventSource. Each ref is sampled now, so that the
// page hears what comes after what it shows, however late it connects.
//
// When ClientProcess was called in this request, before, the event stream is that
// process's and hears every private channel that it has by now, given as a ref or
// not; the response may then not be cached. A private channel made later is heard
// by the command register=NAME. Refs belong to one site; the innermost Comet is asked first, then
// those around it. Refs made by channel.External have an Open of their own, and
// its result is the other instance's URL.
//
// Errors: ErrBadRef for refs that no event stream can hear together (of another
// process, of two sites), ErrTooLong when the address would not leave room for
// the browser's cookies, ErrNotInstalled, the engine's, the context's. Only a
// shared engine makes it block, as long as the request's UserContext allows.
func Open(c *fiber.Ctx, refs ...scope.Ref) (string, error) {
	r := current(c)
	if r == nil {
		return "", fmt.Errorf("comet.Open: %w", ErrNotInstalled)
	}
	address, err := r.open(c, refs)
	if !errors.Is(err, scope.ErrBadRef) {
		return address, err
	}
	for o := r.outer; o != nil; o = o.outer {
		if address, outerErr := o.open(c, refs); outerErr == nil {
			return address, nil
		}
	}
	return "", err
}

func (r *request) open(c *fiber.Ctx, refs []scope.Ref) (string, error) {
	path := r.path()
	link, err := r.comet.site.Link(c.UserContext(), r.process, len(path), refs...)
	if err != nil {
		return "", err
	}
	if r.process != nil {
		r.mustNotBeStored(c)
	}
	if link.Base != "" {
		path = link.Base
	}
	return path + "?" + link.Query, nil
}

// EndSession ends the session that the request belongs to, as a logout does:
// all its client processes end and their pages hear gone. Without a site it
// concerns every Comet that accompanies the request, else the one of that site.
// Where Comet keeps the sessions itself, record and cookie are deleted; in an
// app's own session nothing is changed, that is the app's to destroy.
//
// An error means that a storage could not be read or written; the processes
// known from memory have ended all the same.
func EndSession(c *fiber.Ctx, site ...*scope.Site) error {
	r, err := of(c, site)
	if err != nil {
		return fmt.Errorf("comet.EndSession: %w", err)
	}
	if len(site) == 1 {
		return r.comet.endSession(c, &r.visit)
	}
	var faults []error
	for ; r != nil; r = r.outer {
		faults = append(faults, r.comet.endSession(c, &r.visit))
	}
	return errors.Join(faults...)
}

func (m *comet) endSession(c *fiber.Ctx, v *visit) error {
	session, err := m.sessions.end(c, v)
	if session != "" {
		m.site.EndSession(session)
	}
	if err != nil {
		return fmt.Errorf("comet.EndSession: %w", err)
	}
	return nil
}

// mustNotBeStored is said at once, for the app to see, and again when the
// handlers are done.
func (r *request) mustNotBeStored(c *fiber.Ctx) {
	r.notStored = true
	c.Set(fiber.HeaderCacheControl, notStored)
}

// leave does what can be done only once the response stands.
func (r *request) leave(c *fiber.Ctx) error {
	r.left = true
	if r.notStored {
		c.Set(fiber.HeaderCacheControl, notStored)
		r.comet.neighbours.page(c)
	}
	if err := r.comet.sessions.leave(c, &r.visit); err != nil {
		r.process.Close() // only the session of one that this request made is an error
		return fmt.Errorf("comet: the session of a new client process could not be kept: %w", err)
	}
	return nil
}
