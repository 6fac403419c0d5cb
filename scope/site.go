package scope

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/internal/wheel"
)

// SiteConfig bounds a Site. Every field is optional.
type SiteConfig struct {
	// Engine keeps the logs of site channels. Default: a memory engine of the
	// Site's own, which Shutdown closes; a given one stays open.
	Engine engine.Engine
	// Prefix is the Site's namespace in the Engine. Default: none.
	Prefix string
	// Lease is how long other nodes take this one for alive without a word of it,
	// where the Engine is shared by the nodes of an app (an engine.Cluster): so long
	// it may be until a tab hears that the node died which had its client process. A
	// node that cannot reach the engine for nine tenths of it ends its client
	// processes. Default: 10 s; at least 3 s. All nodes must have the same.
	Lease time.Duration
	// Heartbeat is how often an event stream says that it lives, unless it says
	// something else at that moment, and how often sessions and Allow are asked
	// again. Default: 15 s; at least 1 s.
	Heartbeat time.Duration
	// ConnectWithin is how long a client process lives that never connects.
	// Default: 60 s.
	ConnectWithin time.Duration
	// ReturnWithin is how long a client process lives that stays away.
	// Default: 1 h.
	ReturnWithin time.Duration
	// MaxProcesses is how many client processes a session may have. Over it those
	// without an event stream go first, oldest first; attached ones never do.
	// Default: 50.
	MaxProcesses int
	// MaxSessions is how many sessions may have client processes at once.
	// Default: 100,000.
	MaxSessions int
	// MaxChannels is how many channels a client process may have, and how many
	// site channels one event stream may hear. Default: 100.
	MaxChannels int
	// MaxStreams is how many event streams the Site carries at once. Default:
	// 100,000.
	MaxStreams int
	// MaxStreamRate is how many event streams a second may begin, on average; one
	// second's worth at once. Beyond it readers are told to come back, each a little
	// later than the one before, so that all of a herd are let in at this rate. Who is
	// attached notices nothing, and commands do not count. Choose what the session
	// storage and Config.Allow stand. Default: 0, no bound.
	MaxStreamRate int
	// MaxStreamAge is after how long an event stream ends at the latest; each ends at
	// an age of its own, from four fifths of that on, and its browser is back within
	// about Config.Retry. For a balancer that shall spread readers anew, or a proxy
	// that cuts what is older. At least 10 s. Default: 0, no bound.
	MaxStreamAge time.Duration
	// DrainOver is over how long the readers of a Site that shuts down come back: each
	// at a time of its own, evenly spread. Where other nodes carry them on, event
	// streams end one after the other for as much of it as Shutdown has; else all are
	// told at once when to come. From 1 s to 10 min. Default: so long that 1000 come
	// back a second, but from twice Config.Retry to 2 min.
	DrainOver time.Duration
	// MaxSessionStreams is how many event streams one session may have at once.
	// Default: 100.
	MaxSessionStreams int
	// MaxAddressStreams is how many event streams one network address may have at
	// once. Behind a proxy that Fiber is not told to trust, all readers share the
	// proxy's address. Default: 0, no bound.
	MaxAddressStreams int
	// UnhealthyAfter is how long the health of a shared engine may fail before event
	// streams are sent away, and new ones turned away, until it is back; each is told
	// to come again, and loses nothing. At least 1 s; negative: never. Default: 10 s,
	// longer than an election.
	UnhealthyAfter time.Duration
	// PublishWithin is how long a value that a shared engine does not take is tried
	// again before its sender hears the error; with it whoever sends waits. At most
	// 90 s; negative: it is tried once, and the error told at once. Default: 10 s.
	PublishWithin time.Duration
	// PublishWaiting and PublishWaitingBytes bound what waits for a shared engine,
	// of all site channels together: one value more is engine.ErrUnavailable at
	// once. One channel has room for 1000 values and 8 MiB. Defaults: 10,000 and
	// 64 MiB.
	PublishWaiting, PublishWaitingBytes int
	// MaxCommandRate is how many commands a second one client process may send on
	// average; ten times as many at once. Over it they are answered 429 and when to
	// try again. Default: 100.
	MaxCommandRate int
	// MaxSessionCommandRate is the same for all client processes of one session
	// together. Default: 400.
	MaxSessionCommandRate int
	// MaxAddressCommandRate is the same for one network address, and counts what is
	// no command, too. As with MaxAddressStreams the readers behind a proxy may share
	// one. Default: 0, no bound.
	MaxAddressCommandRate int
	// MaxMessage is how long one marshalled value may be, in bytes. Default: 1 MiB.
	MaxMessage int
	// MaxCommand is how long a command's body may be, in bytes: what a page sends
	// to an inbox included, percent-encoded as in a form. At least 16 KiB. Default:
	// 64 KiB.
	MaxCommand int
	// MaxAddress is how long an event stream's URL and cursor may become together,
	// in bytes. Fiber reads the request line and all headers into 4096 bytes
	// (fiber.Config.ReadBufferSize); what is left is for cookies. Default: 2048.
	MaxAddress int
}

