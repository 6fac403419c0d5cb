package scope

import (
	"sync"
	"sync/atomic"
)

// What is counted, and where. A delivery counts in its reader, or in its client
// process, under the lock that it has anyway: a plain number, and no memory that
// another delivery writes to. settle carries what was counted there over to the
// channel and the Site; whoever leaves does it, every heartbeat does it, and Stats
// does it for all that are there, so that what it returns is of that moment.

// kindOf is the place of a channel's kind among Kinds.
type kindOf uint8

const (
	siteKind kindOf = iota
	newestKind
	privateKind
	unlimitedKind
	kinds
)

func (s *Spec) siteKind() kindOf {
	if s.Kind == Newest {
		return newestKind
	}
	return siteKind
}

func (s *Spec) privateKind() kindOf {
	if s.Kind == Pull {
		return unlimitedKind
	}
	return privateKind
}

// An account is a sum of Counts. Its lock is taken last, and nothing under it.
type account struct {
	mu  sync.Mutex
	sum Counts
}

func (t *account) add(c Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.add(c)
}

func (t *account) read() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}

func (c *Counts) add(d Counts) {
	c.Published += d.Published
	c.Arrived += d.Arrived
	c.Replayed += d.Replayed
	c.Passed += d.Passed
	c.Delivered += d.Delivered
	c.Coalesced += d.Coalesced
	c.Missed += d.Missed
	c.Unsent += d.Unsent
	c.Pulled += d.Pulled
}

// A channelAccount is what was counted of one site channel. It outlives the channel,
// and does not lead to it.
type channelAccount struct {
	total *account // of the Site's channels of the kind
	own   account

	// Of these the newest part may not be in the accounts yet.
	published, arrived atomic.Uint64
	freed              atomic.Bool // the name is free: nobody settles any more but who counts

	mu      sync.Mutex
	settled Counts // of the two, what is in the accounts
}

func (t *channelAccount) add(c Counts) {
	t.own.add(c)
	t.total.add(c)
}

// countPublished counts a value that the channel's log has taken from a sender here.
func (t *channelAccount) countPublished() {
	t.published.Add(1)
	if t.freed.Load() {
		t.settle()
	}
}

// countArrived counts values that the log has brought to this node. t is nil where
// they come to no channel of the Site.
func (t *channelAccount) countArrived(n uint64) {
	if t == nil {
		return
	}
	t.arrived.Add(n)
	if t.freed.Load() {
		t.settle()
	}
}

func (t *channelAccount) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := Counts{Published: t.published.Load(), Arrived: t.arrived.Load()}
	t.add(Counts{Published: now.Published - t.settled.Published, Arrived: now.Arrived - t.settled.Arrived})
	t.settled = now
}

// free is the last settling of what is not counted late.
func (t *channelAccount) free() {
	t.freed.Store(true)
	t.settle()
}

// settle carries over what was counted in r, which has a channel. It needs the
// stream's lock.
func (r *siteReader) settle() {
	if r.ordinal == r.mark && r.sent == 0 {
		return
	}
	r.channel.account().add(Counts{Passed: r.ordinal - r.mark, Delivered: uint64(r.sent), Coalesced: uint64(r.coalesced)})
	r.mark, r.sent, r.coalesced = r.ordinal, 0, 0
}

// waiting is how many values are between r and the newest one.
func (r *siteReader) waiting() uint64 { return r.channel.follower.head.Load() - r.ordinal }

// countEnter has r begin at its ordinal: what waits there came before it.
func (r *siteReader) countEnter() {
	r.mark = r.ordinal
	r.channel.account().add(Counts{Replayed: r.waiting()})
}

// countLeave has r leave its place, with what waits there unsent.
func (r *siteReader) countLeave() {
	r.settle()
	r.channel.account().add(Counts{Unsent: r.waiting()})
}

// countFull has r go on from another ordinal, for the reason that it is told: what
// lies between is missed, or heard again.
func (r *siteReader) countFull(why reason, ordinal uint64) {
	r.settle()
	t := r.channel.account()
	if ordinal >= r.ordinal {
		t.add(Counts{Passed: ordinal - r.ordinal, Missed: ordinal - r.ordinal})
	} else {
		t.add(Counts{Replayed: r.ordinal - ordinal})
	}
	r.ordinal, r.mark = ordinal, ordinal
	r.stream.site.fulls.count(why.String())
}

func (c *siteChannel) account() *channelAccount { return c.slot.account }

// A processAccount is what was counted in a client process since it was settled, by
// kind: private, unlimited. The process's lock guards it. That numbers of 32 bits
// are enough is settle's doing, in ClientProcess.next.
type processAccount [2]struct{ put, sent, again uint32 }

func (p *ClientProcess) countPut(c *privateChannel) {
	p.account[c.spec.privateKind()-privateKind].put++
}
func (p *ClientProcess) countSent(c *privateChannel) {
	p.account[c.spec.privateKind()-privateKind].sent++
}
func (p *ClientProcess) countAgain(c *privateChannel) {
	p.account[c.spec.privateKind()-privateKind].again++
}

// settle carries over what was counted in p. It needs p.mu.
func (p *ClientProcess) settle() {
	for i, n := range p.account {
		if n.put|n.sent|n.again == 0 {
			continue
		}
		c := Counts{
			Published: uint64(n.put), Arrived: uint64(n.put), Replayed: uint64(n.again),
			Passed: uint64(n.sent) + uint64(n.again), Delivered: uint64(n.sent) + uint64(n.again),
		}
		if privateKind+kindOf(i) == unlimitedKind {
			c.Pulled = c.Published
		}
		p.site.totals[privateKind+kindOf(i)].add(c)
	}
	p.account = processAccount{}
}

// countDropped counts values that waited in c and are dropped: missed is told to the
// tab, else they are unsent. It needs the process's lock.
func (c *privateChannel) countDropped(n int, missed bool) {
	if n == 0 {
		return
	}
	counts := Counts{Unsent: uint64(n)}
	if missed {
		counts = Counts{Missed: uint64(n), Passed: uint64(n)}
	}
	c.process.site.totals[c.spec.privateKind()].add(counts)
}

// A counter counts by names, of which there are few and no others.
type counter struct {
	names []string // the last stands for all others
	n     []atomic.Uint64
}

func newCounter(names []string) counter {
	return counter{names: names, n: make([]atomic.Uint64, len(names))}
}

func (c *counter) count(name string) {
	last := len(c.names) - 1
	for i, n := range c.names {
		if n == name || i == last {
			c.n[i].Add(1)
			return
		}
	}
}

func (c *counter) read() map[string]uint64 {
	m := make(map[string]uint64, len(c.names))
	for i, n := range c.names {
		m[n] = c.n[i].Load()
	}
	return m
}
