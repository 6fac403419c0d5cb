package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/ocsigo/comet"
)

// shared opens pages of one session that use comet-shared.js, and waits until all of them are open.
func (f *gate) shared(s session, n int, options string, names ...string) []*tab {
	f.t.Helper()
	var tabs []*tab
	for range n {
		tabs = append(tabs, f.page(s, "/?shared", options, names...))
	}
	for _, tab := range tabs {
		tab.until(`comet.state === "open"`)
	}
	return tabs
}

// leader is which of the tabs opened the event stream that is there now.
func leader(tabs []*tab) int {
	for i, tab := range tabs {
		if !tab.closed && eval[bool](tab, `window.sources.some(s => s.readyState === 1)`) {
			return i
		}
	}
	return -1
}

// A leader that comes out of the back-forward cache follows, and its event stream stays closed.
func TestSharedBackForward(t *testing.T) { inBrowsers(t, sharedBackForward, "chromium", "webkit") }

func sharedBackForward(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	f.keepable.Store(true)
	tabs := f.shared(newSessionIn(t, in), 2, "", "chat", "mine")
	at := leader(tabs)
	left, stays := tabs[at], tabs[1-at]
	eval[bool](left, `window.same = true`)
	left.navigate(f.url + "/blank")
	r.say("1")
	stays.wantHeard("chat", "1")
	left.back()
	left.until(`window.same && comet.state === "open"`)
	r.say("2")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1", "2")
	}
	left.until(`!sources.some(s => s.readyState < 2)`)
}

// Twelve tabs hold one socket, hear their own channels and the site's, once each, and pages still load.
func TestSharedTabs(t *testing.T) { inEachEngine(t, sharedTabs) }

func sharedTabs(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	const n = 12
	tabs := f.shared(newSessionIn(t, in), n, "", "chat", "mine")
	if streams := f.streams.Load(); streams != 1 {
		t.Fatalf("%d event streams are open for %d tabs", streams, n)
	}
	r.say("1", "2", "3")
	for i, tab := range tabs {
		r.of(tab).send(t, fmt.Sprint("for ", i))
	}
	for i, tab := range tabs {
		tab.wantHeard("chat", "1", "2", "3")
		tab.wantHeard("mine", fmt.Sprint("for ", i))
	}
	eval[int](tabs[n-1], `fetch("/blank").then(r => r.status)`) // with six sockets taken it would never come
	if most := f.most.Load(); most > 2 {
		t.Errorf("%d event streams were open at once", most)
	}
	eval[bool](tabs[5], `comet.channel("count").pull().then(v => heard.count = [v]), true`)
	tabs[5].wantHeard("count", "1")
	if n := r.of(tabs[6]).reads.Load(); n != 0 {
		t.Errorf("another tab's source was read %d times", n)
	}
}

// The leader's death moves the event stream and loses and doubles nothing.
func TestSharedLeaderDies(t *testing.T) { inEachBrowser(t, sharedLeaderDies) }

func sharedLeaderDies(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tabs := f.shared(newSessionIn(t, in), 4, "", "chat", "mine")
	if streams := f.streams.Load(); streams != 1 {
		t.Errorf("%d event streams are open for %d tabs", streams, len(tabs))
	}
	var want []string
	for round := range 3 {
		at := leader(tabs)
		if at < 0 {
			t.Fatal("nobody leads")
		}
		for i := range 10 {
			text := fmt.Sprintf("%d.%d", round, i)
			want = append(want, text)
			r.say(text)
			for _, tab := range tabs {
				r.of(tab).send(t, text)
			}
			if i == 4 {
				tabs[at].close()
				tabs = append(tabs[:at:at], tabs[at+1:]...)
			}
		}
		for _, tab := range tabs {
			tab.wantHeard("chat", want...)
			tab.wantHeard("mine", want...)
		}
	}
	for _, tab := range tabs {
		if failed := eval[string](tab, `JSON.stringify(failed)`); strings.Contains(failed, "Channel") {
			t.Error(failed)
		}
	}
}

// The event stream moves by the lock's word and not by the watchdog's, which takes half a minute. How soon is logged: 4 to 10 ms
// on a quiet machine, where this test is all that runs.
func TestSharedLeaderMovesSoon(t *testing.T) { inEachEngine(t, sharedLeaderMovesSoon) }