// AttachMax is how many client processes one event stream carries.
const AttachMax = 16

func (c SiteConfig) normal() (SiteConfig, error) {
	var faults []error
	duration := func(name string, d *time.Duration, standard, least time.Duration) {
		if *d == 0 {
			*d = standard
		}
		if *d < least {
			faults = append(faults, fmt.Errorf("%s is %v: use at least %v, or 0 for %v", name, *d, least, standard))
		}
	}
	number := func(name string, n *int, standard int) {
		if *n == 0 {
			*n = standard
		}
		if *n < 1 {
			faults = append(faults, fmt.Errorf("%s is %d: use at least 1, or 0 for %d", name, *n, standard))
		}
	}
	duration("Heartbeat", &c.Heartbeat, 15*time.Second, time.Second)
	duration("Lease", &c.Lease, 10*time.Second, 3*time.Second)
	duration("ConnectWithin", &c.ConnectWithin, time.Minute, time.Millisecond)
	duration("ReturnWithin", &c.ReturnWithin, time.Hour, time.Millisecond)
	if c.UnhealthyAfter >= 0 {
		duration("UnhealthyAfter", &c.UnhealthyAfter, 10*time.Second, time.Second)
	}
	number("MaxProcesses", &c.MaxProcesses, 50)
	number("MaxSessions", &c.MaxSessions, 100_000)
	number("MaxChannels", &c.MaxChannels, 100)
	number("MaxStreams", &c.MaxStreams, 100_000)
	number("MaxSessionStreams", &c.MaxSessionStreams, 100)
	if c.PublishWithin == 0 {
		c.PublishWithin = 10 * time.Second
	}
	if c.PublishWithin > maxPublishWithin {
		faults = append(faults, fmt.Errorf("PublishWithin is %v: use at most %v, for which engines know a value again; or 0 for 10s, or less than 0 for no second try",
			c.PublishWithin, maxPublishWithin))
	}
	number("PublishWaiting", &c.PublishWaiting, 10_000)
	number("PublishWaitingBytes", &c.PublishWaitingBytes, 64<<20)
	number("MaxCommandRate", &c.MaxCommandRate, 100)
	number("MaxSessionCommandRate", &c.MaxSessionCommandRate, 400)
	number("MaxMessage", &c.MaxMessage, 1<<20)
	if c.MaxCommand == 0 {
		c.MaxCommand = defaultCommand
	}
	number("MaxAddress", &c.MaxAddress, 2048)
	if c.MaxCommand < leastCommand {
		faults = append(faults, fmt.Errorf("MaxCommand is %d: use at least %d, or 0 for %d", c.MaxCommand, leastCommand, defaultCommand))
	}
	if c.MaxStreamRate < 0 {
		faults = append(faults, fmt.Errorf("MaxStreamRate is %d: use at least 1, or 0 for no bound", c.MaxStreamRate))
	}
	if c.MaxStreamAge != 0 && (c.MaxStreamAge < leastAge || c.MaxStreamAge > mostAge) {
		faults = append(faults, fmt.Errorf("MaxStreamAge is %v: use %v to %v, or 0 for no bound", c.MaxStreamAge, leastAge, mostAge))
	}
	if c.DrainOver != 0 && (c.DrainOver < time.Second || c.DrainOver > maxDrain) {
		faults = append(faults, fmt.Errorf("DrainOver is %v: use %v to %v, or 0 for %d readers a second", c.DrainOver, time.Second, maxDrain, drainRate))
	}
	if c.MaxAddressStreams < 0 {
		faults = append(faults, fmt.Errorf("MaxAddressStreams is %d: use at least 1, or 0 for no bound", c.MaxAddressStreams))
	}
	if c.MaxAddressCommandRate < 0 {
		faults = append(faults, fmt.Errorf("MaxAddressCommandRate is %d: use at least 1, or 0 for no bound", c.MaxAddressCommandRate))
	}
	return c, errors.Join(faults...)
}

