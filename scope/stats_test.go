package scope_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// An account is what a test knows of what a Site counts.
type account struct {
	kit
	r          *rand.Rand
	log, state *scope.Handle
	tabs       []*patron
	next       int
	offered    map[string]uint64 // arrived × readers, by kind
	heard      map[string]uint64 // by kind
	published  map[string]uint64
	pulls      uint64
}

// A patron is a tab with what it has of its own.
type patron struct {
	*tab
	process *scope.ClientProcess
	unread  *scope.Handle
	pulled  *scope.Handle
}

func newAccount(k kit, seed uint64) *account {
	a := &account{
		kit: k, r: rand.New(rand.NewPCG(seed, 35)),
		offered: map[string]uint64{}, heard: map[string]uint64{}, published: map[string]uint64{},
	}
	a.log = k.channel(scope.Spec{Name: "log", Size: 5})
	a.state = k.channel(scope.Spec{Name: "state", Kind: scope.Newest})
	for range 4 {
		a.newPatron()
	}
	return a
}

func (a *account) newPatron() {
	p := &patron{process: a.process("s")}
	p.unread = a.private(p.process, scope.Spec{Name: "unread", Size: 3})
	p.pulled = a.private(p.process, scope.Spec{Name: "pulled", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
		a.pulls++
		return []byte("p"), nil
	}})
	p.tab = newTab(a.t, a.site, "s", p.process, a.log.History(a.r.IntN(6)), a.state, p.unread, p.pulled)
	a.tabs = append(a.tabs, p)
}

func (a *account) publish(h *scope.Handle, kind string) {
	a.next++
	a.put(h, fmt.Sprint(a.next))
	a.published[kind]++
	for _, p := range a.tabs {
		if p.stream != nil && !p.ended {
			a.offered[kind]++
		}
	}
}

func (a *account) publishTo(p *patron) {
	a.next++
	err := p.unread.Feed().Put(context.Background(), []byte(fmt.Sprint(a.next)))
	switch {
	case err == nil:
		a.published["private"]++
	case !errors.Is(err, scope.ErrFull) && !errors.Is(err, scope.ErrClosed):
		a.t.Fatal(err)
	}
}

var kindOfChannel = map[string]string{"log": "site", "state": "newest", "unread": "private", "pulled": "unlimited"}

// collect has the server write what is pending. lost: it never reaches the tab.
func (a *account) collect(p *patron, lost bool) {
	before := p.lastID
	for _, e := range p.hear() {
		if kind := kindOfChannel[e.name]; kind != "" {
			a.heard[kind]++
		}
	}
	if lost {
		p.lastID = before
		p.cut()
	}
}

func (a *account) step() {
	i := a.r.IntN(len(a.tabs))
	p := a.tabs[i]
	switch n := a.r.IntN(100); {
	case n < 25:
		for range 1 + a.r.IntN(8) {
			a.publish(a.log, "site")
		}
	case n < 35:
		for range 1 + a.r.IntN(3) {
			a.publish(a.state, "newest")
		}
	case n < 50:
		a.publishTo(p)
	case n < 58:
		_, _ = p.command("pull", "pulled") // refused where no event stream has the process
	case n < 75:
		a.collect(p, false)
	case n < 80:
		a.collect(p, true)
	case n < 84:
		p.cut()
	case n < 94:
		if p.stream == nil || p.ended {
			p.connect()
		}
	case n < 95:
		if p.stream == nil {
			p.lastID = "nonsense"
			p.connect()
		}
	case n < 97:
		_, _ = p.command("register", "log", "history", fmt.Sprint(a.r.IntN(6)))
	case n < 98:
		p.process.Close()
		p.cut()
		a.tabs = append(a.tabs[:i], a.tabs[i+1:]...)
		a.newPatron()
	default:
		time.Sleep(time.Duration(a.r.IntN(30)) * time.Second) // heartbeats settle, too
	}
	synctest.Wait()
}

// check holds a Stats against what is known.
func (a *account) check(last scope.Stats) scope.Stats {
	a.t.Helper()
	st := a.site.Stats()
	a.offered["private"], a.offered["unlimited"] = a.published["private"], a.pulls
	a.published["unlimited"] = a.pulls
	for _, kind := range scope.Kinds {
		f := st.Kinds[kind]
		if came, went := a.offered[kind]+f.Replayed, f.Delivered+f.Coalesced+f.Missed+f.Unsent+f.Waiting; came != went {
			a.t.Fatalf("%s: arrived × readers %d and replayed make %d, where they went makes %d: %+v", kind, a.offered[kind], came, went, f)
		}
		if f.Passed != f.Delivered+f.Coalesced+f.Missed {
			a.t.Fatalf("%s: passed is not delivered, coalesced and missed: %+v", kind, f)
		}
		if f.Delivered != a.heard[kind] || f.Published != a.published[kind] || f.Arrived != f.Published {
			a.t.Fatalf("%s: %d heard, %d published: %+v", kind, a.heard[kind], a.published[kind], f)
		}
		if b := last.Kinds[kind]; f.Replayed < b.Replayed || f.Unsent < b.Unsent || f.Missed < b.Missed || f.Coalesced < b.Coalesced {
			a.t.Fatalf("%s: a count went down: %+v after %+v", kind, f, b)
		}
	}
	if f := st.Kinds["unlimited"]; f.Pulled != a.pulls {
		a.t.Fatalf("pulled %d, the source was read %d times", f.Pulled, a.pulls)
	}
	var ended uint64
	for _, n := range st.Ended {
		ended += n
	}
	if st.Opened != ended+uint64(st.Streams) {
		a.t.Fatalf("%d event streams were opened, %d ended, %d are there", st.Opened, ended, st.Streams)
	}
	for _, c := range a.site.ChannelStats() {
		kind := st.Kinds[kindOfChannel[c.Name]]
		if c.Counts != kind.Counts || c.Waiting != kind.Waiting || c.Readers != kind.Readers { // one of a kind here
			a.t.Fatalf("channel %s has %+v, its kind %+v", c.Name, c, kind)
		}
	}
	return st
}

