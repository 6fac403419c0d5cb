package channel

import (
	"cmp"
	"context"
	"fmt"

	"github.com/ocsigo/comet/scope"
)

// Reach tells what became of a notifier's value: see [scope.Reach].
type Reach = scope.Reach

// ErrSilent: nodes of the app did not answer; see [scope.ErrSilent].
var ErrSilent = scope.ErrSilent

// A Notifier says values to all tabs of a user, or of a session, wherever these
// are: Eliom's Os_notif. Each tab has a private channel of it, and nobody else
// hears what that is told. Safe for concurrent use.
type Notifier[T any] struct {
	site *scope.Site
	spec scope.Spec
	enc  Encoding
}

// Notify makes the notifier of a name in a site. Nothing is registered: every node
// of an app makes its own, with one name, type and config. Size and MaxBytes bound
// each tab's channel.
//
// Errors: ErrBadConfig (no name, two configs, an encoding that cannot carry a T),
// ErrBadName.
func Notify[T any](site *scope.Site, config ...Config) (*Notifier[T], error) {
	c, err := one("Notify", config)
	if err == nil {
		err = checkOwner(site)
	}
	if err == nil && c.Name == "" {
		err = fmt.Errorf("%w: Notify needs a Name: by it tabs and nodes find the channel", ErrBadConfig)
	}
	if err != nil {
		return nil, err
	}
	enc, err := encodingFor[T](c.Encoding)
	if err != nil {
		return nil, named(c.Name, err)
	}
	sp := spec(scope.Queue, c.Name, c.Event, c.Unnamed)
	sp.Size, sp.MaxBytes, sp.Type, sp.Personal = c.Size, c.MaxBytes, carriedAs[T](enc), true
	if err := sp.Check(); err != nil {
		return nil, err
	}
	return &Notifier[T]{site: site, spec: sp, enc: enc}, nil
}

// For makes the tab's channel, once for each client process: what is said from then
// on waits there until the tab hears it, also while it is away or has not come yet.
// It is full, and ends, as any channel of a tab (see Create), and is closed by
// Close or with the process.
//
// From here on the process is one user's alone. To a tab that comes back when
// Config.User names another, or nobody, it is gone, with all that it was told.
//
// Errors: ErrNameTaken, ErrNoProcess, ErrTooMany, and ErrBadConfig where the
// process is of another site.
func (n *Notifier[T]) For(p *scope.ClientProcess) (*Channel[T], error) {
	err := checkOwner(p)
	if err == nil && p.Site() != n.site {
		err = fmt.Errorf("%w: the client process is of another Site than the notifier", ErrBadConfig)
	}
	if err != nil {
		return nil, named(n.spec.Name, err)
	}
	h, err := scope.Register(p, n.spec)
	if err != nil {
		return nil, named(n.spec.Name, err)
	}
	return &Channel[T]{ref: h, handle: h, enc: n.enc}, nil
}

// ToUser says v to each tab that has a channel of the notifier and whose user, by
// Config.User, is user: the page's when it was made, and then whoever its event
// stream came as. It is marshalled before ToUser returns; nothing of v is kept.
// Where the engine is a Cluster the tabs of all nodes hear it, by one question to
// each other node.
//
// Reach tells how many tabs have it; none is no error. One that is over its size is
// Full, hears that, and has lost its channel. The errors: ErrSilent when nodes did
// not answer, whose tabs have it or not, so that to say it again may say it twice;
// ErrBadConfig for the empty user, who is nobody; ErrTooLarge, ErrShutdown, ctx's
// error or the encoding's, and then no tab has it.
func (n *Notifier[T]) ToUser(ctx context.Context, user string, v T) (Reach, error) {
	if user == "" {
		return Reach{}, named(n.spec.Name, fmt.Errorf("%w: ToUser of the empty user, who is nobody", ErrBadConfig))
	}
	return n.say(ctx, n.site.User(user), v)
}

// ToSession is ToUser for the tabs of a session, by its key
// (scope.ClientProcess.Session).
func (n *Notifier[T]) ToSession(ctx context.Context, key string, v T) (Reach, error) {
	if key == "" {
		return Reach{}, named(n.spec.Name, fmt.Errorf("%w: ToSession of the empty session, which is none", ErrBadConfig))
	}
	return n.say(ctx, n.site.Session(key), v)
}

func (n *Notifier[T]) say(ctx context.Context, to scope.Tabs, v T) (Reach, error) {
	data, err := encodeOne(n.enc, v)
	if err != nil {
		return Reach{}, named(n.spec.Name, err)
	}
	if limit := cmp.Or(n.spec.MaxBytes, scope.DefaultMaxBytes); len(data) > limit {
		return Reach{}, named(n.spec.Name, fmt.Errorf("%w: %d bytes, at most %d are allowed (the notifier's MaxBytes)", ErrTooLarge, len(data), limit))
	}
	r, err := to.Reach(ctx, n.spec.Name, n.spec.Type, data)
	return r, named(n.spec.Name, err)
}