// Reader says who hears: the session of the request, "" for none, and what
// Config.User made of it.
type Reader struct{ Session, User string }

// Hooks is what a Site asks the room where HTTP happens.
type Hooks struct {
	// Allow says whether a reader may hear a site channel: nil if so. It is asked
	// at every attach, in the request's goroutine, and with the heartbeat, off the
	// writers. Nil: everybody may.
	Allow func(ctx context.Context, r Reader, channel string) error
	// Alive says whether a session still exists. It is asked once a session a
	// heartbeat, off the writers. Nil: always.
	Alive func(ctx context.Context, session string) bool
	// Retry is the mean of what event streams are told to wait before they
	// reconnect; each is told its own, up to a quarter more or less. Default: 1 s.
	Retry time.Duration
	// Cause is the name among Causes of why a connection ended, which Gone was given;
	// it is not asked about a clean end. Default: always "other".
	Cause func(error) string
	// Logger hears of what no caller can be told. Default: none.
	Logger *slog.Logger
	// Closed is called once, at the end of Shutdown.
	Closed func()
}

// A Site is one application's registry: its site channels by name, its sessions
// with their client processes, and its event streams. Safe for concurrent use.
type Site struct {
	config  SiteConfig
	caps    engine.Caps
	owned   bool // the engine is the Site's
	waiting load // to be published
	reading gate
	wheel   *wheel.Wheel
	probe   time.Duration
	probing sync.Once
	ctx     context.Context // of all that runs for the Site
	cancel  context.CancelFunc
	node    *node // nil: the engine is no Cluster
	rates   commandRates
	users   users
	totals  [kinds]account
	fulls   counter // told, by reason
	causes  counter // why event streams ended
	writes  writes
	opened  atomic.Uint64  // event streams
	work    sync.WaitGroup // of goroutines that call the app or the session store
	started time.Time
	ending  sync.Once
	hurried sync.Once
	hurry   chan struct{} // closed when a Shutdown has no time any more
	ended   chan struct{} // closed when Shutdown is done, endErr is set before
	endErr  error

	mu                        sync.Mutex
	hooks                     Hooks
	bound                     bool
	down                      bool // nothing new is let in
	departure                 departure
	closing                   bool // the last event stream is gone, and everything ends
	admission                 admission
	channels                  map[string]*slot
	inboxes                   map[string]*Inbox
	sessions                  map[string]*session
	processes                 map[tokenDigest]*ClientProcess
	streams                   map[*EventStream]struct{}
	followings                map[*Following]struct{}
	carried                   census              // event streams, those being opened included
	dead                      map[string]struct{} // sessions that are over and had event streams
	drained                   chan struct{}       // closed when down and the last stream has gone
	sessionSweep, readerSweep sweep
	checkup                   checkup // of an engine that is elsewhere
}

// NewSite returns a Site. It panics when config is misconfigured, naming every
// fault and its remedy; more than one config is a fault.
func NewSite(config ...SiteConfig) *Site {
	if len(config) > 1 {
		panic("comet: NewSite takes one SiteConfig; merge the " + fmt.Sprint(len(config)) + " given")
	}
	var c SiteConfig
	if len(config) == 1 {
		c = config[0]
	}
	c, err := c.normal()
	if err != nil {
		panic("comet: SiteConfig: " + err.Error())
	}
	s := &Site{
		owned: c.Engine == nil, probe: defaultProbe, reading: make(gate, maxReading), drained: make(chan struct{}), ended: make(chan struct{}),
		started: time.Now(), hurry: make(chan struct{}),
		channels: map[string]*slot{}, inboxes: map[string]*Inbox{}, sessions: map[string]*session{},
		processes: map[tokenDigest]*ClientProcess{}, streams: map[*EventStream]struct{}{},
		followings: map[*Following]struct{}{},
		fulls:      newCounter(FullReasons[:]), causes: newCounter(Causes[:]),
	}
	if s.owned {
		c.Engine = memory.New()
	}
	s.config, s.caps = c, c.Engine.Caps()
	s.wheel = wheel.New(min(c.Heartbeat/8, c.ConnectWithin/8, c.ReturnWithin/8, 250*time.Millisecond))
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.hooks = s.hooks.normal()
	if s.node = newNode(s); s.node != nil {
		s.work.Add(1)
		go s.node.live()
	}
	return s
}

func (h Hooks) normal() Hooks {
	if h.Retry <= 0 {
		h.Retry = time.Second
	}
	if h.Logger == nil {
		h.Logger = slog.New(slog.DiscardHandler)
	}
	return h
}