// TestFiguresAddUp: whatever is cut, overflows, is replaced, replayed, forged or
// closed, what arrived times its readers is delivered, coalesced, missed, unsent or
// waiting, at every moment; delivered is what tabs were written, published what was
// put (peers.md, 5A.14).
func TestFiguresAddUp(t *testing.T) {
	var all scope.Counts
	for _, seed := range seeds(t, 100) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
				a := newAccount(k, seed)
				var st scope.Stats
				for i := range 400 {
					if a.step(); i%7 == 0 {
						st = a.check(st)
					}
				}
				a.check(st)
				for _, p := range a.tabs { // what is settled by leaving
					p.cut()
				}
				st = a.check(st)
				for _, f := range st.Kinds {
					if f.Readers != 0 {
						t.Fatalf("readers are left: %+v", st)
					}
					all.Replayed += f.Replayed
					all.Coalesced += f.Coalesced
					all.Missed += f.Missed
					all.Unsent += f.Unsent
				}
			})
		})
		if !ok {
			t.Fatalf("COMET_SEED=%d shows it again", seed)
		}
	}
	if all.Replayed == 0 || all.Coalesced == 0 || all.Missed == 0 || all.Unsent == 0 {
		t.Log(all)
		t.Errorf("the test proves too little: %+v", all)
	}
}

// TestFullIsCounted: once for each that a reader is told, by its reason.
func TestFullIsCounted(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		log := k.channel(scope.Spec{Name: "log", Size: 2})
		p := k.process("s")
		unread := k.private(p, scope.Spec{Name: "unread", Size: 1})
		tb := newTab(t, k.site, "s", p, log, unread).connect()
		tb.hear()
		k.put(log, numbers(1, 5)...) // 1 to 3 are lost
		k.put(unread, "1")
		_ = unread.Feed().Put(t.Context(), []byte("2"))
		tb.hear()
		tb.cut()
		tb.lastID = "nonsense"
		tb.connect().hear()
		st := k.site.Stats()
		// The forged cursor is told of log; unread's full is forged no more.
		want := map[string]uint64{"trimmed": 1, "overflow": 1, "cursor": 1, "reset": 0, "future": 0, "other": 0}
		if fmt.Sprint(st.Full) != fmt.Sprint(want) {
			t.Errorf("full: %v, want %v", st.Full, want)
		}
		if f := st.Kinds["site"]; f.Missed != 3 || f.Delivered != 4 || f.Replayed != 2 {
			t.Errorf("site: %+v", f)
		}
		if f := st.Kinds["private"]; f.Missed != 1 || f.Published != 1 || f.Delivered != 0 {
			t.Errorf("private: %+v", f)
		}
	})
}

// TestEndedIsCounted: by what the hook makes of a cause, and by name without one.
func TestEndedIsCounted(t *testing.T) {
	inBubble(t, scope.SiteConfig{MaxStreams: 3}, func(t *testing.T, k kit) {
		odd := errors.New("odd")
		err := k.site.Bind(scope.Hooks{Cause: func(err error) string {
			if errors.Is(err, odd) {
				return "peer_spoke"
			}
			return "of no list"
		}})
		if err != nil {
			t.Fatal(err)
		}
		log := k.channel(scope.Spec{Name: "log"})
		open := func() *tab { return newTab(t, k.site, "", nil, log).connect() }
		open().stream.Gone(odd)
		open().stream.Gone(errors.New("another"))
		for range 4 { // the last is one too many
			open().hear()
		}
		st := k.site.Stats()
		if st.Ended["peer_spoke"] != 1 || st.Ended["other"] != 1 || st.Ended["sent_away"] != 1 || st.Streams != 3 || st.Opened != 5 {
			t.Errorf("%+v", st)
		}
	})
}

