package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	live = `document.querySelector("#pill.live")`
	lost = `document.querySelector("#pill.lost")?.textContent.startsWith("Reconnecting")`
)

// chat opens a tab on the chat and waits for its event stream.
func (s session) chat(url string) *tab {
	s.t.Helper()
	tab := s.open(url)
	tab.until(live)
	return tab
}

// submit says something without typing it, which takes its time, key by key.
func (tab *tab) submit(text string) {
	tab.t.Helper()
	eval[bool](tab, fmt.Sprintf(`(document.querySelector("#text").value = %q, document.querySelector("#say").requestSubmit(), true)`, text))
}

// say types and presses Enter.
func (tab *tab) say(text string) {
	tab.t.Helper()
	tab.write("#text", text)
	tab.enter(0)
}

// cut presses "Cut my connection", for so many seconds.
func (tab *tab) cut(seconds int) {
	tab.t.Helper()
	eval[bool](tab, fmt.Sprintf(`(document.querySelector("#cut button").value = %d, true)`, seconds))
	tab.click("#cut button")
}

const atEnd = `(log => log.scrollHeight - log.scrollTop - log.clientHeight < 2)(document.querySelector("#log"))`

// frames waits until the page has been painted, and what came of a scroll has been told to it.
func (tab *tab) frames() {
	tab.t.Helper()
	eval[bool](tab, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
}

// enter presses the key as a keyboard does: what it writes is part of the press, so that a page that prevents the press
// prevents the new line. (write sends the character apart.)
func (tab *tab) enter(modifiers int64) {
	tab.t.Helper()
	press := input.DispatchKeyEventParams{
		Type: input.DispatchKeyEventTypeKeyDown, Key: "Enter", Code: "Enter", Text: "\r", WindowsVirtualKeyCode: 13, Modifiers: modifiers,
	}
	release := press
	release.Type, release.Text = input.DispatchKeyEventTypeKeyUp, ""
	for _, event := range []input.DispatchKeyEventParams{press, release} {
		if _, err := chromedp.Call(tab.chromium(), input.DispatchKeyEvent, event); err != nil {
			tab.t.Fatal(err)
		}
	}
}

func (tab *tab) heard() []string {
	tab.t.Helper()
	return eval[[]string](tab, `[...document.querySelectorAll("#log .text")].map(e => e.textContent)`)
}

// hears waits for the last of the messages, and then wants exactly them, in their order.
func (tab *tab) hears(want ...string) {
	tab.t.Helper()
	tab.until(fmt.Sprintf(`[...document.querySelectorAll("#log .text")].some(e => e.textContent === %q)`, want[len(want)-1]))
	if got := tab.heard(); !slices.Equal(got, want) {
		tab.t.Fatalf("the tab shows %q, want %q", got, want)
	}
}

func (tab *tab) notes() string {
	tab.t.Helper()
	return eval[string](tab, `[...document.querySelectorAll(".note, .card")].map(e => e.textContent).join("\n")`)
}

// Rules 2 and 3: every tab of every session hears every message, once.
func TestChatInTabsAndSessions(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	one, other := newSession(t), newSession(t)
	first, second, third := one.chat(p.url), one.chat(p.url), other.chat(p.url)
	for _, tab := range []*tab{first, second, third} {
		tab.until(`document.querySelector("#count").textContent === "3 tabs, 2 people"`)
	}
	first.say("from the first tab")
	third.hears("from the first tab")
	third.say("from another person")
	second.hears("from the first tab", "from another person")
	second.write("#text", "two")
	second.enter(int64(kb.ModifierShift))
	second.say("lines")
	for _, tab := range []*tab{first, second, third} {
		tab.hears("from the first tab", "from another person", "two\nlines")
	}
	if mine := eval[int](first, `document.querySelectorAll(".mine").length`); mine != 2 {
		t.Errorf("the first session sees %d messages as its own, want the 2 of its tabs", mine)
	}
	second.until(`document.querySelector("#text").value === ""`)
}

// Rule 10: a tab that closes is missed by the others, and only it.
func TestChatTabLeaves(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	s := newSession(t)
	stays, leaves := s.chat(p.url), s.chat(p.url)
	stays.until(`document.querySelector("#count").textContent === "2 tabs, 1 person"`)
	leaves.close()
	stays.until(`document.querySelector("#count").textContent === "1 tab, 1 person"`)
}

func TestChatShowsTextAsText(t *testing.T) {
	inShell(t)
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>&amp;`
	p := start(t, "chat")
	tab := newSession(t).chat(p.url)
	p.say(evil)
	tab.hears(evil)
	tab.reload() // now it is the server that writes it into the page
	tab.until(live)
	tab.hears(evil)
	if title := eval[string](tab, `document.title`); title != "Chat" {
		t.Errorf("the text ran as a script: the title is %q", title)
	}
	if n := eval[int](tab, `document.querySelectorAll("#log img, #log script").length`); n != 0 {
		t.Errorf("the text became %d elements", n)
	}
}

// Rule 2: what the page was made with and what its event stream brings fit together.
func TestChatReload(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	p.say("one")
	p.say("two")
	tab := newSession(t).chat(p.url)
	tab.hears("one", "two")
	tab.reload()
	tab.until(live)
	p.say("three")
	tab.hears("one", "two", "three")
}

// Whether the browser kept the page or makes it anew, nothing is lost and nothing is shown twice.
func TestChatBackInHistory(t *testing.T) {
	inChromium(t)
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("kept=%v", kept), func(t *testing.T) {
			p := start(t, "chat")
			between := newProxy(t, p.url)
			between.keepable.Store(kept)
			tab := newSessionIn(t, "chromium").chat(between.URL)
			p.say("before")
			tab.hears("before")
			tab.expect("404")
			tab.navigate(between.URL + "/elsewhere")
			p.say("meanwhile")
			tab.back()
			tab.until(live)
			p.say("after")
			tab.hears("before", "meanwhile", "after")
			if n := between.pages.Load(); n == 1 != kept {
				t.Errorf("the page was loaded %d times; kept by the browser: %v", n, kept)
			}
		})
	}
}

// Rules 1, 2 and 12: the server hangs up, turns the tab away for a while, and then gives it what it missed.
func TestChatCut(t *testing.T) {
	inEachEngine(t, func(t *testing.T, in string) {
		s := newSessionIn(t, in)
		p := start(t, "chat")
		tab := s.chat(p.url)
		p.say("before")
		tab.hears("before")
		tab.cut(4)
		tab.until(lost + ` && document.querySelector("#cut button").disabled`)
		for i := range 3 {
			p.say(fmt.Sprint("missed ", i))
		}
		if got := tab.heard(); !slices.Equal(got, []string{"before"}) {
			t.Fatalf("a tab that is cut heard %q", got)
		}
		tab.until(`document.querySelector("#pill").textContent === "Live, 3 caught up"`)
		tab.hears("before", "missed 0", "missed 1", "missed 2")
		if notes := tab.notes(); !strings.HasPrefix(notes, "You were away for ") || !strings.HasSuffix(notes, "Caught up: 3 messages") {
			t.Errorf("the page says %q of the cut", notes)
		}
		if fresh := eval[int](tab, `document.querySelectorAll(".fresh").length`); fresh != 3 {
			t.Errorf("%d messages are marked as caught up, want 3", fresh)
		}
		p.say("after")
		tab.hears("before", "missed 0", "missed 1", "missed 2", "after")
	})
}

// Rule 3: all tabs of a browser hear, more of them than it opens connections, and the button cuts them all at once.
func TestChatSeventhTab(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	s := newSession(t)
	tabs := []*tab{s.chat(p.url)}
	for range 6 {
		tabs = append(tabs, s.chat(p.url))
	}
	tabs[0].until(`document.querySelector("#count").textContent === "7 tabs, 1 person"`)
	tabs[6].cut(5)
	for _, tab := range tabs {
		tab.until(lost)
	}
	p.say("missed")
	for _, tab := range tabs {
		tab.hears("missed")
		tab.until(live)
	}
}

// The pill says by its words what the connection does, also when nothing is wrong: a page that the browser keeps is paused.
func TestChatPaused(t *testing.T) {
	inShell(t)
	tab := newSession(t).chat(start(t, "chat").url)
	eval[bool](tab, `dispatchEvent(new Event("pagehide"))`)
	tab.until(`document.querySelector("#pill.idle")?.textContent === "Paused, hidden"`)
	eval[bool](tab, `dispatchEvent(new Event("pageshow"))`)
	tab.until(live)
}

// The wire panel shows what came over the connection, in the tab that has it; the other tabs say so.
func TestChatWire(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	s := newSession(t)
	first, second := s.chat(p.url), s.chat(p.url)
	for i := range 25 {
		p.say(fmt.Sprint("message ", i))
	}
	first.until(`document.querySelector("#wire tbody").rows.length === 20`)
	second.until(`document.querySelectorAll("#log .text").length === 25`)
	const row = `[...document.querySelector("#wire tbody").rows].map(row => [...row.cells].map(cell => cell.textContent)).find(row => row[0] === "chat")`
	if got := eval[[]string](first, row); len(got) < 3 || !strings.Contains(got[1], "~") || !strings.HasSuffix(got[2], " B") {
		t.Errorf("the newest chat is shown as %q, want its id and its length", got)
	}
	for _, tab := range []*tab{first, second} {
		tab.click("#wire summary")
	}
	second.until(`document.querySelector("#wire p").checkVisibility()`)
	if eval[bool](first, `document.querySelector("#wire p").checkVisibility()`) || eval[bool](second, `document.querySelector("#wire table").checkVisibility()`) {
		t.Error("both tabs say that the other has the event stream, or that they have it")
	}
}

// Rules 1, 2 and 3: the browser's own EventSource hears the room at /native, goes on over a proxy's 502, and is told of a
// restart.
func TestChatNative(t *testing.T) {
	inWebKitToo(t, func(t *testing.T, in string) {
		s := newSessionIn(t, in)
		p := start(t, "chat")
		p.say("<b>one</b>")
		between := newProxy(t, p.url)
		tab := s.open(between.URL + "/native")
		tab.expect("502")
		says := func(want string) {
			t.Helper()
			tab.until(`document.querySelector("#pill").textContent === "Live"`)
			tab.until(fmt.Sprintf(`[...document.querySelectorAll("#log li")].map(e => e.textContent).join() === %q`, want))
		}
		p.say("two")
		says("Guest: <b>one</b>,Guest: two")
		between.failing.Store(true)
		between.CloseClientConnections()
		tab.until(`document.querySelector("#pill").textContent === "Reconnecting…"`)
		p.say("three")
		between.failing.Store(false)
		says("Guest: <b>one</b>,Guest: two,Guest: three")
		p.kill()
		tab.until(`document.querySelector("#pill").textContent === "Reconnecting…"`)
		p.restart()
		says("Guest: <b>one</b>,Guest: two,Guest: three,Messages are missing here: reset")
	})
}

// Rule 1: more was said than the server keeps while the tab was cut, and the tab says that something is missing.
func TestChatCutForTooLong(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	tab := newSession(t).chat(p.url)
	tab.cut(4)
	tab.until(lost)
	for i := range 120 {
		p.say(fmt.Sprint("message ", i))
	}
	tab.until(`document.querySelectorAll("#log .text").length === 100`)
	if got := tab.heard(); got[0] != "message 20" || got[99] != "message 119" {
		t.Errorf("the tab hears from %q to %q, want the last 100", got[0], got[99])
	}
	if notes := tab.notes(); !strings.Contains(notes, "than the 100 messages that the server keeps") {
		t.Errorf("the page says %q of what it missed", notes)
	}
	for _, view := range views {
		tab.dress(view.scheme, view.width, view.height)
		eval[bool](tab, `(document.querySelector(".card").scrollIntoView(), true)`)
		tab.judge("chat-full-" + view.name)
	}
}

// The server is killed and comes back: the tab finds it by itself, says what is lost, and keeps what was being typed.
func TestChatServerRestarts(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	tab := newSession(t).chat(p.url)
	p.say("before")
	tab.hears("before")
	tab.write("#text", "half a sen")
	p.kill()
	tab.until(lost)
	p.restart()
	tab.until(live + ` && document.querySelector(".card")?.textContent.includes("started anew") && sessionStorage.getItem("reloaded") && !document.querySelector(".text")`)
	tab.say("tence")
	tab.hears("half a sentence")

	// Again within a minute: it hears the room without another reload.
	eval[bool](tab, `window.same = true`)
	p.kill()
	tab.until(lost)
	p.restart()
	tab.until(live + ` && document.querySelectorAll(".card").length === 2 && document.querySelector(".note")?.textContent.includes("does not know this tab")`)
	p.say("after")
	tab.hears("half a sentence", "after")
	if !eval[bool](tab, `window.same === true`) {
		t.Error("the page reloaded itself twice within a minute")
	}
}

// A proxy's 502 makes an EventSource give up for good: comet.js makes a new one, which goes on where the old one was, and the
// page says when.
func TestChatBrowserGivesUp(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	between := newProxy(t, p.url)
	tab := newSession(t).chat(between.URL)
	tab.expect("502")
	p.say("before")
	tab.hears("before")
	between.failing.Store(true)
	between.CloseClientConnections()
	tab.until(`document.querySelector("#pill.lost")?.textContent.startsWith("Reconnecting in ")`)
	p.say("missed 0")
	p.say("missed 1")
	between.failing.Store(false)
	tab.until(live)
	p.say("after")
	tab.hears("before", "missed 0", "missed 1", "after")
}

// Rule 8: where cookies are refused every process is unknown. The page reloads once, not for ever, and hears the room.
func TestChatWithoutCookies(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	between := newProxy(t, p.url)
	between.noCookies.Store(true)
	tab := newSession(t).chat(between.URL)
	tab.until(`sessionStorage.getItem("reloaded") && document.querySelector(".note")?.textContent.includes("does not know this tab")`)
	p.say("heard")
	tab.hears("heard")
	if n := between.pages.Load(); n != 2 {
		t.Errorf("the page was loaded %d times, want 2: once, and once more when it was gone", n)
	}
}

// Rule 11: a second event stream with the same URL takes the process over, and both go on hearing the room.
func TestChatDuplicatedTab(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	s := newSession(t)
	original, duplicate := s.chat(p.url), s.chat(p.url)
	for _, tab := range []*tab{original, duplicate} {
		tab.expect("409") // to who asks while the twin takes the process over: it asks again
	}
	stream := eval[string](original, `document.querySelector("meta[name=comet]").content`)
	eval[bool](duplicate, fmt.Sprintf(`window.got = [], (window.twin = new EventSource(%q)).addEventListener("chat", e => got.push(JSON.parse(e.data).text)), true`, stream))
	original.until(`document.querySelector(".note")?.textContent.includes("duplicated")`)
	p.say("heard by both")
	original.hears("heard by both")
	duplicate.until(`got.join() === "heard by both" && twin.readyState === 1`)
}

// Scrolled up to read, the page stays where it is and says how much is new.
func TestChatScrolledUp(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	for i := range 40 {
		p.say(fmt.Sprint("line ", i))
	}
	tab := newSession(t).chat(p.url)
	tab.until(`document.querySelector("#log").scrollHeight > document.querySelector("#log").clientHeight && ` + atEnd)
	eval[int](tab, `document.querySelector("#log").scrollTop = 0`)
	tab.frames()
	p.say("news")
	p.say("more news")
	tab.until(`document.querySelector("#down").checkVisibility() && document.querySelector("#down").textContent === "↓ 2 new"`)
	if top := eval[int](tab, `document.querySelector("#log").scrollTop`); top != 0 {
		t.Errorf("the page scrolled to %d under its reader", top)
	}
	tab.click("#down")
	tab.until(atEnd + ` && document.querySelector("#down").hidden`)
}

// A message that cannot be sent is kept, and the page says so; it is said when the server is back, or stands in the composer
// of the page that has been made anew.
func TestChatKeepsWhatWasNotTaken(t *testing.T) {
	inShell(t)
	p := start(t, "chat")
	tab := newSession(t).chat(p.url)
	tab.expect("410")
	p.kill()
	tab.until(lost)
	tab.say("is anybody there?")
	tab.until(`document.querySelector("#failed").checkVisibility() && document.querySelector("#failed").textContent.includes("cannot be reached")`)
	p.restart()
	const said, kept = `document.querySelector("#log .text")?.textContent === "is anybody there?"`, `document.querySelector("#text").value === "is anybody there?"`
	tab.until(`sessionStorage.getItem("reloaded") && ` + live + ` && (` + said + ` || ` + kept + `)`)
}

// Rule 1: what a tab says comes in its order, once, also where the connection fails under it.
func TestChatSaysInOrder(t *testing.T) {
	inShell(t)
	s := newSession(t)
	p := start(t, "chat")
	between := newProxy(t, p.url)
	tab := s.chat(between.URL)
	tab.expect("502")
	tab.expect("ERR_")
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprint("line ", i))
		tab.submit(want[i])
		if i == 6 {
			between.CloseClientConnections()
		}
	}
	tab.hears(want...)
}

// Without scripts the page lists what was said and its form posts.
func TestChatIsAFormWithoutScripts(t *testing.T) {
	t.Parallel()
	p := start(t, "chat")
	p.say("<b>one</b>")
	if page := p.get("/"); !strings.Contains(page, "&lt;b&gt;one&lt;/b&gt;") || !strings.Contains(page, `method="post" action="/messages"`) {
		t.Errorf("the page does not show the message, or has no form:\n%s", page)
	}
	p.post("/messages", url.Values{"text": {"two"}, "comet": {"no such tab"}})
	if page := p.get("/"); !strings.Contains(page, "two") {
		t.Error("a message from a tab that the server does not know is lost")
	}
}
