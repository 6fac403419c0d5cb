package scope_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// as connects tb as a user.
func (tb *tab) as(user string) *tab {
	tb.t.Helper()
	tb.reader.User = user
	return tb.connect()
}

func wantReaders(t *testing.T, got scope.Readers, streams, sessions, users int) {
	t.Helper()
	if want := (scope.Readers{Streams: streams, Sessions: sessions, Users: users, Nodes: 1}); got != want {
		t.Fatalf("readers %+v, want %+v", got, want)
	}
}

// TestReaders: what is counted is there, at once, and what is cut is not.
func TestReaders(t *testing.T) {
	k := newKit(t)
	h, other := k.channel(scope.Spec{Name: "chat"}), k.channel(scope.Spec{Name: "other"})
	one := newTab(t, k.site, "s", nil, h).as("alice") // before anybody asks
	wantReaders(t, h.Readers(), 1, 1, 1)
	two := newTab(t, k.site, "s", k.process("s"), h, other).as("alice")
	nobody := newTab(t, k.site, "", nil, h).connect()
	elsewhere := newTab(t, k.site, "z", nil, h).as("alice")
	wantReaders(t, h.Readers(), 4, 2, 1)
	wantReaders(t, other.Readers(), 1, 1, 1)
	two.cut()
	nobody.cut()
	wantReaders(t, h.Readers(), 2, 2, 1)
	wantReaders(t, other.Readers(), 0, 0, 0)
	two.connect()
	if _, err := two.command("close", "chat"); err != nil { // it goes on with the other channel
		t.Fatal(err)
	}
	two.hear()
	wantReaders(t, h.Readers(), 2, 2, 1)
	wantReaders(t, other.Readers(), 1, 1, 1)
	one.cut()
	elsewhere.cut()
	wantReaders(t, h.Readers(), 0, 0, 0)
	if all, err := h.AllReaders(t.Context()); err != nil || all != h.Readers() {
		t.Fatalf("without a Cluster all readers are %+v, %v", all, err)
	}
}

// TestReadersOfATab: a private channel has its tab, while that is there.
func TestReadersOfATab(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	h := k.private(p, scope.Spec{Name: "mine"})
	wantReaders(t, h.Readers(), 0, 0, 0)
	tb := newTab(t, k.site, "s", p, h).as("alice")
	wantReaders(t, h.Readers(), 1, 1, 1)
	tb.cut()
	wantReaders(t, h.Readers(), 0, 0, 0)
	for _, err := range h.Presence(scope.PresenceConfig{})(t.Context()) {
		if !errors.Is(err, scope.ErrBadRef) {
			t.Fatal("the presence of a private channel is", err)
		}
	}
}

// An onlooker reads a Presence as it comes.
type onlooker struct {
	t    *testing.T
	said chan string
}

// look begins to read in a goroutine, which is over when the test is.
func look(t *testing.T, h *scope.Handle, config scope.PresenceConfig) *onlooker {
	ctx, cancel := context.WithCancel(context.Background())
	o := &onlooker{t: t, said: make(chan string, 5000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := range h.Presence(config)(ctx) {
			switch {
			case err != nil:
				o.said <- err.Error()
			case c.Here:
				o.said <- fmt.Sprintf("+%s/%s %d", c.Session, c.User, c.Count)
			default:
				o.said <- fmt.Sprintf("-%s/%s %d", c.Session, c.User, c.Count)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return o
}

func (o *onlooker) want(want ...string) {
	o.t.Helper()
	synctest.Wait()
	var got []string
	for len(o.said) > 0 {
		got = append(got, <-o.said)
	}
	if !slices.Equal(got, want) {
		o.t.Fatalf("told %q, want %q", got, want)
	}
}

// TestPresence: a reconnect is no leave and no join, an end is a leave after the
// grace.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		h := k.channel(scope.Spec{Name: "chat"})
		first := newTab(t, k.site, "a", nil, h).as("alice")
		o := look(t, h, scope.PresenceConfig{})
		o.want("+a/alice 1")
		second := newTab(t, k.site, "b", nil, h).connect()
		newTab(t, k.site, "", nil, h).connect() // nobody
		twice := newTab(t, k.site, "b", nil, h).connect()
		o.want("+b/ 2")

		for range 3 { // reconnects, and a navigation
			first.cut()
			time.Sleep(scope.DefaultGrace - time.Millisecond)
			first.connect()
		}
		time.Sleep(2 * scope.DefaultGrace)
		o.want()
		second.cut()
		time.Sleep(2 * scope.DefaultGrace)
		o.want() // another tab of the same
		twice.cut()
		time.Sleep(scope.DefaultGrace - time.Millisecond)
		o.want()
		time.Sleep(time.Millisecond)
		o.want("-b/ 1")
		twice.connect()
		o.want("+b/ 2")
		h.Close()
		o.want("channel chat: " + scope.ErrClosed.Error())
	})
}

// TestPresenceCoalesces: what changed back is not told, and what waits is bounded
// by who is there.
func TestPresenceCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		h := k.channel(scope.Spec{Name: "chat"})
		next, stop := iter.Pull2(h.Presence(scope.PresenceConfig{Grace: -1})(t.Context()))
		defer stop()
		newTab(t, k.site, "stays", nil, h).connect()
		if c, err, _ := next(); c.Session != "stays" || !c.Here || c.Count != 1 || err != nil {
			t.Fatal(c, err)
		}
		for range 1000 {
			newTab(t, k.site, "flickers", nil, h).connect().cut()
		}
		newTab(t, k.site, "came", nil, h).connect()
		if c, err, _ := next(); c.Session != "came" || c.Count != 2 || err != nil {
			t.Fatal(c, err)
		}
	})
}

