package scope_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// seeds returns n seeds, or the one that COMET_SEED names.
func seeds(t *testing.T, n int) []uint64 {
	t.Helper()
	if s := os.Getenv("COMET_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal("COMET_SEED:", err)
		}
		return []uint64{seed}
	}
	if testing.Short() {
		n /= 20
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = rand.Uint64()
	}
	return all
}

// A record is what one channel published, and what one tab heard of it.
type record struct {
	name    string
	newest  bool
	next    int  // the value that is published next
	last    int  // the value that was heard last
	excused bool // a full was heard since
	over    bool // by a final event
}

// hear checks one value: ascending, and no hole without a full (rules 1, 2).
func (r *record) hear(value int) error {
	switch {
	case r.over:
		return fmt.Errorf("%s: %d came after a final event", r.name, value)
	case value <= r.last:
		return fmt.Errorf("%s: %d came after %d", r.name, value, r.last)
	case value >= r.next:
		return fmt.Errorf("%s: %d was never published", r.name, value)
	case value != r.last+1 && !r.excused && !r.newest:
		return fmt.Errorf("%s: %d came after %d, and no full between", r.name, value, r.last)
	}
	r.last, r.excused = value, false
	return nil
}

// A world is a server, a tab on it, and what ought to be heard.
type world struct {
	t        *testing.T
	random   *rand.Rand
	engine   func() engine.Engine
	site     *scope.Site
	process  *scope.ClientProcess
	other    *scope.ClientProcess // attached by command
	tab      *tab
	handles  map[string]*scope.Handle
	records  map[string]*record
	restarts int
	reads    atomic.Int64
}

func newWorld(t *testing.T, seed uint64, open func() engine.Engine) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), engine: open,
		handles: map[string]*scope.Handle{}, records: map[string]*record{},
	}
	w.start()
	var refs []scope.Ref
	for _, name := range []string{"a", "b", "c", "newest"} {
		for range w.random.IntN(3) {
			w.publish(name)
		}
		r := w.records[name]
		r.last = r.next - 1
		if w.random.IntN(2) == 0 && name != "newest" {
			n := w.random.IntN(4)
			refs = append(refs, w.handles[name].History(n))
			r.last = max(0, r.last-min(n, w.kept(name)))
		} else {
			refs = append(refs, w.handles[name])
		}
		if name == "newest" {
			r.last = 0
		}
	}
	for _, name := range []string{"p", "q", "pull"} {
		refs = append(refs, w.handles[name])
	}
	w.tab = newTab(t, w.site, "s", w.process, refs...)
	return w
}

var sizes = map[string]int{"a": 1, "b": 3, "c": 50, "p": 4, "q": 60, "z@1": 60}

func (w *world) kept(name string) int { return min(sizes[name], w.records[name].next-1) }

