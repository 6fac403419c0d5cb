package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ocsigo/comet"
)

// comet.js hears what a native EventSource hears, and what came before somebody listened; the last loop that is left ends a
// private channel with its source, and the others go on (eliom.md 1c: cancel closes).
func TestClientHears(t *testing.T) { inWebKitToo(t, clientHears) }

func clientHears(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tab := f.page(newSessionIn(t, in), "/", "", "chat")
	tab.until(`comet.state === "open"`)
	r.say("1", "2")
	server := r.of(tab)
	eval[bool](tab, `comet.channel("mine"), true`) // to be read later
	server.send(t, "a", "b")
	tab.wantHeard("chat", "1", "2")
	eval[bool](tab, `hear("mine"), true`)
	tab.wantHeard("mine", "a", "b")

	eval[bool](tab, `(async () => { for await (const v of comet.channel("mine")) if (v === "leave") break; window.left = true; })(), true`)
	server.send(t, "leave")
	tab.until(`window.left`)
	server.send(t, "c") // the first loop is still there
	tab.wantHeard("mine", "a", "b", "leave", "c")

	eval[bool](tab, `comet.channel("mine").addEventListener("end", () => window.ended = true), comet.channel("mine").close(), true`)
	waitFor(t, "the source of a channel that the page closed is stopped", func() bool {
		return server.mine.Send(context.Background(), "unheard") != nil
	})
	tab.until(`window.ended && failed.mine === "end"`)
	r.say("3")
	tab.wantHeard("chat", "1", "2", "3")
	tab.wantHeard("mine", "a", "b", "leave", "c")
}

// The last loop to be left closes its channel on the server.
func TestClientLastLoopCloses(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	tab := newGate(t, r).page(newSession(t), "/", "")
	eval[bool](tab, `(async () => { for await (const v of comet.channel("mine")) break; })(), true`)
	server := r.of(tab)
	server.send(t, "a")
	waitFor(t, "the source of a channel that nobody reads is stopped", func() bool {
		return server.mine.Send(context.Background(), "unheard") != nil
	})
}

// Rule 9: each step of a loop has one value read, and one whose answer was lost is repeated without a second read.
func TestClientPulls(t *testing.T) { inEachEngine(t, clientPulls) }

func clientPulls(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tab := f.page(newSessionIn(t, in), "/", "")
	tab.until(`comet.state === "open"`)
	server := r.of(tab)
	eval[bool](tab, `window.step = () => { loop.next().then(r => (heard.count ??= []).push(r.value)); return true; },
		window.loop = comet.channel("count")[Symbol.asyncIterator](), step()`)
	tab.wantHeard("count", "1")
	f.deaf.Store(2)
	eval[bool](tab, `step()`)
	tab.wantHeard("count", "1", "2")
	waitFor(t, "the lost answers were asked for again", func() bool { return f.deaf.Load() < 0 })
	eval[bool](tab, `comet.channel("count").pull().then(v => heard.count.push(v)), true`)
	tab.wantHeard("count", "1", "2", "3")
	if n := server.reads.Load(); n != 3 {
		t.Errorf("the source was read %d times for 3 steps", n)
	}
	f.cut()
	tab.until(`states.some(s => s.why === "lost") && comet.state === "open"`)
	eval[bool](tab, `step()`)
	tab.wantHeard("count", "1", "2", "3", "4")
	if n := server.reads.Load(); n != 4 {
		t.Errorf("the source was read %d times for 4 steps: a reconnect reads nothing", n)
	}
}

// eliom.md 4a, cf0d9fb2b: two 503 in a row, which end a native EventSource for good.
func TestClientSurvives503(t *testing.T) { inWebKitToo(t, clientSurvives503) }

func clientSurvives503(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tab := f.page(newSessionIn(t, in), "/", "", "chat", "mine")
	r.say("1")
	tab.wantHeard("chat", "1")
	f.refuse.Store(2)
	f.cut()
	waitFor(t, "two answers of 503", func() bool { return f.refused.Load() == 2 })
	r.say("2")
	r.of(tab).send(t, "a")
	tab.wantHeard("chat", "1", "2")
	tab.wantHeard("mine", "a")
	if !eval[bool](tab, `states.some(s => s.state === "connecting" && s.why === "refused" && s.inMs > 0)`) {
		t.Errorf("the state did not tell: %s", eval[string](tab, `JSON.stringify(states)`))
	}
}

// A server that is gone and comes back without its memory: the site channel is heard on, and says what is missing; the
// private ones say that their process is gone, and the page can get new ones.
func TestClientServerRestart(t *testing.T) { inEachEngine(t, clientServerRestart) }

