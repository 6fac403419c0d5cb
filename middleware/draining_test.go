package middleware_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

var notice = regexp.MustCompile(`(?m)^retry: (\d+)\n\nevent: comet:away\ndata: {"retry":(\d+)}\n\n`)

// told is after how long a tab was to come back when it was sent away first: to an
// EventSource, which tells no script, and to the page's scripts.
func told(t *testing.T, es *comettest.Tab) time.Duration {
	t.Helper()
	found := notice.FindStringSubmatch(es.Wire())
	if found == nil || found[1] != found[2] {
		t.Fatalf("the tab was not sent away:\n%s", es.Transcript())
	}
	ms, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

// TestDrainOverHTTP proves rule 12 over sockets: a node that shuts down sends its readers
// away one after the other, over the window, and on the other node they go on.
func TestDrainOverHTTP(t *testing.T) {
	t.Parallel()
	lost := overslept(t)
	for again := 3; ; again-- {
		before := lost()
		wrong := drained(t)
		if wrong == "" {
			return
		}
		if stalled := lost() - before; stalled < 250*time.Millisecond || again == 0 {
			t.Fatalf("%s, and %v in which nothing ran", wrong, stalled)
		}
	}
}

// drained drains a node. It fails if a reader does not go on, and returns what is wrong
// with their times, which may be the machine's fault.
func drained(t *testing.T) (wrong string) {
	t.Helper()
	const tabs, window = 60, 4 * time.Second
	e := memory.New(memory.Config{Nodes: true})
	type node struct {
		*browser
		site *scope.Site
		chat *scope.Handle
		put  func(string)
	}
	start := func() (n node) {
		n.site = newSite(t, scope.SiteConfig{Engine: e, DrainOver: window})
		n.chat, n.put = channelOf(t, n.site, "chat")
		app := newApp()
		app.Use(middleware.New(middleware.Config{Site: n.site, Logger: new(logbook).logger()}))
		app.Get("/", openPage(n.chat))
		n.browser = serve(t, app)
		return n
	}
	old, next := start(), start()
	eventually(t, "the nodes know of each other", func() bool {
		records, err := e.Records(context.Background(), "")
		return err == nil && len(records) == 2
	})
	address := old.get("/").Body
	var sources []*comettest.Tab
	for len(sources) < tabs {
		es := old.Listen(address)
		if !letIn(t, es) { // the node stalled until its record ended
			es.Close()
			continue
		}
		sources = append(sources, es)
	}
	old.Route(next.App())
	next.put("before")
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- old.site.Shutdown(context.Background()) }()
	ends, heard := make([]time.Duration, tabs), make([]int, tabs)
	var reading sync.WaitGroup
	for i, es := range sources {
		reading.Go(func() {
			heard[i] = len(es.Rest())
			ends[i] = time.Since(begin)
		})
	}
	reading.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	next.put("after")
	for i, es := range sources {
		if wait := told(t, es); wait < time.Second || wait > 1500*time.Millisecond {
			wrong = fmt.Sprintf("a reader was told to stay away for %v, want Config.Retry and a part's jitter", wait)
		}
		if heard[i] == 0 {
			es.Expect("chat", "before")
		}
		es.Expect("chat", "after")
		es.Close()
	}
	slices.Sort(ends)
	if ends[tabs/4] > ends[tabs-1]/2 || ends[tabs-1] < window*3/4 || ends[tabs*3/4]-ends[tabs/4] < window/4 {
		wrong = fmt.Sprintf("they ended at %v", ends)
	}
	return wrong
}

// TestMaxStreamAgeOverHTTP: an event stream that is old ends within a 200, and what is
// opened in its place goes on.
func TestMaxStreamAgeOverHTTP(t *testing.T) {
	t.Parallel()
	site := newSite(t, scope.SiteConfig{MaxStreamAge: 10 * time.Second})
	chat, put := channelOf(t, site, "chat")
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Logger: new(logbook).logger()}))
	app.Get("/", openPage(chat))
	b := serve(t, app)
	begin := time.Now()
	es := b.Listen(b.get("/").Body)
	es.Hello()
	put("1")
	es.Expect("chat", "1")
	es.Away()
	if lived := time.Since(begin); lived < 8*time.Second {
		t.Errorf("it lived %v, want 8 to 10 s", lived)
	}
	if wait := told(t, es); wait < 750*time.Millisecond || wait > 1250*time.Millisecond {
		t.Errorf("told to come back after %v", wait)
	}
	put("2")
	es.Expect("chat", "2")
}

// counting is a session storage that counts what it is asked.
type counting struct {
	shelf
	asked atomic.Int64
}

func (c *counting) Get(key string) ([]byte, error) {
	c.asked.Add(1)
	return c.shelf.Get(key)
}

// TestHerdOverHTTP proves rule 12 over sockets: of a herd as many are let in as the rate
// says; the others are told when to come, each later than the one before, and the session
// storage hears nothing of them. Who comes then is let in.
func TestHerdOverHTTP(t *testing.T) {
	t.Parallel()
	const rate, herd = 5, 40
	site := newSite(t, scope.SiteConfig{MaxStreamRate: rate, Heartbeat: time.Hour}) // which asks the storage, too
	chat, put := channelOf(t, site, "chat")
	p := new(counting)
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Storage: p, Logger: new(logbook).logger()}))
	app.Get("/", func(c *fiber.Ctx) error {
		if _, err := middleware.ClientProcess(c); err != nil {
			return err
		}
		return openPage(chat)(c)
	})
	b := serve(t, app)
	var addresses []string
	for range herd {
		addresses = append(addresses, b.get("/").Body)
	}
	asked, begin := p.asked.Load(), time.Now()
	var all, herded []*comettest.Tab
	var first, last time.Time // the one at the earliest, the other at the latest
	for _, address := range addresses {
		before := time.Now()
		es := b.Listen(address)
		all = append(all, es)
		if letIn(t, es) {
			continue
		}
		if last = time.Now().Add(told(t, es)); herded == nil {
			first = before.Add(told(t, es))
		}
		herded = append(herded, es)
	}
	took := time.Since(begin)
	if in := herd - len(herded); in < rate || in > rate+1+int(took.Seconds()*rate) || len(herded) < 2 {
		t.Fatalf("%d of %d were let in within %v", in, herd, took)
	}
	if spread := last.Sub(first); spread < time.Duration(len(herded)-1)*time.Second/rate {
		t.Errorf("%d were told to come back within %v", len(herded), spread)
	}
	turned := 0
	for _, es := range herded {
		for !letIn(t, es) {
			turned++
		}
	}
	if turned > len(herded) {
		t.Errorf("%d were turned away %d times more", len(herded), turned)
	}
	if n := p.asked.Load() - asked; n > herd {
		t.Errorf("the session storage was asked %d times for %d event streams that were let in, and %d that were not", n, herd, len(herded)+turned)
	}
	put("all")
	for _, es := range all {
		es.Expect("chat", "all")
	}
}

// letIn tells whether the tab's event stream began. If not, it was sent away within a 200.
func letIn(t *testing.T, es *comettest.Tab) bool {
	t.Helper()
	switch e := es.Event(); e.Name {
	case "comet:hello":
		return true
	case "comet:away":
		es.Ended()
		return false
	default:
		t.Fatalf("the first event is %s:\n%s", e.Name, es.Transcript())
		return false
	}
}