// TestPresenceIsJSONWithoutSessions: what an app passes on tells no session's key.
func TestPresenceIsJSONWithoutSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		h := k.channel(scope.Spec{Name: "chat"})
		newTab(t, k.site, "secret", nil, h).as("alice")
		for c, err := range h.Presence(scope.PresenceConfig{})(t.Context()) {
			if text := string(mustJSON(t, c)); err != nil || text != `{"user":"alice","here":true,"count":1}` {
				t.Fatal(text, err)
			}
			break
		}
	})
}

// TestCountsAreTrue: whatever comes, goes, takes over or ends, the counts are those
// of the event streams that hear, and the changes add up to them.
func TestCountsAreTrue(t *testing.T) {
	for _, seed := range seeds(t, 200) {
		synctest.Test(t, func(t *testing.T) {
			w := newCrowdWorld(t, rand.New(rand.NewPCG(seed, 0)))
			for range 150 {
				w.step()
				if err := w.check(); err != nil {
					t.Fatalf("%v (COMET_SEED=%d)", err, seed)
				}
			}
		})
	}
}

// TestCountsAtOnce: what many do at once adds up, too.
func TestCountsAtOnce(t *testing.T) {
	k := newKit(t)
	h := k.channel(scope.Spec{Name: "chat"})
	stays := newTab(t, k.site, "stays", nil, h).connect()
	var work sync.WaitGroup
	for i := range 8 {
		tb := newTab(t, k.site, fmt.Sprint("s", i%3), nil, h)
		tb.reader.User = fmt.Sprint("u", i%2)
		work.Go(func() {
			for range 200 {
				tb.connect().cut()
			}
		})
	}
	here := map[string]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan error, 1)
	go func() {
		for c, err := range h.Presence(scope.PresenceConfig{Grace: -1})(ctx) {
			who := c.Session + "/" + c.User
			if err == nil && here[who] == c.Here {
				err = fmt.Errorf("%+v is told twice", c)
			}
			here[who] = c.Here
			if err == nil && c.Count == 2 && here["last/"] {
				err = io.EOF
			}
			if err != nil {
				told <- err
				return
			}
		}
	}()
	work.Wait()
	newTab(t, k.site, "last", nil, h).connect()
	if err := <-told; err != io.EOF {
		t.Fatal(err)
	}
	wantReaders(t, h.Readers(), 2, 2, 0)
	stays.cut()
	wantReaders(t, h.Readers(), 1, 1, 0)
}

// A crowdWorld is a few tabs with a process each, on one channel or on two.
type crowdWorld struct {
	kit
	rand     *rand.Rand
	channels []*scope.Handle
	tabs     []*crowdTab
	here     map[[2]string]bool // by the changes told, of the first channel
	next     func() (scope.Change, error, bool)
}

type crowdTab struct {
	*tab
	process *scope.ClientProcess
	names   []string        // of its page's channels
	hears   map[string]bool // while it is connected
	twin    bool            // others have its process
	closed  bool            // its cursor says that it does not hear one
}

func newCrowdWorld(t *testing.T, r *rand.Rand) *crowdWorld {
	w := &crowdWorld{kit: newKit(t), rand: r, here: map[[2]string]bool{}}
	for _, name := range []string{"one", "two"} {
		w.channels = append(w.channels, w.channel(scope.Spec{Name: name}))
	}
	if r.IntN(2) == 0 {
		w.channels[0].Readers() // otherwise the first check makes the crowd
	}
	return w
}

