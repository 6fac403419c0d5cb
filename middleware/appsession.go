package middleware

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/session"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/scope"
)

// appSessions are those of the app's own store. Comet's part of one is a random
// key; client processes belong to the key, whatever the record's id becomes.
//
// Fiber's store gives no notice of what happens to a session, its Get reads the
// request only and keeps a fresh id in the Locals, where a second Get of the
// same request would replace it, and its Save writes the whole record. So
// nothing is done to the session while the handlers run. When they are done,
// the response tells what they did (see leave), and records are read and
// written by a request of Comet's own that carries nothing but the id.
type appSessions struct {
	store   *session.Store
	name    string // of the cookie or header that carries the id
	header  bool   // else a cookie in responses; requests may use the query
	query   bool
	field   string // Comet's entry in the session
	app     *fiber.App
	ended   func(session string)
	outages outages
	around  *neighbours
	known   bindings
}

// forever is beyond any process's inactivity: only its end comes first.
const forever = 10 * 365 * 24 * time.Hour

// errNoRecord: the store has no session of that id.
var errNoRecord = errors.New("no such session")

func newAppSessions(cfg Config, ended func(session string), around *neighbours) *appSessions {
	source, name, _ := parseKeyLookup(cfg.Session.KeyLookup) // checked with the Config
	s := &appSessions{
		store:  cfg.Session,
		name:   name,
		header: source == session.SourceHeader,
		query:  source == session.SourceURLQuery,
		field:  "comet:" + cfg.Cookie,
		app:    fiber.New(),
		ended:  ended,
		around: around,
	}
	s.outages.log = cfg.Logger
	return s
}

func parseKeyLookup(lookup string) (source session.Source, name string, err error) {
	before, name, ok := strings.Cut(lookup, ":")
	switch source = session.Source(before); source {
	case session.SourceCookie, session.SourceHeader, session.SourceURLQuery:
		if ok && name != "" {
			return source, name, nil
		}
	}
	return "", "", fmt.Errorf("KeyLookup %q", lookup)
}

// with calls f with the session of id as the store has it; errNoRecord when it
// has none. f may Save it: what Save tells the client goes nowhere.
func (s *appSessions) with(id string, f func(*session.Session) error) error {
	c := s.app.AcquireCtx(new(fasthttp.RequestCtx))
	defer s.app.ReleaseCtx(c)
	c.Request().Header.SetCookie(s.name, id) // the store looks there first, whatever its KeyLookup
	sess, err := s.store.Get(c)
	if err != nil {
		return err
	}
	if sess.Fresh() {
		return errNoRecord
	}
	return f(sess)
}

// key reads the key that the record id holds, "" when it holds none.
func (s *appSessions) key(id string) (key string, err error) {
	err = s.with(id, func(sess *session.Session) error {
		key, _ = sess.Get(s.field).(string)
		return nil
	})
	if err != nil && err != errNoRecord {
		s.outages.report(err)
	}
	return key, err
}

// write puts key into the record id. life is how long the app wants the record
// to hold from now, 0 for the store's own Expiration, as with any Save.
func (s *appSessions) write(id, key string, life time.Duration) error {
	return s.with(id, func(sess *session.Session) error {
		sess.Set(s.field, key)
		sess.SetExpiry(life)
		return sess.Save()
	})
}

// requestID returns the session id that the request names, "" if none, where
// the store itself would find it. It is the request's memory.
func (s *appSessions) requestID(c *fiber.Ctx) string {
	id := c.Cookies(s.name)
	if id == "" && s.header {
		id = c.Get(s.name)
	}
	if id == "" && s.query {
		id = c.Query(s.name)
	}
	return id
}

// A naming is what a response tells the client of its session id.
type naming struct {
	id   string        // "" when it is taken away
	said bool          // false: nothing was told
	life time.Duration // how long the client is to keep it, 0 if not told
}

// answered reads the naming off the response. Destroy leaves in the header case
// no trace but that the request's own header is gone.
func (s *appSessions) answered(c *fiber.Ctx, v *visit) naming {
	if s.header {
		id := c.Response().Header.Peek(s.name)
		return naming{id: string(id), said: len(id) > 0 || v.id != "" && s.requestID(c) == ""}
	}
	cookie := fasthttp.AcquireCookie()
	defer fasthttp.ReleaseCookie(cookie)
	cookie.SetKey(s.name)
	if !c.Response().Header.Cookie(cookie) {
		return naming{}
	}
	n := naming{id: string(cookie.Value()), said: true, life: time.Duration(cookie.MaxAge()) * time.Second}
	if expire := cookie.Expire(); n.life <= 0 && !expire.Equal(fasthttp.CookieExpireUnlimited) && expire.Before(time.Now()) {
		n.id = ""
	}
	return n
}

func (s *appSessions) enter(c *fiber.Ctx, v *visit) {
	if id := s.requestID(c); id != "" {
		if v.was = s.known.enter(id); v.was != nil {
			v.id = utils.CopyString(id)
		}
	}
}

