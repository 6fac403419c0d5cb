package scope

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// DefaultGrace is how long a reader may be away without having left, if the
// PresenceConfig says nothing: a navigation, or a reconnect after a cut.
const DefaultGrace = 5 * time.Second

// PresenceConfig says whose coming and going Presence tells.
type PresenceConfig struct {
	// Grace is how long a reader is still here that no event stream hears for.
	// Default: DefaultGrace. Negative: not at all, so that a reload is a leave and a
	// join.
	Grace time.Duration
	// Local leaves the other nodes out, where the engine is a Cluster.
	Local bool
}

// A Change tells that somebody has come, or has left.
type Change struct {
	// Session is the reader's, which is "" for one whom only Config.User names. It
	// is not told in JSON: it is for the app.
	Session string `json:"-"`
	User    string `json:"user,omitempty"`
	Here    bool   `json:"here"`
	// Count is how many are here with this change, each Session and User together
	// once.
	Count int `json:"count"`
}

// Presence returns who hears the channel, as changes: first those who are here,
// then who comes and who leaves. It has the form that channel.FromSeq takes, so
// that a presence channel is made of it. A reader is a session and a user together;
// who has neither is only counted by Readers.
//
// A reader leaves when no event stream of its has heard the channel for the Grace.
// What changed back before it was asked for is not told: the changes that wait are
// at most one for each reader. Where more than SiteConfig.MaxStreams readers are in
// their grace, others have none.
//
// On a Cluster the readers of all nodes are here, unless Local: each other node is
// asked once every quarter of the Grace, at least every two seconds and at most
// four times a second, and tells who is there when that changed. The readers of a
// node that does not answer stay as long as its record lives, at most
// SiteConfig.Lease and a second after its death, and then their Grace.
//
// The iteration holds the channel. It ends with an error: ctx's, or the channel's
// Err once that has ended; ErrBadRef for a client process's channel, of which
// WaitActive and WaitTimeout tell.
func (h *Handle) Presence(config PresenceConfig) func(context.Context) iter.Seq2[Change, error] {
	return func(ctx context.Context) iter.Seq2[Change, error] {
		return func(yield func(Change, error) bool) {
			c, ok := h.core.(*siteChannel)
			if !ok {
				yield(Change{}, fmt.Errorf("%w: channel %s is private to a tab: use its process's WaitActive and WaitTimeout", ErrBadRef, h.Name()))
				return
			}
			w := c.watch(config)
			defer w.close()
			for {
				change, err := w.next(ctx)
				if !yield(change, err) || err != nil {
					return
				}
			}
		}
	}
}

// A watch is one iteration of a Presence.
type watch struct {
	channel *siteChannel
	grace   time.Duration
	wake    chan struct{} // one may wait
	stop    context.CancelFunc
	done    chan struct{} // closed when nobody is asked any more

	mu        sync.Mutex
	members   map[Reader]*member
	queue     []Reader // whose change is to be told
	here      int      // of the members that were told
	lingering int
	closed    bool
}

// A member is a reader that is here, or was and is to be told so.
type member struct {
	places int  // nodes on which it hears
	here   bool // or in its grace
	told   bool
	queued bool
	away   *time.Timer // runs while it is in its grace
	spell  int         // which grace
}

func (c *siteChannel) watch(config PresenceConfig) *watch {
	w := &watch{channel: c, grace: config.Grace, wake: make(chan struct{}, 1), done: make(chan struct{}), members: map[Reader]*member{}}
	if w.grace == 0 {
		w.grace = DefaultGrace
	}
	c.mu.Lock()
	crowd := c.counted()
	crowd.watches = append(crowd.watches, w)
	for r := range crowd.members {
		w.came(r)
	}
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(c.site.ctx)
	w.stop = cancel
	if n := c.site.node; n == nil || config.Local || !n.enter() {
		close(w.done)
	} else {
		go func() {
			defer n.site.work.Done()
			defer close(w.done)
			w.lookAround(ctx, n)
		}()
	}
	return w
}

func (w *watch) close() {
	w.stop()
	<-w.done
	c := w.channel
	c.mu.Lock()
	c.crowd.watches = slices.DeleteFunc(c.crowd.watches, func(o *watch) bool { return o == w })
	c.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, m := range w.members {
		if m.away != nil {
			m.away.Stop()
		}
	}
}

// came and went may be called under any lock but the watch's own.
func (w *watch) came(r Reader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.members[r]
	if m == nil {
		m = &member{}
		w.members[r] = m
	}
	if m.places++; m.away != nil {
		w.settle(m)
	}
	m.here = true
	w.changed(r, m)
}

func (w *watch) went(r Reader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.members[r]
	if m == nil || m.places == 0 {
		return
	}
	if m.places--; m.places > 0 || w.closed {
		return
	}
	if w.grace < 0 || w.lingering >= w.channel.site.config.MaxStreams {
		w.left(r, m)
		return
	}
	w.lingering++
	m.spell++
	spell := m.spell
	m.away = time.AfterFunc(w.grace, func() { w.due(r, m, spell) })
}

// due ends a grace, if that has not ended.
func (w *watch) due(r Reader, m *member, spell int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.away == nil || m.spell != spell || w.closed {
		return
	}
	w.settle(m)
	w.left(r, m)
}

// settle ends a member's grace. It needs w.mu, as the next two.
func (w *watch) settle(m *member) {
	m.away.Stop()
	m.away = nil
	w.lingering--
}

func (w *watch) left(r Reader, m *member) {
	m.here = false
	w.changed(r, m)
}

func (w *watch) changed(r Reader, m *member) {
	switch {
	case m.queued: // whether there is still something to tell is seen then
	case m.here != m.told:
		m.queued = true
		w.queue = append(w.queue, r)
	case !m.here:
		delete(w.members, r)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) next(ctx context.Context) (Change, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Change{}, err
		}
		if w.channel.state.ended() {
			return Change{}, w.channel.state.refusal(w.channel.spec.Name)
		}
		if change, ok := w.take(); ok {
			return change, nil
		}
		select {
		case <-w.wake:
		case <-w.channel.state.ending():
		case <-ctx.Done():
		}
	}
}

// take returns the next change that waits.
func (w *watch) take() (Change, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		r := w.queue[0]
		w.queue = w.queue[1:]
		m := w.members[r]
		m.queued = false
		changed := m.here != m.told
		m.told = m.here
		if !m.here {
			delete(w.members, r)
		}
		switch {
		case !changed:
			continue
		case m.here:
			w.here++
		default:
			w.here--
		}
		return Change{Session: r.Session, User: r.User, Here: m.here, Count: w.here}, true
	}
	return Change{}, false
}
