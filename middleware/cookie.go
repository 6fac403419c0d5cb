package middleware

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/gofiber/storage/memory/v2"
	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/scope"
)

// cookieSessions are Comet's own: a cookie with a random id, and under a digest
// of the id a record that says until when it holds. The digest is also the
// session's name to the site: neither the storage nor the app's hooks ever see
// what the cookie carries.
//
// A well-formed id without a record is taken up, not replaced. That is what
// lets two apps on one host, which share cookies, live side by side, and a page
// outlive a restart with the storage in memory. It gives an attacker who can
// plant a cookie nothing he could not have by planting a valid one: to hear a
// process takes its token, which only its page has, and nobody logs in here.
type cookieSessions struct {
	name    string
	life    time.Duration
	storage fiber.Storage
	outages outages
	around  *neighbours
	own     *memory.Storage // to be closed; nil when the storage is the app's
	once    sync.Once
}

func newCookieSessions(cfg Config, around *neighbours) *cookieSessions {
	s := &cookieSessions{name: cfg.Cookie, life: cfg.SessionLife, storage: cfg.Storage, around: around}
	s.outages.log = cfg.Logger
	if s.storage == nil {
		s.own = memory.New()
		s.storage = s.own
	}
	return s
}

// id returns the cookie's id, "" unless it is well-formed.
func (s *cookieSessions) id(c *fiber.Ctx) string {
	if id := c.Cookies(s.name); wellFormed(id) {
		return id
	}
	return ""
}

func wellFormed(id string) bool {
	b, err := base64.RawURLEncoding.DecodeString(id)
	return err == nil && len(b) == 16
}

// named returns what the session of id is called.
func (s *cookieSessions) named(id string) string {
	sum := sha256.Sum256([]byte("comet session " + id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (s *cookieSessions) record(session string) string {
	return "comet:" + s.name + ":" + session
}

// remaining returns how long the session still holds, 0 when it is over.
func (s *cookieSessions) remaining(session string) (time.Duration, error) {
	data, err := s.storage.Get(s.record(session))
	if err != nil {
		s.outages.report(err)
		return 0, err
	}
	end, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return 0, nil // none, or not ours
	}
	return max(0, time.Until(time.UnixMilli(end))), nil
}

// write begins or extends the session of id: record first, then cookie.
func (s *cookieSessions) write(c *fiber.Ctx, id string) error {
	end := time.Now().Add(s.life)
	err := s.storage.Set(s.record(s.named(id)), strconv.AppendInt(nil, end.UnixMilli(), 10), s.life)
	if err != nil {
		s.outages.report(err)
		return err
	}
	s.setCookie(c, id, end)
	return nil
}

func (s *cookieSessions) setCookie(c *fiber.Ctx, id string, end time.Time) {
	c.Cookie(&fiber.Cookie{
		Name:     s.name,
		Value:    id,
		Path:     "/",
		MaxAge:   int(time.Until(end).Seconds()),
		Expires:  end,
		HTTPOnly: true,
		Secure:   c.Secure(),
		SameSite: fiber.CookieSameSiteLaxMode,
	})
}

// find extends a session only when a tenth of its life is over, to spare the
// storage; a failure of that is no failure of the request.
func (s *cookieSessions) find(c *fiber.Ctx, extend bool) (string, error) {
	id := s.id(c)
	if id == "" {
		return "", nil
	}
	session := s.named(id)
	left, err := s.remaining(session)
	switch {
	case err != nil:
		return session, nil
	case left == 0:
		return "", nil
	case extend && left < s.life-s.life/10:
		_ = s.write(c, id) // reported
	}
	return session, nil
}

func (s *cookieSessions) take(c *fiber.Ctx, v *visit) (string, error) {
	session, _ := s.find(c, true)
	if session != "" {
		return session, nil
	}
	id, said := s.answered(c)
	if !said {
		id = s.id(c)
	}
	if id == "" {
		id = randomText()
	}
	v.began = utils.CopyString(id)
	return s.named(id), nil
}

func (s *cookieSessions) hold(c *fiber.Ctx, v *visit, _ *scope.ClientProcess) error {
	if v.began == "" {
		return nil
	}
	if err := s.write(c, v.began); err != nil {
		return fmt.Errorf("writing a session record: %w", err)
	}
	return nil
}

// end deletes the record, without which the cookie is worth nothing, to whoever
// copied it either. The request's cookie stays for the other Comets of this name.
func (s *cookieSessions) end(c *fiber.Ctx, _ *visit) (string, error) {
	id := s.id(c)
	if id == "" {
		return "", nil
	}
	session := s.named(id)
	err := s.storage.Delete(s.record(session))
	s.setCookie(c, "", time.Unix(1, 0))
	return session, err
}

// answered returns the id that the response has in the cookie by now, "" when it
// takes it away: this Comet, or another of its name, did that.
func (s *cookieSessions) answered(c *fiber.Ctx) (id string, said bool) {
	cookie := fasthttp.AcquireCookie()
	defer fasthttp.ReleaseCookie(cookie)
	cookie.SetKey(s.name)
	said = c.Response().Header.Cookie(cookie)
	return string(cookie.Value()), said
}

func (s *cookieSessions) alive(session string) bool {
	left, err := s.remaining(session)
	return err != nil || left > 0
}

func (s *cookieSessions) close() {
	s.once.Do(func() {
		if s.own != nil {
			_ = s.own.Close() // has nothing to fail with
		}
	})
}

// leave looks whether the cookie goes out as it was set. What the handlers do to
// a session concerns this kind otherwise only through end.
func (s *cookieSessions) leave(c *fiber.Ctx, v *visit) error {
	if v.began == "" {
		return nil
	}
	if id, said := s.answered(c); said && id != "" && !wellFormed(id) {
		s.around.rewritten()
	}
	return nil
}

func (s *cookieSessions) enter(*fiber.Ctx, *visit)       {}
func (s *cookieSessions) keep(*fiber.Ctx, string) func() { return nil }
func (s *cookieSessions) untake(*visit)                  {}
func (s *cookieSessions) abandon(*visit)                 {}
