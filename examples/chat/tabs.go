package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"slices"
	"strings"
	"sync"
	"time"

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
	all map[string]*tab // by the token of their processes
}

// A tab is one page. What follows process is guarded by tabs.mu.
type tab struct {
	process *scope.ClientProcess
	here    bool
	plug    plug // for the button that cuts
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
func (t *tabs) open(process *scope.ClientProcess) {
	opened := &tab{process: process}
	t.mu.Lock()
	t.all[process.Token()] = opened
	t.set(opened, true)
	t.mu.Unlock()
	go t.follow(opened)
}

// follow has the tab leave and come back with its event stream, until its process ends.
func (t *tabs) follow(tab *tab) {
	ctx, process := context.Background(), tab.process
	for process.WaitTimeout(ctx, away) == nil {
		t.move(tab, false)
		if process.WaitActive(ctx) != nil {
			break
		}
		t.move(tab, true)
	}
	t.move(tab, false)
	t.mu.Lock()
	delete(t.all, process.Token())
	t.mu.Unlock()
}

func (t *tabs) move(tab *tab, here bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(tab, here)
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
	now := Presence{People: []Person{}} // in JSON an empty list, not null
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