func (w *crowdWorld) step() {
	var tb *crowdTab
	if len(w.tabs) > 0 {
		tb = w.tabs[w.rand.IntN(len(w.tabs))]
	}
	switch n := w.rand.IntN(12); {
	case tb == nil || n < 3 && len(w.tabs) < 20:
		session := string(rune('a' + w.rand.IntN(4)))
		p := w.process(session)
		refs, names := []scope.Ref{w.channels[0]}, []string{"one"}
		if w.rand.IntN(2) == 0 {
			refs, names = append(refs, w.channels[1]), append(names, "two")
		}
		if w.rand.IntN(4) == 0 {
			session = ""
			tb = &crowdTab{tab: newTab(w.t, w.site, session, nil, refs...), process: p, names: names}
		} else {
			tb = &crowdTab{tab: newTab(w.t, w.site, session, p, refs...), process: p, names: names}
		}
		w.tabs = append(w.tabs, tb)
		w.connect(tb)
	case n < 5:
		tb.cut()
		w.connect(tb)
	case n < 7:
		tb.cut()
	case n < 9: // superseded: the older goes on with its site channels
		twin := &crowdTab{tab: tb.duplicate(), process: tb.process, names: tb.names, twin: true}
		tb.twin = true
		w.tabs = append(w.tabs, twin)
		w.connect(twin)
		w.hear()
	case n < 10 && tb.stream != nil && !tb.twin: // of twins it would be the newest's
		if _, err := tb.command("close", "one"); err == nil {
			delete(tb.hears, "one")
			tb.closed = true
			tb.hear()
		}
	case n < 11:
		tb.process.Close()
		w.hear()
	default:
		w.site.EndSession(tb.reader.Session)
		w.hear()
	}
	if len(w.tabs) > 30 {
		w.tabs[0].cut()
		w.tabs = w.tabs[1:]
	}
}

func (w *crowdWorld) connect(tb *crowdTab) {
	tb.cut()
	tb.reader.User = []string{"", "alice", "bob"}[w.rand.IntN(3)]
	tb.connect()
	tb.hears = map[string]bool{}
	for _, name := range tb.names {
		tb.hears[name] = !(tb.closed && name == "one")
	}
	for _, e := range tb.hear() {
		if e.name == "comet:closed" || e.name == "comet:end" {
			w.t.Fatal(e)
		}
	}
}

func (w *crowdWorld) hear() {
	for _, tb := range w.tabs {
		if tb.stream != nil {
			tb.hear()
		}
	}
}

// check compares with what is known of the tabs.
func (w *crowdWorld) check() error {
	for _, c := range w.channels {
		var want scope.Readers
		members, sessions, users := map[[2]string]bool{}, map[string]bool{}, map[string]bool{}
		for _, tb := range w.tabs {
			if tb.stream == nil || tb.dead || tb.ended || !tb.hears[c.Name()] {
				continue
			}
			want.Streams++
			r := tb.reader
			members[[2]string{r.Session, r.User}], sessions[r.Session], users[r.User] = true, true, true
		}
		delete(sessions, "")
		delete(users, "")
		delete(members, [2]string{})
		want.Sessions, want.Users, want.Nodes = len(sessions), len(users), 1
		if got := c.Readers(); got != want {
			return fmt.Errorf("%s: %+v, want %+v", c.Name(), got, want)
		}
		if c == w.channels[0] {
			if err := w.checkChanges(members); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkChanges begins a Presence, or reads on in the one begun, until it waits.
func (w *crowdWorld) checkChanges(members map[[2]string]bool) error {
	if w.next == nil {
		next, stop := iter.Pull2(w.channels[0].Presence(scope.PresenceConfig{Grace: -1})(w.t.Context()))
		w.next = next
		w.t.Cleanup(stop)
	}
	for !maps.Equal(w.here, members) {
		c, err, _ := w.next() // blocks for ever, which the bubble finds, when too little was told
		who := [2]string{c.Session, c.User}
		switch {
		case err != nil:
			return err
		case c.Here == w.here[who]:
			return fmt.Errorf("%v is told to be here, %v, twice", who, c.Here)
		case c.Here:
			w.here[who] = true
		default:
			delete(w.here, who)
		}
		if c.Count != len(w.here) {
			return fmt.Errorf("%d are said to be here, want %d", c.Count, len(w.here))
		}
	}
	return nil
}

// TestReadersOfAllNodes: a session on two nodes is one; a node that does not answer
// is named, and one that died is out of the count with its record.
func TestReadersOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 3)
		h, other := c.kits[0].channel(scope.Spec{Name: "chat"}), c.kits[1].channel(scope.Spec{Name: "chat"})
		newTab(t, c.kits[0].site, "s", nil, h).as("alice")
		newTab(t, c.kits[1].site, "s", nil, other).as("alice")
		newTab(t, c.kits[1].site, "z", nil, other).as("bob")
		want := func(streams, sessions, users, nodes, silent int, kind error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			got, err := h.AllReaders(ctx)
			if got != (scope.Readers{Streams: streams, Sessions: sessions, Users: users, Nodes: nodes, Silent: silent}) || !errors.Is(err, kind) {
				t.Fatalf("all readers are %+v, %v", got, err)
			}
		}
		want(3, 2, 2, 3, 0, nil)
		wantReaders(t, h.Readers(), 1, 1, 1)

		c.views[1].set(func(v *view) { v.stall = make(chan struct{}) })
		want(1, 1, 1, 2, 1, scope.ErrSilent)
		c.views[1].set(func(v *view) { close(v.stall); v.stall = nil })
		want(3, 2, 2, 3, 0, nil)

		c.views[1].kill()
		want(1, 1, 1, 2, 1, scope.ErrSilent)
		time.Sleep(lease + time.Second)
		want(1, 1, 1, 2, 0, nil)

		c.views[0].set(func(v *view) { v.cut = true }) // then it does not even know of whom
		got, err := h.AllReaders(t.Context())
		if got != h.Readers() || !errors.Is(err, scope.ErrSilent) {
			t.Fatal(got, err)
		}
		c.views[0].set(func(v *view) { v.cut = false })
	})
}

