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
	// abandon after them. v is zero before it.
	enter(c *fiber.Ctx, v *visit)
	// find reads the request's session; it changes nothing but, when asked to
	// extend it, its expiry.
	find(c *fiber.Ctx, extend bool) (string, error)
	// keep has alive know a session that was found until release is called; nil
	// when it does so anyway.
	keep(c *fiber.Ctx, session string) (release func())
	// take finds the session of a request that makes a client process, or chooses
	// a new one, of which nothing is written yet: the site may refuse the process
	// (rule 13). Then one of hold and untake follows.
	take(c *fiber.Ctx, v *visit) (string, error)
	// hold keeps the session that was taken for p, of which it is now.
	hold(c *fiber.Ctx, v *visit, p *scope.ClientProcess) error
	untake(v *visit)
	// leave looks at what the handlers did to the session.
	leave(c *fiber.Ctx, v *visit) error
	abandon(v *visit)
	// end ends the session as far as it is Comet's, and returns it.
	end(c *fiber.Ctx, v *visit) (string, error)
	alive(session string) bool
	close()
}

// A visit is what is known of a request's session while its handlers run.
type visit struct {
	began string // of Comet's own sessions: the id of one that is not written yet

	// Of an app's sessions:
	id    string   // the session id that the request named, if before is known
	was   *binding // of that id; nil when nobody here belongs to it
	taken *binding // of the process that the request made
	in    string   // the record that taken was looked for in; "" when there was none
	put   bool     // the key of taken is not in a record yet
}

// newSessions chooses the kind. ended is called with a session that was seen to
// have ended.
func newSessions(cfg Config, ended func(session string), around *neighbours) sessions {
	if cfg.Session != nil {
		return newAppSessions(cfg, ended, around)
	}
	return newCookieSessions(cfg, around)
}

// maxAsking is how many sessions' records are asked for at once. A storage that
// hangs costs as many goroutines, until it answers.
const maxAsking = 8

// alive is the site's question, once per session and heartbeat. Storages know no
// context: one that has not answered when ctx ends is left to finish by itself,
// and has not logged anybody out.
func (m *comet) alive(ctx context.Context, session string) bool {
	select {
	case m.asking <- struct{}{}:
	case <-ctx.Done():
		return true
	}
	answer := make(chan bool, 1)
	go func() {
		defer func() { <-m.asking }()
		answer <- m.ask(session)
	}()
	select {
	case alive := <-answer:
		return alive
	case <-ctx.Done():
		return true
	}
}

// ask asks the storage. A panic of it is no logout either.
func (m *comet) ask(session string) (alive bool) {
	defer func() {
		if v := recover(); v != nil {
			m.cfg.Logger.Error("comet: the session storage panicked", "panic", v)
			alive = true
		}
	}()
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
