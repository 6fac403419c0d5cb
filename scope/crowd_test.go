package scope_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// step is how exactly a crowd keeps time, unless it says otherwise.
const step = 10 * time.Millisecond

// A crowd is many tabs with plain EventSources in one bubble. One goroutine drives them
// all, for the race detector bears no 10,000: it looks only at those who were woken or
// whose time to come back has come.
type crowd struct {
	t       *testing.T
	site    func() *scope.Site // where who connects is sent
	begun   time.Time
	step    time.Duration
	returns map[int64][]*member // by step
	members []*member

	mu    sync.Mutex
	woken []*member
}

// A member is one tab of a crowd, and what was seen of it. Times count from where the
// crowd began.
type member struct {
	*tab
	channel string
	heard   int             // its channel says 1, 2, 3…
	ends    []time.Duration // of its event streams
	waits   []time.Duration // what it was told then
	opened  []time.Duration // event streams that it was let into
	turned  int             // times that it was not
	is      bool            // among the woken
	others  []heard         // but values of its channel, hello and away
}

func newCrowd(t *testing.T, site *scope.Site) *crowd {
	c := &crowd{t: t, site: func() *scope.Site { return site }, begun: time.Now(), step: step, returns: map[int64][]*member{}}
	t.Cleanup(c.leave) // before the Sites end: they wait for it
	return c
}

func (c *crowd) now() time.Duration { return time.Since(c.begun) }

// join has a tab connect now, and judges from then on what it hears of channel.
func (c *crowd) join(tb *tab, channel string) *member {
	m := &member{tab: tb, channel: channel}
	c.members = append(c.members, m)
	c.connect(m)
	return m
}

func (c *crowd) connect(m *member) {
	m.site = c.site()
	if wait, ok := m.site.Admit(m.query, ""); !ok {
		m.turned++
		c.later(m, m.last(scope.Away(wait)))
		return
	}
	s, err := m.site.OpenStream(context.Background(), scope.Request{
		Query: m.query, LastEventID: m.lastID, Reconnect: m.lastID != "", Reader: m.reader, Path: m.path,
	})
	if errors.Is(err, scope.ErrOver) {
		m.dead, m.stream = true, nil
		return
	}
	if err != nil {
		c.t.Fatal(err)
	}
	m.stream, m.ended = s, false
	m.opened = append(m.opened, c.now())
	s.Start(func() { c.wake(m) })
	c.wake(m)
}

func (c *crowd) wake(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !m.is {
		m.is = true
		c.woken = append(c.woken, m)
	}
}

// last is the time that wire says to come back after.
func (m *member) last(wire []byte) time.Duration {
	_, text, ok := cutLast(string(wire), "retry: ")
	text, _, _ = strings.Cut(text, "\n")
	ms, err := strconv.Atoi(text)
	if !ok || err != nil {
		m.t.Fatalf("no retry in %q", wire)
	}
	return time.Duration(ms) * time.Millisecond
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (c *crowd) later(m *member, wait time.Duration) {
	at := int64((c.now() + wait + c.step - 1) / c.step)
	c.returns[at] = append(c.returns[at], m)
}

// live lets time pass.
func (c *crowd) live(d time.Duration) {
	for until := c.now() + d; c.now() < until; {
		time.Sleep(c.step)
		synctest.Wait()
		c.look()
		at := int64(c.now() / c.step)
		for _, m := range c.returns[at] {
			c.connect(m)
		}
		delete(c.returns, at)
		c.look()
	}
}

// look has who was woken hear.
func (c *crowd) look() {
	for {
		c.mu.Lock()
		woken := c.woken
		c.woken = nil
		for _, m := range woken {
			m.is = false
		}
		c.mu.Unlock()
		if len(woken) == 0 {
			return
		}
		for _, m := range woken {
			c.hear(m)
		}
	}
}

func (c *crowd) hear(m *member) {
	if m.ended || m.stream == nil {
		return
	}
	wire := m.bytes()
	for _, e := range m.take(wire) {
		switch e.name {
		case "comet:hello", "comet:hb", "comet:away":
		case m.channel:
			if m.heard++; strconv.Itoa(m.heard) != e.data {
				c.t.Fatalf("a tab heard %s instead of %d", e.data, m.heard)
			}
		default:
			m.others = append(m.others, e)
		}
	}
	if m.ended {
		m.stream = nil
		wait := m.last(wire)
		m.ends, m.waits = append(m.ends, c.now()), append(m.waits, wait)
		c.later(m, wait)
	}
}

// leave cuts all connections.
func (c *crowd) leave() {
	for _, m := range c.members {
		m.cut()
	}
}

// wantEven fails unless times fill the span evenly: no tenth has more or less than its
// share by more than part of it.
func wantEven(t *testing.T, what string, times []time.Duration, from, to time.Duration, part float64) {
	t.Helper()
	var tenths [10]int
	for _, d := range times {
		if d < from || d > to {
			t.Fatalf("%s: one at %v, out of %v to %v", what, d, from, to)
		}
		tenths[min(9, int(10*(d-from)/(to-from)))]++
	}
	share := float64(len(times)) / 10
	for _, n := range tenths {
		if f := float64(n); f < share*(1-part) || f > share*(1+part) {
			t.Fatalf("%s: %v of %d in the tenths of %v to %v", what, tenths, len(times), from, to)
		}
	}
}

// most is how many of times are within any span.
func most(times []time.Duration, span time.Duration) (n int) {
	slices.Sort(times)
	for i, j := 0, 0; i < len(times); i++ {
		for times[i]-times[j] >= span {
			j++
		}
		n = max(n, i-j+1)
	}
	return n
}