// TestCrowdInParts: a crowd that one message does not hold comes in several.
func TestCrowdInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		h, other := c.kits[0].channel(scope.Spec{Name: "chat"}), c.kits[1].channel(scope.Spec{Name: "chat"})
		const many = 3000
		for i := range many {
			newTab(t, c.kits[1].site, fmt.Sprint("s", i), nil, other).as(strings.Repeat("u", 300) + fmt.Sprint(i/2))
		}
		got, err := h.AllReaders(t.Context())
		if want := (scope.Readers{Streams: many, Sessions: many, Users: many / 2, Nodes: 2}); got != want || err != nil {
			t.Fatalf("all readers are %+v, %v, want %+v", got, err, want)
		}
		o := look(t, h, scope.PresenceConfig{})
		time.Sleep(time.Second)
		synctest.Wait()
		if len(o.said) != many {
			t.Fatal(len(o.said), "changes were told, want", many)
		}
	})
}

// TestPresenceOfAllNodes: who comes to another node is told soon; who goes from one
// node to the other does not leave; who was on a node that died leaves with its
// record and the grace.
func TestPresenceOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, 2)
		h, there := c.kits[0].channel(scope.Spec{Name: "chat"}), c.kits[1].channel(scope.Spec{Name: "chat"})
		o, local := look(t, h, scope.PresenceConfig{}), look(t, h, scope.PresenceConfig{Local: true})
		moves, stays := newTab(t, c.kits[1].site, "moves", nil, there).connect(), newTab(t, c.kits[1].site, "stays", nil, there).connect()
		time.Sleep(2 * time.Second)
		o.want("+moves/ 1", "+stays/ 2")
		local.want()

		moves.cut()
		time.Sleep(2 * time.Second)
		c.on(moves, 0)
		time.Sleep(2 * scope.DefaultGrace)
		o.want()
		local.want("+moves/ 1")
		c.on(moves, 1)
		time.Sleep(2 * scope.DefaultGrace)
		o.want()
		local.want("-moves/ 0")

		stays.cut()
		time.Sleep(scope.DefaultGrace)
		o.want()
		time.Sleep(2 * time.Second)
		o.want("-stays/ 1")

		c.views[1].set(func(v *view) { v.stall = make(chan struct{}) }) // slow: it may live
		time.Sleep(lease + 2*scope.DefaultGrace)
		o.want()
		c.views[1].set(func(v *view) { close(v.stall); v.stall = nil })
		time.Sleep(2 * time.Second)
		o.want()

		c.views[1].kill()
		time.Sleep(scope.DefaultGrace)
		o.want()
		time.Sleep(lease + 3*time.Second)
		o.want("-moves/ 0")
	})
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
