package e2e

import (
	"encoding/json"
	"fmt"
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
	eval[bool](tab, `(answer = null, true)`)
	tab.click("#ask")
	tab.until(`answer && !document.querySelector("#ask").disabled`)
}

const counted = live + ` && answer`

// Rule 9: the source is read once when a tab connects and once when it asks; never ahead, never while nobody is there.
func TestMailcountCountsWhenAsked(t *testing.T) {
	t.Parallel()
	p := start(t, "mailcount", "-every", "30ms")
	p.arrive(3)
	p.counted(0)

	s := newSession(t)
	tab := s.open(p.url)
	tab.until(counted)
	p.counted(1)
	for i := range 3 {
		p.arrive(2)
		tab.ask()
		p.counted(2 + i)
	}
	shown, arrived := eval[int](tab, `+document.querySelector("#unread").textContent.replace(/\D/g, "")`), eval[int](tab, `answer.arrived`)
	if shown != arrived {
		t.Errorf("the page shows %d unread mails of %d that had arrived, want all: none was read", shown, arrived)
	}
	tab.until(fmt.Sprintf(`+document.querySelector("#arrived").textContent > %d && document.querySelector("#counted").textContent === "4"`, arrived))

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
	t.Parallel()
	p := start(t, "mailcount", "-every", "30ms")
	p.arrive(10)
	tab := newSession(t).open(p.url)
	tab.until(counted + ` && answer.unread >= 10`)
	tab.click("#read")
	tab.until(`document.querySelector("#asks button:last-child").disabled === false && document.querySelector("#unread").textContent >= 10`)
	tab.ask()
	tab.until(`answer.unread < answer.arrived`)
	p.counted(2)
}

// The server is killed and comes back: the page reloads itself once and can ask again.
func TestMailcountServerRestarts(t *testing.T) {
	t.Parallel()
	p := start(t, "mailcount", "-every", "30ms")
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
	t.Parallel()
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
