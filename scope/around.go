package scope

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrSilent: nodes of the app that may live did not answer, or the engine did not
// say which there are. What a call returns with it is true of those that it counts
// in Nodes.
var ErrSilent = errors.New("nodes did not answer")

// callBytes is how much of a crowd one answer has, where the engine carries as
// much.
const callBytes = 256 << 10

// callRoll answers who hears a site channel on this node.
func (n *node) callRoll(u *unparcel) []byte {
	name, known, after := u.text(), u.number(), Reader{u.text(), u.text()}
	if u.bad {
		return []byte{byte(notNow)}
	}
	var r rollCall
	if c := n.site.find(name); c != nil {
		r = c.call(known, after, min(callBytes, n.site.caps.MaxEntry)-overhead)
	}
	reply := parcel{byte(wasDone)}.number(r.version).number(uint64(r.streams)).flags(r.more).number(uint64(len(r.members)))
	for _, m := range r.members {
		reply = reply.text(m.Session).text(m.User)
	}
	return reply
}

// roll asks another node who hears a channel there. Of the version that is known it
// returns nobody. errDead tells that nobody hears there any more.
func (n *node) roll(ctx context.Context, id, name string, known uint64) (all rollCall, err error) {
	var after Reader
	for more := true; more; {
		body, err := n.poll(ctx, id, parcel{byte(askRoll)}.text(name).number(known).text(after.Session).text(after.User))
		if err != nil {
			return rollCall{}, err
		}
		version, streams := body.number(), int(body.number())
		if all.version == 0 { // of a later part it may be newer: then all are asked for again
			all.version = version
		}
		all.streams = streams
		body.flags(&more)
		for range body.count() {
			after = Reader{body.text(), body.text()}
			all.members = append(all.members, after)
		}
		if body.bad {
			return rollCall{}, errAway
		}
		known = 0
	}
	return all, nil
}

// poll asks another node about whom it has. errDead is one that has nobody any more.
func (n *node) poll(ctx context.Context, id string, request parcel) (*unparcel, error) {
	ctx, cancel := context.WithTimeout(ctx, n.patience())
	defer cancel()
	switch what, body, err := n.ask(ctx, id, request); {
	case err != nil:
		return nil, err
	case what == wasMoved:
		return nil, errDead // it shuts down: its readers are another's
	case what != wasDone:
		return nil, errAway
	default:
		return body, nil
	}
}

// everyone calls f for every other node that has a record, side by side, and
// returns how many it reached and what stood in the way of the rest. f's error that
// is errDead is a node that has nothing any more.
func (n *node) everyone(ctx context.Context, f func(ctx context.Context, id string) error) (reached, silent int, err error) {
	if n == nil {
		return 0, 0, nil
	}
	asking, cancel := context.WithTimeout(ctx, n.patience())
	defer cancel()
	ids, err := n.neighbours(asking)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: which there are is not known: %w", ErrSilent, err)
	}
	faults := make([]error, len(ids))
	var asked sync.WaitGroup
	for i, id := range ids {
		asked.Go(func() { faults[i] = f(ctx, id) })
	}
	asked.Wait()
	var why []error
	for i, err := range faults {
		switch {
		case err == nil:
			reached++
		case !errors.Is(err, errDead):
			silent++
			why = append(why, fmt.Errorf("node %s: %w", ids[i], err))
		}
	}
	if silent > 0 {
		return reached, silent, fmt.Errorf("%w: %d of %d: %w", ErrSilent, silent, len(ids), errors.Join(why...))
	}
	return reached, 0, nil
}

// AllReaders is Readers of the whole app: where the engine is a Cluster every other
// node that lives is asked, as ctx allows, and a session or user that hears by
// several counts once. The error is ErrSilent when a node did not answer; the count
// is then of those that did. The event streams of a node that died are cut, and
// count no more; the node is Silent as long as its record lives, at most
// SiteConfig.Lease and a second. Where the engine does not say which nodes there
// are, the count is this node's, with ErrSilent. Without a Cluster it is Readers.
func (h *Handle) AllReaders(ctx context.Context) (Readers, error) {
	if err := ctx.Err(); err != nil {
		return Readers{}, err
	}
	c, ok := h.core.(*siteChannel)
	if !ok || c.site.node == nil {
		return h.core.count(), nil
	}
	total, n := c.tally(), c.site.node
	var mu sync.Mutex
	reached, silent, err := n.everyone(ctx, func(ctx context.Context, id string) error {
		roll, err := n.roll(ctx, id, c.spec.Name, 0)
		mu.Lock()
		defer mu.Unlock()
		total.streams += roll.streams
		for _, r := range roll.members {
			total.add(r)
		}
		return err
	})
	all := total.readers()
	all.Nodes, all.Silent = all.Nodes+reached, silent
	return all, err
}

// The shortest and the longest time between two questions of a watch.
const (
	leastLook = 250 * time.Millisecond
	mostLook  = 2 * time.Second
)

// A remote is what a watch knows of another node.
type remote struct {
	version uint64
	members map[Reader]struct{}
}

// lookAround has w know who hears on other nodes, until ctx ends.
func (w *watch) lookAround(ctx context.Context, n *node) {
	known := map[string]*remote{}
	every := min(max(w.grace/4, leastLook), mostLook)
	for {
		w.look(ctx, n, known)
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(every, 0.1)):
		}
	}
}

// look asks every node once. Of one that does not answer what was known stays true;
// one that has no record, or gave its processes away, has nobody.
func (w *watch) look(ctx context.Context, n *node, known map[string]*remote) {
	asking, cancel := context.WithTimeout(ctx, n.lease)
	defer cancel()
	var mu sync.Mutex
	rolls := map[string]*rollCall{} // nil: of who did not answer
	reached, silent, err := n.everyone(asking, func(ctx context.Context, id string) error {
		version := uint64(0)
		if k := known[id]; k != nil {
			version = k.version
		}
		roll, err := n.roll(ctx, id, w.channel.spec.Name, version)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			rolls[id] = &roll
		case !errors.Is(err, errDead):
			rolls[id] = nil
		}
		return err
	})
	if ctx.Err() != nil || err != nil && reached+silent == 0 { // nobody said which there are
		return
	}
	for id, roll := range rolls {
		if k := known[id]; roll != nil && (k == nil || k.version != roll.version) {
			w.learn(known, id, *roll)
		}
	}
	for _, id := range slices.Collect(maps.Keys(known)) {
		if _, there := rolls[id]; !there {
			w.forget(known, id)
		}
	}
}

func (w *watch) learn(known map[string]*remote, id string, roll rollCall) {
	old := known[id]
	if old == nil {
		old = &remote{}
	}
	now := &remote{version: roll.version, members: make(map[Reader]struct{}, len(roll.members))}
	for _, r := range roll.members {
		now.members[r] = struct{}{}
		if _, was := old.members[r]; !was {
			w.came(r)
		}
	}
	for r := range old.members {
		if _, is := now.members[r]; !is {
			w.went(r)
		}
	}
	known[id] = now
}

func (w *watch) forget(known map[string]*remote, id string) {
	if k := known[id]; k != nil {
		for r := range k.members {
			w.went(r)
		}
		delete(known, id)
	}
}
