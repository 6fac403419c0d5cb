package comettest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/sse"
)

// Next returns the next value that tab hears under the event name, which is the
// channel's unless its config says another: the first that was not taken
// yet. It waits up to a minute for it. What comes under other names stays to be
// taken, for between channels there is no order; but a control event that stands
// before the value, comet:hello, heartbeats and comet:away aside, says that something is not
// as the page believed, and fails the test: take it by Expect where it is due.
//
// The name is "" for a channel without an event name. The value is read as the
// encoding has it, channel.JSON unless one is given.
func Next[T any](tab *Tab, name string, encoding ...channel.Encoding) T {
	tab.t.Helper()
	what := fmt.Sprintf("a value of %q", name)
	i, ok := 0, false
	tab.await(what, func() bool {
		i, ok = tab.find(name)
		return ok
	})
	tab.mu.Lock()
	e := tab.untaken[i].event
	if e.Name == name {
		tab.untaken = append(tab.untaken[:i:i], tab.untaken[i+1:]...)
	}
	tab.mu.Unlock()
	if e.Name != name {
		tab.fail(fmt.Sprintf("want %s, and heard before it: %s", what, describe(e)))
	}
	var enc channel.Encoding = channel.JSON
	if len(encoding) > 0 {
		enc = encoding[0]
	}
	var v T
	if err := enc.Decode(e.Data, &v); err != nil {
		tab.fail(fmt.Sprintf("want %s, of type %v, as %s: %v: heard %s", what, reflect.TypeFor[T](), enc.Name(), err, e.Data))
	}
	return v
}

// find returns where the first event of the name stands, or a control event
// before it. The caller holds t.mu.
func (t *Tab) find(name string) (int, bool) {
	for i, it := range t.untaken {
		if !it.end && (it.event.Name == name || isControl(it.event) && !isRoutine(it.event)) {
			return i, true
		}
	}
	return 0, false
}

func isControl(e sse.Event) bool { return strings.HasPrefix(e.Name, "comet:") }

// isRoutine tells whether e is of the event stream and not of a channel: it stands,
// it lives, it ends for another one. No page loses anything by that.
func isRoutine(e sse.Event) bool {
	return e.Name == "comet:hello" || e.Name == "comet:hb" || e.Name == "comet:away"
}

// Next returns the next event of any name, but comet:hello, heartbeats, comet:away and
// ends of connections. It waits up to a minute for it.
func (t *Tab) Next() sse.Event {
	t.t.Helper()
	return t.take("an event", func(it item) bool { return !it.end && !isRoutine(it.event) }).event
}

// Event returns the next event of any name, and waits up to a minute for it.
func (t *Tab) Event() sse.Event {
	t.t.Helper()
	return t.take("an event", func(it item) bool { return !it.end }).event
}

// Expect takes the next event, as Tab.Next does, and fails the test unless it has that name and, if data is
// not "", these data.
func (t *Tab) Expect(name, data string) sse.Event {
	t.t.Helper()
	e := t.Next()
	if e.Name != name || data != "" && string(e.Data) != data {
		t.fail(fmt.Sprintf("want %s %s, heard %s", name, data, describe(e)))
	}
	return e
}

// Ignore has the tab pass over events of these names, those that it has heard
// included, as a page does that does not listen to them. They stay in the transcript.
func (t *Tab) Ignore(names ...string) {
	t.set(func() {
		t.ignored = append(t.ignored, names...)
		t.untaken = slices.DeleteFunc(t.untaken, func(it item) bool {
			return !it.end && slices.Contains(t.ignored, it.event.Name)
		})
	})
}

// Hello takes the next event, which is to be comet:hello: the event stream stands,
// and what is put into its channels from here on is heard by it live.
func (t *Tab) Hello() sse.Event {
	t.t.Helper()
	e := t.Event()
	if e.Name != "comet:hello" {
		t.fail(fmt.Sprintf("want comet:hello, heard %s", describe(e)))
	}
	return e
}