func sharedLeaderMovesSoon(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tabs := f.shared(newSessionIn(t, in), 4, "", "chat")
	best := time.Hour
	for range 3 {
		at := leader(tabs)
		tabs[at].navigate(f.url + "/blank")
		left := eval[int64](tabs[at], `+localStorage.leftAt`)
		tabs = append(tabs[:at:at], tabs[at+1:]...)
		waitFor(t, "another tab leads", func() bool { at = leader(tabs); return at >= 0 })
		tabs[at].until(`sources.at(-1).helloAt`)
		took := time.Duration(eval[int64](tabs[at], `sources.at(-1).helloAt`)-left) * time.Millisecond
		t.Logf("the next one heard hello after %v", took)
		best = min(best, took)
	}
	if best > 5*time.Second {
		t.Errorf("moving took at least %v", best)
	}
}

// Two tabs that are not equally far: what the later one missed reaches it alone.
func TestSharedPositions(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSession(t)
	late, later := f.load(s, "/?shared"), f.load(s, "/?shared")
	r.say("1", "2")
	early := f.shared(s, 1, "", "chat")[0] // its page begins here
	r.say("3")
	early.wantHeard("chat", "3")
	for _, tab := range []*tab{late, later} {
		eval[bool](tab, `begin({}, "chat", "mine"), true`)
		tab.wantHeard("chat", "1", "2", "3")
	}
	r.say("4")
	for _, tab := range []*tab{late, later} {
		tab.wantHeard("chat", "1", "2", "3", "4")
	}
	early.wantHeard("chat", "3", "4")
	if n := f.streams.Load(); n != 1 {
		t.Errorf("%d event streams are open", n)
	}
	// Further back than what is kept: full, and that for one tab alone.
	lost := f.load(s, "/?shared")
	for n := 2; n < 27; n += 5 { // not faster than the tabs read
		r.say("x", "x", "x", "x", "x")
		early.until(fmt.Sprintf(`heard.chat.length === %d`, n+5))
	}
	eval[bool](lost, `begin({}, "chat"), true`)
	lost.until(`failed.chat === "ChannelFull trimmed" && heard.chat.length === 20`)
	r.say("5")
	for _, tab := range []*tab{early, late, later, lost} {
		tab.until(`heard.chat.at(-1) === "5"`)
	}
	if failed := eval[string](early, `failed.chat ?? ""`) + eval[string](late, `failed.chat ?? ""`); failed != "" {
		t.Errorf("others heard %s", failed)
	}
}

// Processes do not cross sessions, and tabs of two sessions do not share.
func TestSharedSessions(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	first := f.shared(newSession(t), 2, "", "chat", "mine")
	second := f.shared(newSession(t), 2, "", "chat", "mine")
	if n := f.streams.Load(); n != 2 {
		t.Errorf("%d event streams for two sessions", n)
	}
	r.say("1")
	for i, tab := range append(first, second...) {
		r.of(tab).send(t, fmt.Sprint(i))
		tab.wantHeard("mine", fmt.Sprint(i))
		tab.wantHeard("chat", "1")
	}
}

// An idle tab is let go of: for its process it is away, while the others hear on. Seen again, it has missed nothing. An idle
// leader hands over.
func TestSharedIdle(t *testing.T) { inEachEngine(t, sharedIdle) }

func sharedIdle(t *testing.T, in string) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tabs := f.shared(newSessionIn(t, in), 3, "idleAfter: 20, idlePoll: null", "chat", "mine")
	at := leader(tabs)
	for _, i := range []int{(at + 1) % 3, at} { // a follower, then the leader
		eval[bool](tabs[i], `hide(true), true`)
		if err := r.of(tabs[i]).process.WaitTimeout(t.Context(), soon); err != nil {
			t.Fatal(err)
		}
		r.of(tabs[i]).send(t, "kept")
	}
	third := tabs[(at+2)%3]
	r.say("1")
	third.wantHeard("chat", "1")
	if n := f.streams.Load(); n != 1 {
		t.Errorf("%d event streams are open", n)
	}
	for _, i := range []int{at, (at + 1) % 3} {
		if n := eval[int](tabs[i], `heard.mine.length + heard.chat.length`); n != 0 {
			t.Errorf("an idle tab heard %d values", n)
		}
		eval[bool](tabs[i], `hide(false), true`)
		tabs[i].wantHeard("mine", "kept")
		tabs[i].wantHeard("chat", "1")
	}
	if n := f.streams.Load(); n != 1 {
		t.Errorf("%d event streams are open", n)
	}
	eval[bool](tabs[at], `hide(true), true`)
	tabs[at].until(`comet.state === "paused"`)
	r.say("2")
	third.wantHeard("chat", "1", "2")
}

