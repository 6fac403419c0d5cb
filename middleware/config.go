package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/session"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/scope"
)

// Config says where a Comet stands in an app. What concerns channels, processes
// and event streams themselves is in [scope.SiteConfig].
type Config struct {
	// Next skips this middleware for the requests it returns true for.
	//
	// Optional. Default: nil.
	Next func(c *fiber.Ctx) bool

	// Site is whose channels are heard here. A Site belongs to one Comet only.
	// Without one the Comet makes its own, which handlers reach by [Site]; an
	// app that shuts down in order keeps its own to call Shutdown on.
	//
	// Optional. Default: scope.NewSite().
	Site *scope.Site

	// Session is the app's session store. With it a client process lives no
	// longer than the app's session: log out, and its private channels end.
	// Comet puts one random key into a session that has client processes. It
	// must be the very store the app uses, and comet.New must stand before the
	// handlers that log in and out.
	//
	// Optional. Default: nil, a cookie and a record of Comet's own.
	Session *session.Store

	// Storage keeps the records of Comet's own sessions, one short entry each
	// under a name that begins with "comet:". It stays the app's to close. Not
	// with Session.
	//
	// Optional. Default: a new storage/memory, closed with the Site.
	Storage fiber.Storage

	// SessionLife is how long one of Comet's own sessions lasts after the last
	// request that used it: one that asked for its client process, or a command.
	// An open event stream does not extend it. At least a second. Not with
	// Session, whose store has its own Expiration.
	//
	// As long does the storage keep the entry of a visitor who never returns,
	// also of one whose page never connected. SiteConfig.MaxSessions bounds the
	// sessions that have pages, so new entries come at most at the rate of
	// MaxSessions in each SiteConfig.ConnectWithin. Where visitors may be
	// robots, put a limiter before the pages or choose a shorter life.
	//
	// Optional. Default: 24 h.
	SessionLife time.Duration

	// Path is where the event stream is served, below where the middleware
	// stands: after app.Group("/api").Use(comet.New()) it is /api/comet.
	//
	// Optional. Default: "/comet".
	Path string

	// PublicPath is the whole path of the event stream as the browser has to
	// ask for it, where a proxy in front of the app takes a prefix away.
	//
	// Optional. Default: where the middleware stands, and Path.
	PublicPath string

	// Cookie is the name of the cookie of Comet's own sessions, or with Session
	// part of the name of the entry in the app's session. Comets with the same
	// name share a session, but not their processes.
	//
	// Optional. Default: "comet".
	Cookie string

	// Allow says who may hear which site channel: nil for yes. It is asked when
	// an event stream takes up a channel, and again with the heartbeat; ctx
	// holds nothing of a request. Without it, and this is the default, who knows
	// a channel's name may hear it.
	//
	// Optional. Default: nil, everybody.
	Allow func(ctx context.Context, r scope.Reader, channel string) error

	// User names who sends a request, for Allow, for presence and for what is said
	// to all tabs of a user (channel.Notify). It is called once for each event
	// stream and command, before anything is opened, and not for pages of other
	// origins that Origins does not name; and once when ClientProcess makes a
	// client process. It has to say the same in both places: what it reads is put
	// there before comet.New.
	//
	// Optional. Default: nil, the empty name.
	User func(c *fiber.Ctx) string

	// Origins are the other origins whose pages may hear this site's channels
	// and send commands: "https://app.example.com", exactly as the browser
	// writes it in its Origin header. Credentials are allowed to them. What pages
	// of any other origin open is nobody's: it has no session and no User.
	//
	// Optional. Default: none.
	Origins []string

	// Compression are the content codings in which event streams are offered,
	// the most preferred first: "gzip", "zstd". A browser gets the first that its
	// Accept-Encoding takes, others the event stream as it is. A value that many
	// hear is compressed once for all, from 500 bytes on; what is for one tab from
	// 1 KiB on, alone or with what else waits for it. Each costs CPU and saves
	// traffic: for values of kilobytes, replays, and paid or slow networks; small
	// values do not become smaller. Not where values join secrets and what a
	// stranger wrote: their length would tell of the secret (docs/compression.md).
	//
	// Optional. Default: none.
	Compression []string

	// Retry is how long a browser waits before it reconnects; the site adds
	// jitter. Firefox takes 500 ms for anything less. From 100 ms to 10 min.
	//
	// Optional. Default: 1 s.
	Retry time.Duration

	// Logger hears of failing storages, of sources that fail (at Error), and of
	// middlewares that stand in the way.
	//
	// Optional. Default: slog.Default().
	Logger *slog.Logger
}

