package middleware

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/scope"
)

// sessions tells whose a request is. There are two kinds: those of an app's own
// session store, and cookies of Comet's own. To the site a session is a random
// text that nobody can log in with; "" is no session.
//
// A storage that fails is no logout: what cannot be asked is taken for alive.
type sessions interface {
	// enter is called before the handlers of a request, then one of leave and
	// abandon after them.
	enter(c *fiber.Ctx) *visit
	// find reads the request's session; it changes nothing but, when asked to
	// extend it, its expiry.
	find(c *fiber.Ctx, extend bool) (string, error)
	// take finds the session of a request that makes a client process, or begins
	// one.
	take(c *fiber.Ctx, v *visit) (string, error)
	// hold keeps what is known of the visit's session as long as p lives.
	hold(v *visit, p *scope.ClientProcess)
	// leave looks at what the handlers did to the session.
	leave(c *fiber.Ctx, v *visit) error
	abandon(v *visit)
	// end ends the session as far as it is Comet's, and returns it.
	end(c *fiber.Ctx, v *visit) (string, error)
	alive(session string) bool
	close()
}

// newSessions chooses the kind. ended is called with a session that was seen to
// have ended.
func newSessions(cfg Config, ended func(session string)) sessions {
	if cfg.Session != nil {
		return newAppSessions(cfg, ended)
	}
	return newCookieSessions(cfg)
}

// alive is the site's question, once per session and heartbeat.
func (m *comet) alive(_ context.Context, session string) bool {
	return m.sessions.alive(session)
}

// randomText returns 128 random bits in 22 characters.
func randomText() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// outages logs that a storage fails, once a minute: it is asked far more often.
type outages struct {
	log  *slog.Logger
	last atomic.Int64 // Unix seconds
}

func (o *outages) report(err error) {
	now, last := time.Now().Unix(), o.last.Load()
	if now-last >= 60 && o.last.CompareAndSwap(last, now) {
		o.log.Warn("comet: the session storage fails; sessions count as alive meanwhile", "error", err)
	}
}