// A leader that does not run any more, with its connection and its lock, is deposed; when it runs again, it has missed nothing.
// (Tabs of one process hang together.)
func TestSharedLeaderHangs(t *testing.T) {
	inChromium(t)
	r := newRoom(t, comet.SiteConfig{Heartbeat: time.Second})
	f := newGate(t, r)
	tabs := f.shared(newSessionIn(t, "chromium"), 3, "", "chat", "mine")
	at := leader(tabs)
	var servers []*roomTab
	for _, tab := range tabs {
		servers = append(servers, r.of(tab))
	}
	letGo := f.hang(tabs[at])
	r.say("1", "2")
	for _, server := range servers {
		server.send(t, "a")
	}
	for i, tab := range tabs {
		if i != at {
			tab.wantHeard("chat", "1", "2")
			tab.wantHeard("mine", "a")
		}
	}
	letGo()
	tabs[at].until(`window.awake`)
	r.say("3")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1", "2", "3")
		tab.wantHeard("mine", "a")
	}
	waitFor(t, "one event stream is left", func() bool { return f.streams.Load() == 1 })
}

// A server that lost its memory: the tabs go on with what the site has, on one event stream, and say that their processes
// are gone; a page that is loaded anew takes the lead.
func TestSharedServerRestart(t *testing.T) { inEachEngine(t, sharedServerRestart) }

func sharedServerRestart(t *testing.T, in string) {
	f := newGate(t, newRoom(t, comet.SiteConfig{}))
	s := newSessionIn(t, in)
	tabs := f.shared(s, 4, "", "chat", "mine")
	f.to.Load().say("1")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1")
		tab.expect("410") // to the leader that asks for processes which the new server does not know
	}
	f.down()
	tabs[0].until(`comet.state === "connecting"`)
	second := newRoom(t, comet.SiteConfig{})
	f.to.Store(second)
	f.up()
	for _, tab := range tabs {
		tab.until(`failed.mine === "ProcessGone gone" && comet.state === "open"`)
	}
	second.say("2")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1", "2")
	}
	if n := f.streams.Load(); n != 1 {
		t.Errorf("%d event streams are open", n)
	}
	fresh := f.page(s, "/?shared", "", "chat", "mine")
	fresh.until(`comet.state === "open"`)
	second.of(fresh).send(t, "new")
	fresh.wantHeard("mine", "new")
	second.say("3")
	fresh.wantHeard("chat", "3")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1", "2", "3")
	}
}

// What one tab registers and closes is its own affair.
func TestSharedRegister(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tabs := f.shared(newSession(t), 3, "", "chat")
	r.say("1")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1")
		eval[bool](tab, `comet.channel("chat").close(), true`)
		tab.until(`failed.chat === "end"`)
	}
	r.say("2", "3")
	for i, tab := range tabs {
		eval[bool](tab, fmt.Sprintf(`comet.channel("chat", { from: "-%d" }), hear("chat"), true`, i))
	}
	tabs[0].wantHeard("chat", "1")
	tabs[1].wantHeard("chat", "1", "3")
	tabs[2].wantHeard("chat", "1", "2", "3")
	r.say("4")
	tabs[0].wantHeard("chat", "1", "4")
	tabs[1].wantHeard("chat", "1", "3", "4")
	tabs[2].wantHeard("chat", "1", "2", "3", "4")
}

// A duplicated page takes the process over, from the leader and from a follower, and they do not fight (rule 11).
func TestSharedDuplicate(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tabs := f.shared(newSession(t), 3, "", "chat", "mine")
	for _, tab := range tabs {
		eval[bool](tab, `window.second = lib.connect(url), (async () => { for await (const v of second.channel("mine")) heard.mine.push(v); })(), true`)
		tab.until(`failed.mine === "ChannelClosed superseded" && second.state === "open"`)
	}
	r.say("1")
	for _, tab := range tabs {
		r.of(tab).send(t, "a")
		tab.wantHeard("mine", "a")
		tab.wantHeard("chat", "1")
	}
}

