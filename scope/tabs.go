package scope

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
)

// Tabs are the client processes of a session, or of a user: those that there are
// when a method is called. A user is whom Config.User named when the page was made,
// or when its event stream last came.
type Tabs struct {
	site          *Site
	session, user string
}

// Session returns the tabs of a session, by its key (ClientProcess.Session).
func (s *Site) Session(key string) Tabs { return Tabs{site: s, session: key} }

// User returns the tabs of a user. The empty name has none: it is of all who are
// nobody.
func (s *Site) User(name string) Tabs { return Tabs{site: s, user: name} }

// Sessions iterates over the keys of the sessions that have tabs on this node, in
// no order. It holds no lock: what comes meanwhile is not in it.
func (s *Site) Sessions() iter.Seq[string] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Collect(maps.Keys(s.sessions)))
}

// Users iterates over the users that have tabs on this node, as Sessions does.
func (s *Site) Users() iter.Seq[string] {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	return slices.Values(slices.Collect(maps.Keys(s.users.all)))
}

// A TabCount counts tabs.
type TabCount struct {
	Tabs   int // that have a client process
	Active int // of these, whose event stream is there
	Nodes  int // that are in the count, this one included
	Silent int // nodes that may live and did not answer: their tabs are missing
}

// all returns those of this node whose app is here.
func (t Tabs) all() (processes []*ClientProcess) {
	switch {
	case t.session != "":
		t.site.mu.Lock()
		if ses := t.site.sessions[t.session]; ses != nil {
			processes = slices.Clone(ses.processes)
		}
		t.site.mu.Unlock()
	case t.user != "":
		processes = t.site.users.processes(t.user)
	}
	return slices.DeleteFunc(processes, func(p *ClientProcess) bool { return p.adopted || p.state.ended() })
}

// All iterates over the tabs of this node, those first that came first: where there
// are several nodes each has those whose pages it made. It holds no lock; a process
// may end while it is looked at.
func (t Tabs) All() iter.Seq[*ClientProcess] { return slices.Values(t.all()) }

// Count counts the tabs of this node: exactly, and without waiting.
func (t Tabs) Count() TabCount {
	n := TabCount{Nodes: 1}
	for _, p := range t.all() {
		n.Tabs++
		if p.Active() {
			n.Active++
		}
	}
	return n
}

// CountAll is Count of the whole app: where the engine is a Cluster every other
// node that lives is asked, as ctx allows. The error is ErrSilent when one did not
// answer; the count is then of those that did. The tabs of a node that died are
// gone with it.
func (t Tabs) CountAll(ctx context.Context) (TabCount, error) {
	if err := ctx.Err(); err != nil {
		return TabCount{}, err
	}
	total, n := t.Count(), t.site.node
	var mu sync.Mutex
	reached, silent, err := n.everyone(ctx, func(ctx context.Context, id string) error {
		body, err := n.poll(ctx, id, parcel{byte(askTabs)}.text(t.session).text(t.user))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		total.Tabs += int(body.number())
		total.Active += int(body.number())
		return nil
	})
	total.Nodes, total.Silent = total.Nodes+reached, silent
	return total, err
}

// tabsFor counts for another node.
func (n *node) tabsFor(u *unparcel) []byte {
	t := Tabs{n.site, u.text(), u.text()}
	if u.bad {
		return []byte{byte(notNow)}
	}
	c := t.Count()
	return parcel{byte(wasDone)}.number(uint64(c.Tabs)).number(uint64(c.Active))
}

// A Reach tells what became of a value for several tabs.
type Reach struct {
	Tabs   int // whose channel has it, to be heard in its turn
	Full   int // whose channel is full by it, and has ended; or takes no value so large
	Nodes  int // that were asked, this one included
	Silent int // nodes that may live and did not answer: their tabs have it or not
}

// Reach puts one value into the Personal channel of that name and type in each of
// the tabs, on all nodes where the engine is a Cluster. A tab that has no such
// channel, or whose has ended, is passed over; one that is away hears it when it
// comes back. What a node that died had is lost with its tabs.
//
// The error is ErrSilent when a node did not answer, with why: a second Reach may
// then say the value twice. ErrTooLarge, ErrShutdown, or ctx's before anything was
// done: then no tab has it. It waits for other nodes only: a fifth of
// SiteConfig.Lease to learn which there are, as long for the answer of each, all at
// once, and as long for the record of one that did not answer.
func (t Tabs) Reach(ctx context.Context, channel string, typ any, data []byte) (Reach, error) {
	if err := t.mayReach(ctx, channel, data); err != nil {
		return Reach{}, err
	}
	kind := fmt.Sprint(typ)
	r, n := t.reach(channel, kind, data), t.site.node
	var mu sync.Mutex
	reached, silent, err := n.everyone(ctx, func(ctx context.Context, id string) error {
		body, err := n.poll(ctx, id, parcel{byte(askReach)}.text(t.session).text(t.user).text(channel).text(kind).bytes(data))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		r.Tabs += int(body.number())
		r.Full += int(body.number())
		return nil
	})
	r.Nodes, r.Silent = 1+reached, silent
	return r, err
}

func (t Tabs) mayReach(ctx context.Context, channel string, data []byte) error {
	t.site.mu.Lock()
	down := t.site.down
	t.site.mu.Unlock()
	if down {
		return ErrShutdown
	}
	return errors.Join(ctx.Err(), t.site.checkSize(Spec{Name: channel, MaxBytes: t.site.config.MaxMessage}, data))
}

// reach is Reach of this node. It does not wait, so it is not given up halfway.
func (t Tabs) reach(channel, typ string, data []byte) (r Reach) {
	for _, p := range t.all() {
		c := p.personal(channel, typ, t.user)
		if c == nil {
			continue
		}
		switch err := c.put(context.Background(), data); {
		case err == nil:
			r.Tabs++
		case errors.Is(err, ErrFull), errors.Is(err, ErrTooLarge):
			r.Full++
		}
	}
	return r
}

// personal returns the living channel of that name and type, if the process is the
// user's still, when another event stream may just have come; "" is whoever's.
func (p *ClientProcess) personal(name, typ, user string) *privateChannel {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.names[name]
	if c == nil || !c.spec.Personal || c.state.ended() || fmt.Sprint(c.spec.Type) != typ || user != "" && p.user != user {
		return nil
	}
	return c
}

// reachFor reaches this node's tabs for another node.
func (n *node) reachFor(u *unparcel) []byte {
	t := Tabs{n.site, u.text(), u.text()}
	channel, typ, data := u.text(), u.text(), u.bytes()
	if u.bad {
		return []byte{byte(notNow)}
	}
	r := t.reach(channel, typ, data)
	return parcel{byte(wasDone)}.number(uint64(r.Tabs)).number(uint64(r.Full))
}