// ConfigDefault is the default config.
var ConfigDefault = Config{
	Path:        "/comet",
	Cookie:      "comet",
	SessionLife: 24 * time.Hour,
	Retry:       time.Second,
}

const (
	minRetry = 100 * time.Millisecond
	maxRetry = 10 * time.Minute
)

// configDefault fills in the defaults and tells everything that is wrong at
// once.
func configDefault(config ...Config) (Config, error) {
	if len(config) == 0 {
		return prepared(ConfigDefault)
	}
	if len(config) > 1 {
		return Config{}, fmt.Errorf("New was given %d Configs: put everything into one; "+
			"a second Comet is a second New, with a Site, a Path and a Cookie of its own", len(config))
	}
	return prepared(config[0])
}

func prepared(cfg Config) (Config, error) {
	err := errors.Join(cfg.checkPaths(), cfg.checkSession(), checkOrigins(cfg.Origins), checkCompression(cfg.Compression), cfg.checkRetry())
	if cfg.Path == "" {
		cfg.Path = ConfigDefault.Path
	}
	if cfg.Cookie == "" {
		cfg.Cookie = ConfigDefault.Cookie
	}
	if cfg.SessionLife == 0 {
		cfg.SessionLife = ConfigDefault.SessionLife
	}
	if cfg.Retry == 0 {
		cfg.Retry = ConfigDefault.Retry
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg, err
}

func (cfg *Config) checkPaths() error {
	return errors.Join(checkPath("Path", cfg.Path), checkPath("PublicPath", cfg.PublicPath))
}

func checkPath(field, path string) error {
	if path == "" {
		return nil
	}
	u, err := url.Parse(path)
	if err != nil || u.EscapedPath() != path || path[0] != '/' || path[len(path)-1] == '/' || strings.HasPrefix(path, "//") ||
		strings.ContainsAny(path, ":*+\\") {
		return fmt.Errorf("bad %s %q: write a path such as %q: it begins with / and does not end with it, "+
			"without pattern, query or host", field, path, ConfigDefault.Path)
	}
	return nil
}

func (cfg *Config) checkSession() error {
	var faults []error
	if strings.ContainsFunc(cfg.Cookie, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) {
		faults = append(faults, fmt.Errorf("bad Cookie %q: a cookie's name is letters, digits, - and _", cfg.Cookie))
	}
	if cfg.SessionLife != 0 && cfg.SessionLife < time.Second {
		faults = append(faults, fmt.Errorf("bad SessionLife %v: at least a second; leave it out for %v",
			cfg.SessionLife, ConfigDefault.SessionLife))
	}
	if cfg.Session == nil {
		return errors.Join(faults...)
	}
	if cfg.Storage != nil {
		faults = append(faults, errors.New("both Session and Storage are set: "+
			"with Session Comet keeps nothing itself; leave Storage out"))
	}
	if cfg.SessionLife != 0 {
		faults = append(faults, errors.New("both Session and SessionLife are set: "+
			"set the store's own Expiration and leave SessionLife out"))
	}
	if _, _, err := parseKeyLookup(cfg.Session.KeyLookup); err != nil || cfg.Session.Storage == nil {
		faults = append(faults, fmt.Errorf("bad Session: with KeyLookup %q it is not a working store: make it with session.New",
			cfg.Session.KeyLookup))
	}
	return errors.Join(faults...)
}

func checkCompression(codings []string) error {
	if _, err := wire.NewCompression(codings...); err != nil {
		return fmt.Errorf("bad Compression: %w, or leave it out to compress nothing", err)
	}
	return nil
}

func (cfg *Config) checkRetry() error {
	if cfg.Retry == 0 || minRetry <= cfg.Retry && cfg.Retry <= maxRetry {
		return nil
	}
	return fmt.Errorf("bad Retry %v: choose between %v and %v, or leave it out for %v",
		cfg.Retry, minRetry, maxRetry, ConfigDefault.Retry)
}
