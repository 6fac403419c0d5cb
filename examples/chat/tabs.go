package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// A tab counts as here until its event stream has been away this long: longer than a reconnect takes, so that nobody
// flickers, and short enough for a closed tab to be missed soon.
const away = 3 * time.Second

// A Presence is who is here: tabs are client processes, people are their sessions.
type Presence struct {
	Tabs   int      `json:"tabs"`
	People []Person `json:"people"`
}

// tabs is every page of the room whose client process lives.
type tabs struct {
	presence *channel.Channel[Presence]
	changes  *channel.Sender[Presence]

	mu  sync.Mutex
	all map[string]*tab // by the URL of their event streams
}

// A tab is one page. What follows url is guarded by tabs.mu.
type tab struct {
	process *scope.ClientProcess
	url     string

	here   bool
	visit  int         // counts the arrivals, so that a departure from an earlier one is known
	disarm func() bool // stops the watch on the present visit

	conn      net.Conn  // what the event stream runs over
	unplugged time.Time // until when the tab stays cut
}

func newTabs(site *scope.Site) (*tabs, error) {
	changes, stream := channel.Push[Presence]()
	presence, err := channel.CreateNewest(site, stream, channel.NewestConfig{Name: "presence"})
	if err != nil {
		return nil, err
	}
	return &tabs{presence: presence, changes: changes, all: make(map[string]*tab)}, nil
}

// open adds a page that was just made. It is here from now on, and leaves again if it never connects.
func (t *tabs) open(process *scope.ClientProcess, url string) {
	opened := &tab{process: process, url: url}
	t.mu.Lock()
	t.all[url] = opened
	t.mu.Unlock()
	t.arrive(opened)
	go func() {
		<-process.Done()
		t.forget(opened)
	}()
}

// arrive counts the tab as here until its process has been inactive for the time away.
func (t *tabs) arrive(tab *tab) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tab.disarm != nil {
		tab.disarm()
	}
	tab.visit++
	visit := tab.visit
	tab.disarm = tab.process.AfterInactive(away, func(error) { t.leave(tab, visit) })
	t.set(tab, true)
}

func (t *tabs) leave(tab *tab, visit int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tab.visit == visit {
		t.set(tab, false)
	}
}

func (t *tabs) forget(tab *tab) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, tab.url)
	t.set(tab, false)
}

// set tells everybody when it changes who is here. The caller holds the lock until the news is sent, so that the newest
// value is the latest count.
func (t *tabs) set(tab *tab, here bool) {
	if tab.here == here {
		return
	}
	tab.here = here
	err := t.changes.Send(context.Background(), t.count())
	if err != nil && !errors.Is(err, channel.ErrClosed) {
		log.Println("chat: presence:", err)
	}
}

func (t *tabs) count() Presence {
	var now Presence
	for _, tab := range t.all {
		if tab.here {
			now.Tabs++
			now.People = append(now.People, person(tab.process.Session()))
		}
	}
	slices.SortFunc(now.People, func(a, b Person) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	now.People = slices.Compact(now.People)
	return now
}

// watch stands before Comet and sees the tabs come back for their event streams. The URL of a tab's stream is a secret
// between the tab and the server; a page that makes its EventSource anew appends where it was to it.
func (t *tabs) watch(c *fiber.Ctx) error {
	url, _, _ := strings.Cut(c.OriginalURL(), "&after=")
	t.mu.Lock()
	tab := t.all[url]
	t.mu.Unlock()
	if tab == nil || c.Method() != fiber.MethodGet {
		return c.Next()
	}
	if left := t.stillCut(tab); left > 0 {
		return comeBackIn(c, left)
	}
	if err := c.Next(); err != nil {
		return err
	}
	if c.Response().StatusCode() == fiber.StatusOK {
		t.plug(tab, c.Context().Conn())
		t.arrive(tab)
	}
	return nil
}
