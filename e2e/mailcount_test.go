package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type tally struct{ Arrived, Counted int }

func (p *program) tally() (now tally) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.get("/tally")), &now); err != nil {
		p.t.Fatal(err)
	}
	return now
}

// arrive waits for n more mails.
func (p *program) arrive(n int) {
	p.t.Helper()
	before := p.tally().Arrived
	waitFor(p.t, fmt.Sprint(n, " more mails"), func() bool { return p.tally().Arrived >= before+n })
}

func (p *program) counted(want int) {
	p.t.Helper()
	if got := p.tally().Counted; got != want {
		p.t.Errorf("the mails were counted %d times, want %d", got, want)
	}
}

// ask presses the button and waits for the answer.
func (tab *tab) ask() {
	tab.t.Helper()
	before := tab.number("#pulled .heard b")
	tab.click("#ask")
	tab.until(fmt.Sprintf(`+document.querySelector("#pulled .heard b").textContent > %d && !document.querySelector("#ask").disabled`, before))
}

// number is what an element shows.
func (tab *tab) number(selector string) int {
	tab.t.Helper()
	return eval[int](tab, fmt.Sprintf(`+document.querySelector(%q).textContent.replace(/\D/g, "")`, selector))
}

const counted = live + ` && !document.querySelector("#unread.waiting")`

// Rule 9: the source is read once when a tab connects and once when it asks; never ahead, never while nobody is there.
func TestMailcountCountsWhenAsked(t *testing.T) {
	inShell(t)
	p := start(t, "mailcount", "-every", "100ms")
	p.arrive(3)
	p.counted(0)

	s := newSession(t)
	tab := s.open(p.url)
	tab.until(counted)
	p.counted(1)
	for i := range 3 {
		p.arrive(2)
		before := p.tally().Arrived
		tab.ask()
		if shown, after := tab.number("#unread"), p.tally().Arrived; shown < before || shown > after {
			t.Errorf("the page shows %d unread mails when %d to %d had arrived, want all: none was read", shown, before, after)
		}
		p.counted(2 + i)
	}
	tab.until(fmt.Sprintf(`+document.querySelector("#arrived").textContent > %d && document.querySelector("#counted").textContent === "4"`, tab.number("#unread")))

	other := s.open(p.url)
	other.until(counted)
	other.ask()
	p.counted(6)

	tab.close()
	other.close()
	p.arrive(20)
	p.counted(6)
}

func TestMailcountMarksAsRead(t *testing.T) {
	inShell(t)
	p := start(t, "mailcount", "-every", "100ms")
	p.arrive(10)
	tab := newSession(t).open(p.url)
	tab.until(counted)
	if n := tab.number("#unread"); n < 10 {
		t.Errorf("the page shows %d unread mails, want the 10 that had arrived", n)
	}
	tab.click("#read button")
	tab.until(`document.querySelector("#when").textContent.includes("marked as read since")`)
	tab.ask()
	if n, all := tab.number("#unread"), p.tally().Arrived; n >= all {
		t.Errorf("the page shows %d unread mails of %d, want fewer: all were read a moment ago", n, all)
	}
	p.counted(2)
}

// The server is killed and comes back: the page reloads itself once and can ask again.
func TestMailcountServerRestarts(t *testing.T) {
	inShell(t)
	p := start(t, "mailcount", "-every", "100ms")
	tab := newSession(t).open(p.url)
	tab.until(counted)
	p.kill()
	tab.until(lost)
	p.restart()
	tab.until(counted + ` && sessionStorage.getItem("reloaded")`)
	tab.ask()
	p.counted(2)
}

// Rule 8: where cookies are refused the page reloads once, not for ever, and says what is wrong.
func TestMailcountWithoutCookies(t *testing.T) {
	inShell(t)
	p := start(t, "mailcount")
	between := newProxy(t, p.url)
	between.noCookies.Store(true)
	tab := newSession(t).open(between.URL)
	tab.until(`sessionStorage.getItem("reloaded")`)
	stamp := eval[string](tab, `sessionStorage.getItem("reloaded")`)
	tab.until(`performance.getEntriesByType("navigation")[0].type === "reload" && document.querySelector("#pill.dead") && document.querySelector("#when").textContent.includes("allow cookies")`)
	if again := eval[string](tab, `sessionStorage.getItem("reloaded")`); again != stamp { // a reload is stamped before it happens
		t.Error("the page reloads itself again")
	}
	if n := between.pages.Load(); n != 2 {
		t.Errorf("the page was loaded %d times, want 2: once, and once more when it was gone", n)
	}
	p.counted(0)
}

// Without scripts the page tells what has arrived, and its form marks all as read; still nobody counts.
func TestMailcountIsAFormWithoutScripts(t *testing.T) {
	t.Parallel()
	p := start(t, "mailcount", "-every", "100ms")
	p.arrive(3)
	page := p.get("/")
	for _, part := range []string{`<form id="read" method="post" action="/read">`, `<noscript>`, `<li>`} {
		if !strings.Contains(page, part) {
			t.Errorf("the page has no %s:\n%s", part, page)
		}
	}
	p.post("/read", nil)
	p.counted(0)
}

// The three constructors side by side: every mail, the newest tally, and nothing that was not asked for. The page asks by
// itself once more when that is switched on.
func TestMailcountCompares(t *testing.T) {
	inShell(t)
	s := newSession(t)
	p := start(t, "mailcount", "-every", "100ms")
	tab := s.open(p.url)
	tab.until(counted)
	tab.until(`+document.querySelector("#mail .heard b").textContent > 20 && document.querySelectorAll("#mail li").length === 3`)
	if every, newest := tab.number("#mail .heard b"), tab.number("#tally .heard b"); newest > every+2 { // and the first, and the count
		t.Errorf("heard %d tallies and %d mails, want no more: a newer tally takes an older one's place", newest, every)
	}
	arrived := p.tally().Arrived
	tab.until(fmt.Sprintf(`+document.querySelector("#tally .now b").textContent >= %d`, arrived))
	if pulled := tab.number("#pulled .heard b"); pulled != 1 {
		t.Errorf("heard %d counts, want the one that was asked for", pulled)
	}
	tab.click("#often")
	tab.until(`document.querySelector("#pulled .heard b").textContent === "2"`)
	p.counted(2)
	if wire := eval[[]string](tab, `[...document.querySelectorAll("#wire tbody tr")].map(row => row.cells[0].textContent)`); len(wire) != 20 || !slices.Contains(wire, "mail") {
		t.Errorf("the wire panel shows %q, want the last 20 events", wire)
	}
	tab.until(`/^\([0-9]+\) Mail count$/.test(document.title)`)
}

// Rule 9: a plain EventSource reads once by connecting, and once for each POST.
func TestMailcountNative(t *testing.T) {
	inEachEngine(t, func(t *testing.T, in string) {
		s := newSessionIn(t, in)
		p := start(t, "mailcount", "-every", "100ms")
		p.arrive(3)
		tab := s.open(p.url + "/native")
		tab.until(`+document.querySelector("#unread").textContent >= 3 && document.querySelector("#counted").textContent === "1"`)
		before := tab.number("#unread")
		p.arrive(5)
		tab.click("#ask")
		tab.until(fmt.Sprintf(`+document.querySelector("#unread").textContent >= %d && document.querySelector("#counted").textContent === "2"`, before+5))
		p.counted(2)
	})
}
