package middleware

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/scope"
)

// endpoint serves event streams and takes their commands.
func (m *comet) endpoint(c *fiber.Ctx) error {
	m.origins.share(c)
	switch c.Method() {
	case fiber.MethodGet:
		return m.stream(c)
	case fiber.MethodHead:
		streamHeaders(c)
		m.compression.Announce(c.Context())
		return nil
	case fiber.MethodPost:
		return m.command(c)
	case fiber.MethodOptions:
		return m.origins.preflight(c)
	}
	c.Set(fiber.HeaderAllow, endpointMethods)
	return fiber.ErrMethodNotAllowed
}

// stream answers with an event stream, or with 204 when there is none to come
// back to. All other refusals are said within the stream. The session is only
// read: Fiber's Save is last-write-wins, and a stream opens at any time.
func (m *comet) stream(c *fiber.Ctx) error {
	m.neighbours.endpoint(c, m.site.CountsAddresses())
	if m.neighbours.collected(c) {
		return comeAgain(c, m.cfg.Retry)
	}
	if wait, ok := m.site.Admit(string(c.Request().URI().QueryString()), c.IP()); !ok { // before anything is looked up
		return sendAway(c, wait)
	}
	request, err := m.request(c, false)
	if err != nil {
		return comeAgain(c, m.cfg.Retry)
	}
	if wire.Left(c.Context()) { // its page may be here again by now, and would be superseded by who is not there
		return comeAgain(c, m.cfg.Retry)
	}
	events, err := m.open(request)
	if errors.Is(err, scope.ErrOver) {
		c.Set(fiber.HeaderCacheControl, notStored)
		c.Status(fiber.StatusNoContent)
		return nil
	}
	if err != nil {
		m.cfg.Logger.Error("comet: an event stream could not be opened; the browser will come back", "error", err)
		return comeAgain(c, m.cfg.Retry)
	}
	c.Request().Header.Del(fiber.HeaderIfNoneMatch) // an etag of storedCopy must not end the stream
	streamHeaders(c)
	c.Response().SetBodyString(storedCopy)
	wire.Serve(c.Context(), m.keepSession(c, events, request.Reader.Session), wire.Options{Logger: m.cfg.Logger, Compression: m.compression})
	return nil
}

// maxOpening bounds how long a shared engine and Config.Allow may take to open
// an event stream.
const maxOpening = 10 * time.Second

// open opens the event stream. What was asked when the time was over is not
// known to be gone: the browser shall come back (rule 12).
func (m *comet) open(r scope.Request) (*scope.EventStream, error) {
	// Nothing that lives on may hang on the request or its context.
	ctx, cancel := context.WithTimeout(context.Background(), maxOpening)
	defer cancel()
	events, err := m.site.OpenStream(ctx, r)
	if late := ctx.Err(); late != nil && err == nil {
		events.Gone(late)
		return nil, fmt.Errorf("it took longer than %v: %w", maxOpening, late)
	}
	return events, err
}

// A keeper is an event stream for which a session is kept in sight until it ends.
type keeper struct {
	*scope.EventStream
	release func()
}

func (k *keeper) Gone(cause error) {
	k.EventStream.Gone(cause)
	k.release()
}

// keepSession has a logout seen that concerns an event stream without a client
// process, where Allow goes by sessions.
func (m *comet) keepSession(c *fiber.Ctx, events *scope.EventStream, session string) wire.Source {
	if m.cfg.Allow == nil || session == "" {
		return events
	}
	release := m.sessions.keep(c, session)
	if release == nil {
		return events
	}
	return &keeper{events, release}
}

// request copies out of c all that outlives it. A page of a foreign origin that
// Config.Origins does not name is nobody's.
func (m *comet) request(c *fiber.Ctx, extend bool) (scope.Request, error) {
	trusted, session := m.origins.trusts(c), ""
	if trusted {
		var err error
		if session, err = m.sessions.find(c, extend); err != nil {
			return scope.Request{}, err
		}
	}
	last := c.Get("Last-Event-ID")
	r := scope.Request{
		Query:       string(c.Request().URI().QueryString()),
		LastEventID: utils.CopyString(last),
		Reconnect:   last != "",
		Reader:      scope.Reader{Session: session},
		Path:        m.pathLength(c),
		Address:     utils.CopyString(c.IP()),
	}
	if m.cfg.User != nil && trusted {
		r.Reader.User = utils.CopyString(m.cfg.User(c))
	}
	return r, nil
}

// pathLength is how long the path is that the browser asked for.
func (m *comet) pathLength(c *fiber.Ctx) int {
	if m.cfg.PublicPath != "" {
		return len(m.cfg.PublicPath)
	}
	path, _, _ := strings.Cut(c.OriginalURL(), "?")
	return len(path)
}