// find reads the record; where that fails, memory serves for the sessions of
// processes that live here.
func (s *appSessions) find(c *fiber.Ctx, _ bool) (string, error) {
	id := utils.CopyString(s.requestID(c))
	if id == "" {
		return "", nil
	}
	key, err := s.key(id)
	if err == errNoRecord {
		return "", nil
	}
	if err != nil {
		if last, ok := s.known.keyOf(id); ok {
			return last, nil
		}
		return "", err
	}
	if key == "" && s.known.idle(id) {
		s.around.overwritten()
	}
	s.known.seen(key, id)
	return key, nil
}

func (s *appSessions) keep(c *fiber.Ctx, session string) (release func()) {
	b := s.known.keep(session, utils.CopyString(s.requestID(c)))
	return func() { s.known.release(b) }
}

// take decides on the key at once and leaves the writing to leave, when the
// handlers have saved what they save.
func (s *appSessions) take(c *fiber.Ctx, v *visit) (string, error) {
	if v.taken != nil {
		return v.taken.key, nil
	}
	id := s.answered(c, v).id
	if id == "" {
		id = utils.CopyString(s.requestID(c))
	}
	key, err := "", errNoRecord
	if id != "" {
		key, err = s.key(id)
	}
	switch {
	case err == nil:
		v.taken, v.in, v.put = s.known.obtain(key, id), id, key == ""
	case err != errNoRecord:
		last, ok := s.known.keyOf(id)
		if !ok {
			return "", err
		}
		v.taken, v.in = s.known.obtain(last, id), id
	case v.was != nil: // the handlers are just replacing the record
		v.taken = s.known.obtain(v.was.key, "")
	default:
		v.taken, v.put = s.known.obtain("", ""), true
	}
	return v.taken.key, nil
}

func (s *appSessions) hold(_ *fiber.Ctx, v *visit, p *scope.ClientProcess) error {
	b := v.taken
	s.known.hold(b)
	p.AfterInactive(forever, func(error) { s.known.release(b) })
	return nil
}

// untake leaves nothing for leave to write.
func (s *appSessions) untake(v *visit) {
	s.known.leave(v.taken)
	v.taken, v.in, v.put = nil, "", false
}

// leave lets the client processes follow what the handlers did to the session,
// which the response tells:
//
//	the same key under a new id        Regenerate: the processes go along
//	no id, no record, no key in a new  Destroy, Reset: the processes end
//	no key under the same id           an older copy was saved: it is put back
//	nothing                            nothing, but a new key is put in
func (s *appSessions) leave(c *fiber.Ctx, v *visit) (err error) {
	defer s.abandon(v)
	n := s.answered(c, v)
	if v.was == nil && n.said && n.id != "" { // processes may have come since enter
		v.was, v.id = s.known.enter(n.id), n.id
	}
	if v.was != nil && v.was != v.taken && n.said {
		err = s.follow(v, v.was, n)
	}
	switch {
	case v.taken == nil:
	case n.said:
		err = errors.Join(err, s.follow(v, v.taken, n))
	case v.put && v.in == "":
		err = s.begin(c, v.taken)
	case v.put:
		err = s.settle(v.taken, naming{id: v.in}, true)
	}
	return err
}

// follow treats one binding as the response says. Only a new key that could not
// be written is an error.
func (s *appSessions) follow(v *visit, b *binding, n naming) error {
	if n.id == "" {
		s.ended(b.key)
		return nil
	}
	fresh := b == v.taken && v.put
	err := s.settle(b, n, fresh || n.id == v.id)
	if err != nil && !fresh {
		s.outages.report(err)
		return nil
	}
	return err
}

// settle looks for b's key in the record that n names. Where there is none,
// it is written, if missing is how that may be; else b has ended.
func (s *appSessions) settle(b *binding, n naming, missing bool) error {
	key, err := s.key(n.id)
	if err == nil && key == "" && missing {
		key, err = b.key, s.write(n.id, b.key, n.life)
	}
	switch {
	case err == nil && key == b.key:
		s.known.move(b, n.id)
	case err == nil, err == errNoRecord:
		s.ended(b.key)
	default:
		return err
	}
	return nil
}

// begin makes a session for a client that has none and whose handlers made
// none.
func (s *appSessions) begin(c *fiber.Ctx, b *binding) error {
	sess, err := s.store.Get(c)
	if err != nil {
		return err
	}
	id := sess.ID()
	sess.Set(s.field, b.key)
	if err := sess.Save(); err != nil {
		return err
	}
	s.known.move(b, id)
	return nil
}

func (s *appSessions) abandon(v *visit) {
	for _, b := range []*binding{v.was, v.taken} {
		if b != nil {
			s.known.leave(b)
		}
	}
	v.was, v.taken = nil, nil
}

// end leaves the app's session as it is. The key stays in it: whoever logs in
// by the same session later has no process left to find.
func (s *appSessions) end(c *fiber.Ctx, v *visit) (string, error) {
	switch {
	case v.taken != nil:
		return v.taken.key, nil
	case v.was != nil:
		return v.was.key, nil
	}
	return s.find(c, false)
}

// alive reads the record that was last known to hold the key.
func (s *appSessions) alive(session string) bool {
	id := s.known.recordOf(session)
	if id == "" {
		return true
	}
	key, err := s.key(id)
	if err != nil && err != errNoRecord {
		return true
	}
	if err == nil && key == session {
		s.known.found(session, id)
		return true
	}
	return !s.known.lost(session, id)
}

// close has nothing to close: the store is the app's.
func (s *appSessions) close() {}