// start begins a server: the same names, and nothing remembered.
func (w *world) start() {
	w.site = scope.NewSite(scope.SiteConfig{Engine: w.engine()})
	var err error
	make := func(o scope.Owner, spec scope.Spec, as string) {
		spec.Size = sizes[as]
		if w.handles[as], err = scope.Register(o, spec); err != nil {
			w.t.Fatal(err)
		}
		if w.records[as] == nil {
			w.records[as] = &record{name: as, next: 1, newest: spec.Kind == scope.Newest}
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		make(w.site, scope.Spec{Name: name}, name)
	}
	make(w.site, scope.Spec{Name: "newest", Kind: scope.Newest}, "newest")
	if w.restarts > 0 {
		return // the processes are gone
	}
	w.process, _ = w.site.NewProcess("s")
	w.other, _ = w.site.NewProcess("s")
	make(w.process, scope.Spec{Name: "p"}, "p")
	make(w.process, scope.Spec{Name: "q"}, "q")
	make(w.other, scope.Spec{Name: "z"}, "z@1")
	make(w.process, scope.Spec{Name: "pull", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
		return fmt.Append(nil, w.reads.Add(1)), nil
	}}, "pull")
	if _, err := w.site.Link(context.Background(), w.other, 0, w.handles["z@1"]); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restart() {
	w.tab.cut()
	if err := w.site.Shutdown(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	_ = w.site.Engine().Close(context.Background())
	w.restarts++
	w.start()
	w.tab.site = w.site
}

func (w *world) publish(name string) {
	h, r := w.handles[name], w.records[name]
	if h.Err() != nil {
		return
	}
	err := h.Feed().Put(context.Background(), fmt.Append(nil, r.next))
	if err == nil || sizes[name] > 0 && h.Err() != nil {
		r.next++ // what overflowed was published, too
	}
}

// hear takes n bytes of what the server wrote.
func (w *world) hear(n int) error {
	bytes := w.tab.bytes()
	if n < len(bytes) {
		bytes = bytes[:n]
	}
	w.records["pull"].next = int(w.reads.Load()) + 1
	for _, e := range w.tab.take(bytes) {
		if err := w.check(e); err != nil {
			return fmt.Errorf("%w\nthe wire:\n%s", err, bytes)
		}
	}
	return nil
}

func (w *world) check(e heard) error {
	control, isControl := strings.CutPrefix(e.name, "comet:")
	if !isControl {
		value, err := strconv.Atoi(e.data)
		if err != nil {
			return err
		}
		return w.records[e.name].hear(value)
	}
	if control == "hello" || control == "hb" {
		return nil
	}
	var n notice
	if err := json.Unmarshal([]byte(e.data), &n); err != nil {
		return err
	}
	switch {
	case control == "gone" && w.restarts > 0:
		for _, name := range []string{"p", "q", "pull"} {
			if n.Process == w.process.Token() {
				w.records[name].over = true
			}
		}
		if n.Process == w.other.Token() {
			w.records["z@1"].over = true
		}
		return nil
	case control != "full":
		return fmt.Errorf("comet:%s %s", control, e.data)
	}
	r := w.records[n.Channel]
	r.excused, r.over = true, n.Final
	if n.Final == (n.Resume != "") || r.newest && n.Reason != "reset" {
		return fmt.Errorf("comet:full %s", e.data)
	}
	return nil
}

// step does one thing at random.
func (w *world) step() error {
	switch n := w.random.IntN(40); {
	case n < 20:
		names := []string{"a", "b", "c", "newest", "p", "q", "z@1"}
		w.publish(names[w.random.IntN(len(names))])
	case n < 26 && w.tab.stream != nil:
		return w.hear(1 << 20)
	case n < 31 && w.tab.stream != nil: // the connection is cut at any byte
		err := w.hear(w.random.IntN(900))
		w.tab.cut()
		return err
	case n < 37 && w.tab.stream == nil:
		w.tab.connect()
	case n == 37 && w.tab.stream != nil:
		_, _ = w.tab.command("attach", w.other.Token())
	case n == 38 && w.tab.stream != nil:
		_, _ = w.tab.command("pull", "pull")
	case n == 39 && w.restarts == 0 && w.random.IntN(4) == 0:
		w.restart()
	}
	return nil
}

// settle hears everything there is, and checks that nothing is missing.
func (w *world) settle() error {
	w.tab.cut().connect()
	if w.tab.dead {
		return fmt.Errorf("204 with channels left")
	}
	if err := w.hear(1 << 20); err != nil {
		return err
	}
	for _, name := range []string{"a", "b", "c", "newest", "p", "q"} {
		r, h := w.records[name], w.handles[name]
		if !r.over && h.Err() == nil && r.last != r.next-1 && !(r.excused && w.restarts > 0) {
			return fmt.Errorf("%s: %d was heard last, %d was published last, and no full", name, r.last, r.next-1)
		}
	}
	return nil
}

func (w *world) run() error {
	defer func() {
		w.tab.cut()
		_ = w.site.Shutdown(context.Background())
		_ = w.site.Engine().Close(context.Background())
	}()
	for range 120 {
		if err := w.step(); err != nil {
			return err
		}
	}
	return w.settle()
}

// TestCutAnywhere proves rules 1, 2, 4 to 8 and eliom.md 4a (3606ee2f5, #505):
// channels of all kinds, the connection cut at any byte, the server restarted:
// per channel what is heard is what was published, or a full names the hole.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(t, 3000) {
		if err := newWorld(t, seed, func() engine.Engine { return memory.New() }).run(); err != nil {
			t.Fatalf("COMET_SEED=%d: %v", seed, err)
		}
	}
}

// TestFollowerUnderChaos is case 15 of scale.md 8: a feed that loses, doubles,
// delays and reorders, and the one follower above it: complete and in order, with
// nothing told as full that the log still has.
func TestFollowerUnderChaos(t *testing.T) {
	for _, seed := range seeds(t, 100) {
		for _, size := range []int{1000, 20} {
			synctest.Test(t, func(t *testing.T) {
				if err := followChaos(t, seed, size); err != nil {
					t.Fatalf("COMET_SEED=%d, size %d: %v", seed, size, err)
				}
			})
		}
	}
}

func followChaos(t *testing.T, seed uint64, size int) error {
	const values = 300
	chaos := enginetest.Chaos(memory.New(), int64(seed), enginetest.DefaultFaults)
	site := scope.NewSite(scope.SiteConfig{Engine: chaos})
	chat, err := scope.Register(site, scope.Spec{Name: "chat", Size: size})
	if err != nil {
		return err
	}
	tb := newTab(t, site, "s", nil, chat).connect()
	defer func() {
		tb.cut()
		_ = site.Shutdown(context.Background())
		_ = chaos.Close(context.Background())
	}()
	random := rand.New(rand.NewPCG(seed, 2))
	r := &record{name: "chat", next: 1}
	for begin := time.Now(); r.last < values; {
		if r.next <= values {
			if err := chat.Feed().Put(context.Background(), fmt.Append(nil, r.next)); err != nil {
				return err
			}
			r.next++
		}
		if random.IntN(4) == 0 {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		}
		if time.Since(begin) > time.Hour {
			return fmt.Errorf("%d of %d values came", r.last, values)
		}
		if r.next > values {
			time.Sleep(time.Second)
		}
		if random.IntN(30) == 0 { // a reader may be ahead of this node's follower
			tb.cut().connect()
		}
		for _, e := range tb.hear() {
			switch e.name {
			case "chat":
				value, _ := strconv.Atoi(e.data)
				if err := r.hear(value); err != nil {
					return err
				}
			case "comet:full":
				if size == 1000 || !strings.Contains(e.data, `"trimmed"`) {
					return fmt.Errorf("comet:full %s", e.data)
				}
				r.excused = true
			}
		}
	}
	// However often the feed said it, a value arrived once: or not at all, where the log
	// had dropped it before the follower came to read it.
	if f := site.Stats().Kinds["site"]; f.Published != values || f.Arrived > values || size == 1000 && f.Arrived != values {
		return fmt.Errorf("%d values were published: %+v", values, f)
	}
	return nil
}