func clientServerRestart(t *testing.T, in string) {
	f := newGate(t, newRoom(t, comet.SiteConfig{}))
	tab := f.page(newSessionIn(t, in), "/", "", "chat", "mine")
	f.to.Load().say("1")
	tab.wantHeard("chat", "1")
	f.down()
	tab.until(`states.filter(s => s.inMs).length >= 2`) // two attempts have failed
	second := newRoom(t, comet.SiteConfig{})
	second.say("2")
	f.to.Store(second)
	f.up()
	tab.wantHeard("chat", "1", "2")
	second.say("3")
	tab.wantHeard("chat", "1", "2", "3")
	tab.until(`failed.chat === "ChannelFull reset" && failed.mine === "ProcessGone gone" && failed[""] === "ProcessGone gone"`)
	if state := eval[string](tab, `comet.state`); state != "open" {
		t.Errorf("the state is %s", state)
	}
	if n := eval[int](tab, `heard.mine.length`); n != 0 {
		t.Errorf("the private channel heard %d values", n)
	}
}

// A close that the server planned is no failure: it is not counted against the retries.
func TestClientPlannedClose(t *testing.T) { inEachEngine(t, clientPlannedClose) }

func clientPlannedClose(t *testing.T, in string) {
	first := newRoom(t, comet.SiteConfig{})
	f := newGate(t, first)
	tab := f.page(newSessionIn(t, in), "/", "retries: 0", "chat")
	tab.until(`comet.state === "open"`)
	second := newRoom(t, comet.SiteConfig{})
	f.to.Store(second)
	first.stop()
	second.say("1")
	tab.wantHeard("chat", "1")
	if eval[bool](tab, `states.some(s => s.state === "paused")`) {
		t.Errorf("it was counted: %s", eval[string](tab, `JSON.stringify(states)`))
	}
	f.refuse.Store(1)
	f.cut()
	tab.until(`comet.state === "paused" && comet.why === "refused"`) // what is not planned is counted
	eval[bool](tab, `comet.activate(), true`)
	tab.until(`comet.state === "open"`)
}

// A connection on which nothing comes any more, not even heartbeats, is given up.
func TestClientStalls(t *testing.T) { inEachEngine(t, clientStalls) }

func clientStalls(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{Heartbeat: 2 * time.Second})
	f := newGate(t, r)
	tab := f.page(newSessionIn(t, in), "/", "", "chat")
	r.say("1")
	tab.wantHeard("chat", "1")
	tab.until(`performance.now() > 6000 && comet.state === "open"`) // heartbeats keep it
	if eval[bool](tab, `states.some(s => s.why === "stalled")`) {
		t.Fatal("it was given up while heartbeats came")
	}
	f.silent.Store(true)
	r.say("2")
	tab.until(`comet.why === "stalled"`)
	f.silent.Store(false)
	tab.wantHeard("chat", "1", "2")
}

// eliom.md 2.7: hidden for a while, the page lets go of its connection, looks from time to time so that its process lives,
// and is back at once when it is seen.
func TestClientIdles(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{ReturnWithin: 6 * time.Second, Heartbeat: time.Second})
	f := newGate(t, r)
	tab := f.page(newSession(t), "/", "idleAfter: 50, idlePoll: [0, 100, 100]", "chat", "mine")
	tab.until(`comet.state === "open"`)
	process := r.of(tab).process
	eval[bool](tab, `hide(true), true`)
	tab.until(`comet.state === "idle"`)
	waitFor(t, "the event stream ends", func() bool { return f.streams.Load() == 0 })
	r.say("1")
	r.of(tab).send(t, "a")
	tab.wantHeard("chat", "1") // by a look
	tab.wantHeard("mine", "a")
	select {
	case <-process.Done():
		t.Fatal("the process ended although its page looks")
	case <-time.After(8 * time.Second): // longer than it lives without
	}
	eval[bool](tab, `hide(false), true`)
	tab.until(`comet.state === "open"`)
	r.say("2")
	tab.wantHeard("chat", "1", "2")
	if got := eval[string](tab, `failed.mine ?? ""`); got != "" {
		t.Error(got)
	}
}

// Without looks a hidden page is paused; always active, it stays.
func TestClientIdleOptions(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSession(t)
	paused := f.page(s, "/", "idleAfter: 20, idlePoll: null", "chat")
	active := f.page(s, "/", "idleAfter: Infinity", "chat")
	for _, tab := range []*tab{paused, active} {
		tab.until(`comet.state === "open"`)
		eval[bool](tab, `hide(true), true`)
	}
	paused.until(`comet.state === "paused" && comet.why === "hidden"`)
	r.say("1")
	active.wantHeard("chat", "1")
	if state := eval[string](active, `comet.state`); state != "open" {
		t.Errorf("always active, and %s", state)
	}
	if err := r.of(paused).process.WaitTimeout(context.Background(), soon); err != nil {
		t.Errorf("a paused page is away: %v", err)
	}
	eval[bool](paused, `hide(false), true`)
	paused.wantHeard("chat", "1")

	hidden := f.load(s, "/") // a page that is born hidden looks at once, or its process would not live
	r.of(hidden).send(t, "a")
	eval[bool](hidden, `hide(true), begin({}, "mine"), true`)
	hidden.until(`comet.state === "idle"`)
	hidden.wantHeard("mine", "a")
}