// TestWritesAreCounted: what went at once is no time, what waited is in its bucket.
func TestWritesAreCounted(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		log := k.channel(scope.Spec{Name: "log"})
		tb := newTab(t, k.site, "", nil, log).connect()
		for i := range 3 {
			k.put(log, fmt.Sprint(i))
			tb.hear()
		}
		var before scope.Writes
		for _, took := range []time.Duration{50 * time.Millisecond, time.Minute} {
			k.put(log, "late")
			if _, err := tb.stream.Collect(new(sse.Batch), 4096); err != nil {
				t.Fatal(err)
			}
			before = k.site.Stats().Writes // while it is being written it is in no bucket
			tb.stream.Wrote(took)
		}
		if fmt.Sprint(before.Buckets) != "[3 3 4 4 4]" || before.Count != 4 {
			t.Errorf("before the last was written: %+v", before)
		}
		tb.hear()
		if w := k.site.Stats().Writes; fmt.Sprint(w.Buckets) != "[3 3 4 4 4]" || w.Count != 5 || w.Sum != time.Minute+50*time.Millisecond {
			t.Errorf("%+v", w)
		}
	})
}

// TestReaderStats: who is furthest behind comes first, with where it is.
func TestReaderStats(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		log := k.channel(scope.Spec{Name: "log"})
		ahead := newTab(t, k.site, "a", nil, log).connect()
		newTab(t, k.site, "b", nil, log).connect()
		k.put(log, "1", "2")
		ahead.hear()
		tail := k.site.ChannelStats("log")[0].Tail
		got := k.site.ReaderStats("log", 5)
		if len(got) != 2 || got[0].Reader.Session != "b" || got[0].Waiting != 2 || got[1].Waiting != 0 || got[1].At != tail {
			t.Errorf("%+v, the tail is %v", got, tail)
		}
		if got := k.site.ReaderStats("log", 1); len(got) != 1 || got[0].Waiting != 2 {
			t.Errorf("asked for one: %+v", got)
		}
		for range 1200 {
			newTab(t, k.site, "", nil, log).connect().hear()
		}
		if got := k.site.ReaderStats("log", 3); len(got) != 3 || got[0].Waiting != 2 || got[1].Waiting != 0 {
			t.Errorf("of very many: %+v", got)
		}
		if got := k.site.ChannelStats("nowhere"); len(got) != 0 {
			t.Errorf("of a channel that there is not: %+v", got)
		}
	})
}

// addsUp holds a Site's figures of one kind against how often a value came to a reader.
func addsUp(t *testing.T, site *scope.Site, kind string, offered uint64) scope.Figures {
	t.Helper()
	f := site.Stats().Kinds[kind]
	if offered+f.Replayed != f.Delivered+f.Coalesced+f.Missed+f.Unsent+f.Waiting || f.Passed != f.Delivered+f.Coalesced+f.Missed {
		t.Errorf("%s: %d were offered: %+v", kind, offered, f)
	}
	return f
}

// TestFiguresAcrossNodes: what one node publishes arrives on each; a relayed process is
// counted where it is, and one that is handed over on both: unsent here, replayed there.
func TestFiguresAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		here, there := c.kits[0], c.kits[1]
		log := here.channel(scope.Spec{Name: "log"})
		same := there.channel(scope.Spec{Name: "log"})
		p := here.process("s")
		unread := here.private(p, scope.Spec{Name: "unread"})
		tb := newTab(t, here.site, "s", p, unread)
		c.hear(c.on(tb, 1))
		reader := newTab(t, there.site, "", nil, same).connect()
		here.put(log, "1", "2", "3")
		here.put(unread, "1", "2")
		c.want(tb, "unread", "1", "2")
		synctest.Wait()
		reader.want("log", "1", "2", "3")
		if f := addsUp(t, here.site, "site", 0); f.Published != 3 || f.Arrived != 3 {
			t.Errorf("where it was published: %+v", f)
		}
		if f := addsUp(t, there.site, "site", 3); f.Published != 0 || f.Arrived != 3 || f.Delivered != 3 {
			t.Errorf("on the other node: %+v", f)
		}
		if f := addsUp(t, here.site, "private", 2); f.Published != 2 || f.Delivered != 2 {
			t.Errorf("of a relayed process: %+v", f)
		}
		if st := here.site.Stats(); st.Attached != 1 || st.Streams != 0 || st.Processes != 1 {
			t.Errorf("the owner: %+v", st)
		}
		tb.cut()
		time.Sleep(lease) // until the owner knows
		here.put(unread, "3", "4", "5")
		done := c.drain(0)
		synctest.Wait()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if f := addsUp(t, here.site, "private", 5); f.Unsent != 3 || f.Waiting != 0 {
			t.Errorf("after the drain: %+v", f)
		}
		if f := addsUp(t, there.site, "private", 0); f.Replayed != 3 || f.Waiting != 3 {
			t.Errorf("where it was handed to: %+v", f)
		}
		c.want(c.on(tb, 1), "unread", "3", "4", "5")
		if f := addsUp(t, there.site, "private", 0); f.Delivered != 3 || f.Waiting != 0 {
			t.Errorf("when it came back: %+v", f)
		}
	})
}
