package middleware

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/ocsigo/comet/doctor"
	"github.com/ocsigo/comet/internal/wire"
)

// Doctor returns a handler that proves whether event streams arrive through
// whatever lies before the app, and says what to change when they do not: its page
// does so in the browser that opens it, the command cmd/comet-doctor from any
// machine. It takes GET and POST, behind comet.New, and nothing protects it but
// what the app puts before it:
//
//	app.All("/doctor", adminsOnly, comet.Doctor())
//
// It tells who asks what the server saw of that request, and nothing of others. At
// most 64 of its probes run at once, each for at most two heartbeats of the Site and
// a minute.
func Doctor() fiber.Handler {
	return func(c *fiber.Ctx) error {
		r := current(c)
		if r == nil {
			return fmt.Errorf("comet.Doctor: %w", ErrNotInstalled)
		}
		c.Set(fiber.HeaderCacheControl, notStored)
		if c.Method() == fiber.MethodPost {
			return r.comet.advise(c)
		}
		switch id, left := c.Query("probe"), c.Query("left"); {
		case id != "":
			return r.comet.examine(c, utils.CopyString(id))
		case left != "":
			return c.JSON(doctor.Left{Left: r.comet.probes.hasLeft(left)})
		case c.Query("seen") != "":
			return c.JSON(r.comet.seen(c))
		case c.Query("file") != "":
			c.Set(fiber.HeaderContentType, "text/javascript; charset=utf-8")
			return c.SendString(doctor.Script)
		}
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		return c.SendString(doctor.Page)
	}
}

// advise answers a POST: one that asks how a command would be seen, or the page's
// measurements, which are judged.
func (m *comet) advise(c *fiber.Ctx) error {
	if c.Query("command") != "" {
		return c.JSON(m.seen(c))
	}
	var measured doctor.Measured
	if err := json.Unmarshal(c.Body(), &measured); err != nil {
		return fiber.NewError(fiber.StatusBadRequest, "comet.Doctor: a POST is what its page measured: "+err.Error())
	}
	return c.JSON(doctor.Judge(measured))
}

// forwarding are the headers by which proxies tell of themselves.
var forwarding = []string{"Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

func (m *comet) seen(c *fiber.Ctx) doctor.Seen {
	s := doctor.Seen{
		Protocol: string(c.Request().Header.Protocol()), Scheme: c.Protocol(), Host: string(c.Request().Host()), Address: c.IP(),
		LastEventID: c.Get("Last-Event-ID"), Trusted: m.origins.trusts(c), Heartbeat: m.site.Heartbeat().Milliseconds(),
	}
	for _, name := range forwarding {
		if value := c.Get(name); value != "" {
			if s.Forwarded == nil {
				s.Forwarded = map[string]string{}
			}
			s.Forwarded[strings.Replace(name, "Ip", "IP", 1)] = value
		}
	}
	return s
}

// examine answers with a probe.
func (m *comet) examine(c *fiber.Ctx, id string) error {
	hello, err := json.Marshal(m.seen(c)) // copies what is of the request
	if err != nil {
		return err
	}
	p := newProbe(c.Query("phase"), c.Get("Last-Event-ID") != "", hello, m.site.Heartbeat())
	if p == nil || len(id) > 64 {
		return fiber.NewError(fiber.StatusBadRequest, "comet.Doctor: no such probe")
	}
	if !m.probes.enter(id, p) {
		return fiber.NewError(fiber.StatusServiceUnavailable, "comet.Doctor: too many probes at once")
	}
	p.gone = func() { m.probes.leave(id) }
	streamHeaders(c)
	wire.Serve(c.Context(), p, wire.Options{Logger: m.cfg.Logger})
	return nil
}

const (
	maxProbes = 64
	// remembered is how long a client may ask whether it was seen to leave.
	remembered = time.Minute
)

// probes are those of a Comet: that run, and that have left lately.
type probes struct {
	mu      sync.Mutex
	running map[string]*probe
	left    map[string]time.Time
	closed  bool
}

func (t *probes) enter(id string, p *probe) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.running[id] != nil || len(t.running) >= maxProbes {
		return false
	}
	if t.running == nil {
		t.running, t.left = map[string]*probe{}, map[string]time.Time{}
	}
	delete(t.left, id) // an EventSource comes back under its name
	t.running[id] = p
	return true
}

func (t *probes) leave(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, id)
	for other, when := range t.left {
		if len(t.left) >= 4*maxProbes || time.Since(when) > remembered {
			delete(t.left, other)
		}
	}
	t.left[id] = time.Now()
}

func (t *probes) hasLeft(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, left := t.left[id]
	return left
}

// close ends those that run.
func (t *probes) close() {
	t.mu.Lock()
	t.closed = true
	running := make([]*probe, 0, len(t.running))
	for _, p := range t.running {
		running = append(running, p)
	}
	t.mu.Unlock()
	for _, p := range running {
		p.end()
	}
}