// A page that Chromium froze goes on where it was; while it was frozen its process was away.
func TestClientFrozen(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tab := f.page(newSession(t), "/", "", "chat", "mine")
	tab.until(`comet.state === "open"`)
	r.say("1")
	tab.wantHeard("chat", "1")
	server := r.of(tab)
	tab.lifecycle("frozen")
	waitFor(t, "a frozen page lets go of its event stream", func() bool { return f.streams.Load() == 0 })
	r.say("2")
	server.send(t, "a")
	tab.lifecycle("active")
	tab.wantHeard("chat", "1", "2")
	tab.wantHeard("mine", "a")
}

// A page that was frozen for longer than its process lives: the site's channels are back without a reload, the private ones
// say that the process is gone.
func TestClientFrozenForLong(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{ReturnWithin: 200 * time.Millisecond})
	f := newGate(t, r)
	tab := f.page(newSession(t), "/", "", "chat", "mine")
	tab.until(`comet.state === "open"`)
	process := r.of(tab).process
	tab.lifecycle("frozen")
	select {
	case <-process.Done():
	case <-time.After(patience):
		t.Fatal("the process of a frozen page lives on")
	}
	r.say("1")
	tab.lifecycle("active")
	tab.wantHeard("chat", "1")
	eval[bool](tab, `hide(false), true`) // Chromium has it hidden still
	tab.until(`failed.mine === "ProcessGone gone" && failed[""] === "ProcessGone gone" && comet.state === "open"`)
	eval[bool](tab, `hear("mine"), true`) // it stays gone, at once
	tab.until(`comet.channel("mine") && failed.mine === "ProcessGone gone"`)
}

// A page that comes back from the back-forward cache goes on where it was.
func TestClientBackForward(t *testing.T) {
	inBrowsers(t, clientBackForward, "chromium", "webkit") // Firefox keeps none
}

func clientBackForward(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	r.say("0")
	tab := f.page(newSessionIn(t, in), "/public", "", "chat")
	tab.wantHeard("chat", "0")
	eval[bool](tab, `window.same = true`)
	tab.navigate(f.url + "/blank")
	waitFor(t, "a page that was left lets go of its event stream", func() bool { return f.streams.Load() == 0 })
	r.say("1", "2")
	tab.back()
	tab.until(`window.same`)
	tab.wantHeard("chat", "0", "1", "2")
	tab.until(`sources.filter(s => s.readyState < 2).length === 1`) // WebKit opens the closed one again, too
	if !eval[bool](tab, `states.some(s => s.why === "pagehide")`) {
		t.Error(fmt.Sprint("it was not restored: ", eval[string](tab, `JSON.stringify(states)`)))
	}
}

// Rule 11: a duplicated page takes the process over, and the older one is told, once, and does not come back, not even
// by a new EventSource for its site channels.
func TestClientSuperseded(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tab := f.page(newSession(t), "/", "", "mine", "chat")
	tab.until(`comet.state === "open"`)
	eval[bool](tab, `window.second = lib.connect(url), true`)
	tab.until(`second.state === "open" && failed.mine === "ChannelClosed superseded"`)
	eval[bool](tab, `(async () => { for await (const v of second.channel("mine")) heard.mine.push(v); })(), true`)
	r.of(tab).send(t, "a")
	tab.wantHeard("mine", "a")
	eval[bool](tab, `comet.restart(), true`)
	tab.until(`comet.state === "open"`)
	r.say("1")
	tab.wantHeard("chat", "1")
	r.of(tab).send(t, "b")
	tab.wantHeard("mine", "a", "b")
}

// What the URL does not name is registered, without a new connection; what is not to be had says so.
func TestClientRegisters(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSession(t)
	tab := f.page(s, "/", "", "chat")
	tab.until(`comet.state === "open"`)
	r.say("1")
	tab.wantHeard("chat", "1")
	eval[bool](tab, `comet.channel("chat").close(), true`)
	eval[bool](tab, `comet.channel("chat", { from: "-1" }) && hear("chat"), true`)
	tab.wantHeard("chat", "1", "1")
	if n := f.most.Load(); n != 1 {
		t.Errorf("%d event streams were opened", n)
	}
	public := f.page(s, "/public", "", "chat", "nothing")
	public.until(`failed.nothing === "ChannelClosed unavailable"`)
}

// soon is long enough for a span of absence that nothing else makes.
const soon = 50 * time.Millisecond