// More pages than one event stream carries take a second one. Most of them are in frames of one tab: a tab costs more.
func TestSharedMoreThanSixteen(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSession(t)
	tabs := f.shared(s, 1, "", "chat", "mine") // begins the session
	crowd := s.open(f.url + "/blank")
	const framed = 14
	tokens := eval[[]string](crowd, fmt.Sprintf(`Promise.all(Array.from({ length: %d }, async () => {
	  const frame = document.createElement("iframe");
	  frame.src = "/?shared";
	  document.documentElement.append(frame);
	  const page = frame.contentWindow, when = holds => new Promise(done => (function look() { holds() ? done() : setTimeout(look, 20); })());
	  await when(() => page.ready);
	  page.begin({}, "chat", "mine");
	  await when(() => page.comet.state === "open");
	  return page.token;
	}))`, framed))
	tabs = append(tabs, f.shared(s, 2, "", "chat", "mine")...)
	if n := f.streams.Load(); n != 2 {
		t.Errorf("%d event streams are open for %d pages", n, framed+len(tabs))
	}
	r.say("1")
	for _, token := range tokens {
		r.owner(token).send(t, token)
	}
	crowd.until(`[...document.querySelectorAll("iframe")].every(({ contentWindow: page }) => page.heard.chat.join() === "1" && page.heard.mine.join() === page.token)`)
	for i, tab := range tabs {
		r.of(tab).send(t, fmt.Sprint(i))
		tab.wantHeard("mine", fmt.Sprint(i))
		tab.wantHeard("chat", "1")
	}
}

// A leader that the browser froze has let go before; one whose process crashed has its lock taken from it.
func TestSharedLeaderFrozenOrCrashed(t *testing.T) {
	inChromium(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tabs := f.shared(newSessionIn(t, "chromium"), 4, "", "chat", "mine")
	frozen := tabs[leader(tabs)]
	frozen.lifecycle("frozen")
	var rest []*tab
	for _, tab := range tabs {
		if tab != frozen {
			rest = append(rest, tab)
		}
	}
	r.say("1")
	for _, tab := range rest {
		r.of(tab).send(t, "a")
		tab.wantHeard("chat", "1")
		tab.wantHeard("mine", "a")
	}
	at := leader(rest)
	ctx := rest[at].chromium()
	go chromedp.Call(ctx, page.Crash, cdp.Empty{}) // it never answers
	rest = append(rest[:at:at], rest[at+1:]...)
	for _, tab := range rest {
		r.of(tab).send(t, "b")
	}
	r.say("2")
	for _, tab := range rest {
		tab.wantHeard("chat", "1", "2")
		tab.wantHeard("mine", "a", "b")
	}
	frozen.lifecycle("active")
	frozen.wantHeard("chat", "1", "2")
}

// Rules 1 and 2 for tabs that share: whatever happens to their connections, their leader and themselves, each hears everything
// once, in order.
func TestSharedChaos(t *testing.T) { inEachEngine(t, sharedChaos) }

func sharedChaos(t *testing.T, in string) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRoomOf(t, comet.SiteConfig{Heartbeat: time.Second}, 1000)
	f := newGate(t, r)
	s := newSessionIn(t, in)
	const options = "idleAfter: 10, idlePoll: [0, 50, 50]"
	type listener struct {
		tab    *tab
		server *roomTab
		chat   []string
		mine   []string
	}
	var all []*listener
	enter := func() {
		tab := f.load(s, "/?shared")
		all = append(all, &listener{tab: tab, server: r.of(tab)})
		eval[bool](tab, `begin({`+options+`}, "chat", "mine"), true`)
	}
	for range 4 {
		enter()
	}
	for n := range 40 {
		text := fmt.Sprint(n)
		r.say(text)
		for _, l := range all {
			l.server.send(t, text)
			l.chat, l.mine = append(l.chat, text), append(l.mine, text)
		}
		l := all[random.IntN(len(all))]
		switch random.IntN(8) {
		case 0:
			f.cut()
		case 1:
			f.refuse.Store(2)
			f.cut()
		case 2:
			eval[bool](l.tab, `hide(!document.hidden), true`)
		case 3:
			eval[bool](l.tab, `comet.restart(), true`)
		case 4:
			l.tab.close()
			all = slices.DeleteFunc(all, func(other *listener) bool { return other == l })
			enter()
		case 5:
			f.deaf.Store(2)
		}
	}
	f.refuse.Store(0)
	f.deaf.Store(0)
	for _, l := range all {
		eval[bool](l.tab, `hide(false), true`)
	}
	r.say("last")
	for _, l := range all {
		l.server.send(t, "last")
		l.tab.wantHeard("chat", append(l.chat, "last")...)
		l.tab.wantHeard("mine", append(l.mine, "last")...)
		if failed := eval[string](l.tab, `JSON.stringify(failed)`); failed != "{}" {
			t.Error(failed)
		}
	}
}