// Ended waits until the connection ends, and fails the test if anything but
// comet:hello, heartbeats and comet:away is heard before. Clean tells whether the server ended
// it, or else it was cut. The tab is going to come back, or is closed for good: see Closed.
func (t *Tab) Ended() (clean bool) {
	t.t.Helper()
	it := t.take("the connection's end", func(it item) bool { return it.end || !isRoutine(it.event) })
	if !it.end {
		t.fail("want the connection's end, heard " + describe(it.event))
	}
	return it.clean
}

// Away waits until the server sends the tab away, by comet:away and the connection's
// end, and returns for how long: the tab comes back after that, as Retry says. It
// fails the test if anything but comet:hello and heartbeats is heard before, or if the
// connection ends otherwise.
func (t *Tab) Away() time.Duration {
	t.t.Helper()
	it := t.take("comet:away", func(it item) bool {
		return it.end || it.event.Name == "comet:away" || !isRoutine(it.event)
	})
	if it.end {
		t.fail("want comet:away, and the connection ended without it")
	}
	if it.event.Name != "comet:away" {
		t.fail("want comet:away, heard " + describe(it.event))
	}
	var notice struct{ Retry int64 }
	if err := json.Unmarshal(it.event.Data, &notice); err != nil {
		t.fail(fmt.Sprintf("%v in %s", err, describe(it.event)))
	}
	if !t.Ended() {
		t.fail("want the server's end after comet:away, and the connection was cut")
	}
	return time.Duration(notice.Retry) * time.Millisecond
}

// Rest waits until the connection ends, and returns what was heard before, but
// comet:hello, heartbeats and comet:away.
func (t *Tab) Rest() (events []sse.Event) {
	t.t.Helper()
	for {
		it := t.take("the connection's end", func(it item) bool { return it.end || !isRoutine(it.event) })
		if it.end {
			return events
		}
		events = append(events, it.event)
	}
}

// Closed waits until the EventSource is closed for good, and returns the status of
// the last answer: 204 is how the server says that it is over. Events that were
// not taken stay so.
func (t *Tab) Closed() (status int) {
	t.t.Helper()
	t.await("the EventSource to be closed", func() bool { return t.state == Closed })
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

// Nothing fails the test if there is an event that was not taken, but comet:hello,
// heartbeats and comet:away, now and when all that goes on in the bubble has come to rest. It
// needs a bubble of testing/synctest: nowhere else is it ever sure that
// nothing comes. For a time sleep before.
func (t *Tab) Nothing() {
	t.t.Helper()
	if !t.browser.app.bubble {
		t.t.Fatal("comettest: Nothing without fake time: no wait is long enough to tell that nothing comes; run the test in synctest.Test, with the app made there")
	}
	synctest.Wait()
	t.mu.Lock()
	var heard *sse.Event
	for _, it := range t.untaken {
		if !it.end && !isRoutine(it.event) {
			heard = &it.event
			break
		}
	}
	t.mu.Unlock()
	if heard != nil {
		t.fail("want nothing more, heard " + describe(*heard))
	}
}

// take removes what does not matter and the first that does, and returns that.
func (t *Tab) take(what string, matters func(item) bool) (it item) {
	t.t.Helper()
	t.await(what, func() bool {
		for len(t.untaken) > 0 {
			it, t.untaken = t.untaken[0], t.untaken[1:]
			if matters(it) {
				return true
			}
		}
		return false
	})
	return it
}

// await waits until ok, which is called with t.mu held, is true. It fails the test
// when that takes too long, or cannot happen any more.
func (t *Tab) await(what string, ok func() bool) {
	t.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		t.mu.Lock()
		done, over, changed := ok(), t.state == Closed, t.changed
		t.mu.Unlock()
		switch {
		case done:
			return
		case over && t.close == nil:
			t.fail("want " + what + ", and the tab was never connected: see Connect")
		case over:
			t.fail("want " + what + ", and the EventSource is closed for good")
		}
		select {
		case <-changed:
		case <-late.C:
			t.fail(fmt.Sprintf("want %s, which did not come in %v", what, patience))
		}
	}
}