// Bind gives the Site its hooks. One Comet has one Site: a second call is an
// error.
func (s *Site) Bind(h Hooks) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound {
		return errors.New("comet: this Site serves another comet.New already; give each its own comet.NewSite()")
	}
	s.bound, s.hooks = true, h.normal()
	return nil
}

// MaxCommand returns SiteConfig.MaxCommand, the default filled in.
func (s *Site) MaxCommand() int { return s.config.MaxCommand }

// Engine returns what keeps the logs of the Site's channels.
func (s *Site) Engine() engine.Engine { return s.config.Engine }

func (s *Site) logName(name string) engine.Name {
	return engine.Name{Prefix: s.config.Prefix, Channel: name}
}

func (s *Site) checkSize(spec Spec, data []byte) error {
	limit := min(s.config.MaxMessage, spec.MaxBytes)
	if s.node != nil { // it must fit what carries it between nodes
		limit = min(limit, s.caps.MaxEntry-overhead)
	}
	if len(data) > limit {
		return fmt.Errorf("channel %s: %w: %d bytes, at most %d are allowed (SiteConfig.MaxMessage, the channel's MaxBytes)",
			spec.Name, ErrTooLarge, len(data), limit)
	}
	return nil
}

func (s *Site) getHooks() Hooks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooks
}

// jitter returns d, up to part more or less.
func jitter(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 + part*(2*rand.Float64()-1)))
}

// Shutdown ends the Site: no event stream begins any more, those that run are told
// when to come back, spread over SiteConfig.DrainOver, and end; sources are stopped,
// client processes end. Where the engine is shared, so that others can carry readers
// on, event streams end one after the other, and those whose turn has not come are
// served; for that Shutdown takes DrainOver, or what ctx leaves of it. A node among
// others hands its client processes over before: their tabs hear from another node
// what waits, and then that they are gone.
//
// It waits until the streams are gone and nothing of the Site runs, or for ctx, whose
// error it then returns; the Site goes on ending by itself, and sends all away that are
// left at once. Call it before fiber's app.Shutdown. Later calls wait likewise.
func (s *Site) Shutdown(ctx context.Context) error {
	s.ending.Do(func() {
		if !s.caps.Shared { // its readers can only come back here
			s.sendAway(0)
			go s.windDown()
			return
		}
		s.admitNone()
		deadline, bounded := ctx.Deadline()
		go func() {
			pace := maxDrain
			if s.node != nil {
				if !s.node.handOver() {
					pace = 0
				}
				s.node.announce()
			}
			if bounded {
				pace = min(pace, leavingRoom(time.Until(deadline)))
			}
			s.sendAway(pace)
			s.windDown()
		}()
	})
	select {
	case <-s.ended:
		return s.endErr
	case <-ctx.Done():
		s.hurried.Do(func() { close(s.hurry) })
		return fmt.Errorf("comet: event streams or sources still run: %w", ctx.Err())
	}
}

// admitNone lets no event stream in any more, and no client process.
func (s *Site) admitNone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
}

// windDown is what Shutdown waits for.
func (s *Site) windDown() {
	defer close(s.ended)
	<-s.drained
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.node.close() // first: what it has handed over is not gone
	s.endAll()
	s.cancel()
	s.work.Wait()
	s.wheel.Close()
	if s.owned {
		s.endErr = s.config.Engine.Close(context.Background())
	}
	if closed := s.getHooks().Closed; closed != nil {
		closed()
	}
}

func (s *Site) endProcesses(cause error) {
	s.mu.Lock()
	processes := slices.Collect(maps.Values(s.processes))
	s.mu.Unlock()
	for _, p := range processes {
		p.end(cause)
	}
}

// endAll ends every process and every channel.
func (s *Site) endAll() {
	s.mu.Lock()
	var channels []*slot
	for _, sl := range s.channels {
		if sl.opened { // else Register finds that the Site is down
			channels = append(channels, sl)
		}
	}
	inboxes := slices.Collect(maps.Values(s.inboxes))
	followings := slices.Collect(maps.Keys(s.followings))
	s.mu.Unlock()
	for _, f := range followings {
		f.end(ErrShutdown)
	}
	for _, i := range inboxes {
		i.end(ErrShutdown)
	}
	s.endProcesses(ErrShutdown)
	for _, sl := range channels {
		if c := sl.channel.Value(); c != nil {
			c.end(ErrShutdown)
			continue
		}
		collected(sl)
	}
}
