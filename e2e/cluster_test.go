package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const threeReady = `document.querySelectorAll("#nodes li.ready").length === 3`

// talk has the page say three messages in a second, numbered, until it is to be quiet or is left.
func (tab *tab) talk(who string) {
	tab.t.Helper()
	eval[bool](tab, fmt.Sprintf(`(sessionStorage.said = 0, window.talking = setInterval(() => {
	  document.querySelector("#text").value = %q + " " + sessionStorage.said++;
	  document.querySelector("#say").requestSubmit();
	}, 300), true)`, who))
}

// quiet tells how many messages the tab has said.
func (tab *tab) quiet() (said int) {
	tab.t.Helper()
	return eval[int](tab, `(clearInterval(window.talking), +sessionStorage.said)`)
}

func (tab *tab) happened() string {
	tab.t.Helper()
	return eval[string](tab, `[...document.querySelectorAll("#happened span")].map(e => e.textContent).join("\n")`)
}

// fromTop shows the page's beginning, whatever has the focus.
func (tab *tab) fromTop() {
	tab.t.Helper()
	eval[bool](tab, `(scrollTo(0, 0), true)`)
	tab.frames()
}

func happenedTo(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#happened span")].some(e => e.textContent.includes(%q))`, text)
}

// onNode opens a tab on a node of the cluster, when it is there.
func (s session) onNode(p *program, name string) *tab {
	s.t.Helper()
	tab := s.open(p.url)
	tab.until(threeReady)
	tab.navigate(p.url + "/?node=" + name)
	for _, status := range []string{"502", "503", "410", "404"} { // commands meet a node that dies, an owner that is dead, one that is gone
		tab.expect(status)
	}
	tab.until(fmt.Sprintf(`document.querySelector("#stream").textContent === %q && document.querySelector("#owner").textContent === %q`, name, name))
	return tab
}

// moves presses "Move here" of the nth node.
func (tab *tab) moves(nth int, name string) {
	tab.t.Helper()
	tab.click(fmt.Sprintf("#nodes li:nth-child(%d) button", nth))
	tab.until(live + fmt.Sprintf(` && document.querySelector("#stream").textContent === %q`, name))
}

// wantEach wants all that each has said once, in its order, and the same in both tabs.
func wantEach(t *testing.T, one, other *tab, said map[string]int) {
	t.Helper()
	heard := one.heard()
	if again := other.heard(); !slices.Equal(heard, again) {
		t.Errorf("the tabs show different messages:\n%q\n%q", heard, again)
	}
	for who, said := range said {
		var want, got []string
		for i := range said {
			want = append(want, fmt.Sprint(who, " ", i))
		}
		for _, text := range heard {
			if strings.HasPrefix(text, who+" ") {
				got = append(got, text)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %s is shown %q, want each of %d once, in order", who, got, said)
		}
	}
}

// Rules 1, 2 and 9, over a node's death: two browsers on two nodes go on talking while the node of one is killed, and then
// while that of the other is drained.
func TestClusterNodeIsKilled(t *testing.T) {
	inShell(t)
	p := start(t, "cluster", "-again", "3s")
	one, other := newSession(t).onNode(p, "a"), newSession(t).onNode(p, "b")
	one.until(threeReady)
	other.until(`document.querySelector("#clock").textContent !== "for 0 s"`)
	other.moves(3, "c") // away from its client process, and back
	eval[bool](other, `(window.clock = document.querySelector("#clock").textContent, true)`)
	other.until(`document.querySelector("#relay").textContent === "relays for node b" && document.querySelector("#clock").textContent !== clock`)
	other.moves(2, "b")
	one.talk("one")
	other.talk("other")
	other.until(`document.querySelectorAll("#log .text").length >= 20`)
	for _, view := range views[:2] {
		other.dress(view.scheme, view.width, view.height)
		other.fromTop()
		other.judge("cluster-before-" + view.name)
	}
	other.click("#kill")
	other.until(happenedTo("The event stream from node b broke"))
	other.until(happenedTo("Reconnected to node"))
	other.fromTop()
	other.look("cluster-relayed")
	for _, scheme := range []string{"light", "dark"} {
		other.portray("cluster", scheme, 900)
	}
	other.until(happenedTo("A new client process on node"))
	said := map[string]int{"one": one.quiet(), "other": other.quiet()}
	all := said["one"] + said["other"]
	for _, tab := range []*tab{one, other} {
		tab.until(fmt.Sprintf(`document.querySelectorAll("#log .text").length >= %d`, all))
	}
	wantEach(t, one, other, said)
	if doubled := eval[int](other, `+document.body.dataset.doubled || 0`) + eval[int](one, `+document.body.dataset.doubled || 0`); doubled != 0 {
		t.Errorf("%d messages came twice", doubled)
	}
	for _, view := range views {
		other.dress(view.scheme, view.width, view.height)
		other.fromTop()
		other.judge("cluster-after-" + view.name)
	}

	one.until(threeReady)
	// It is a, unless the election took longer than the lease: then that node has let go of this tab's process, too.
	drained := eval[string](one, `document.querySelector("#stream").textContent`)
	one.click("#drain")
	one.until(happenedTo("has shut down"))
	one.until(live + fmt.Sprintf(` && ["#stream", "#owner"].every(id => document.querySelector(id).textContent !== %q) && `, drained) + happenedTo("A new client process on node"))
	for _, tab := range []*tab{one, other} { // whose process was there hears it, too
		tab.until(live + ` && ![...document.querySelectorAll("#nodes li")].some(li => li.textContent.includes("this tab's process") && li.className.includes("down"))`)
	}
	one.submit("after the drain")
	for _, tab := range []*tab{one, other} {
		tab.until(fmt.Sprintf(`document.querySelectorAll("#log .text").length === %d`, all+1))
	}
	t.Logf("what happened to the tab whose node was killed:\n%s\n\nand to the one whose node was drained:\n%s", other.happened(), one.happened())
}

// Rule 8: where cookies are refused every process is unknown. The page says so, does not load itself for ever, and hears the room.
func TestClusterWithoutCookies(t *testing.T) {
	inShell(t)
	p := start(t, "cluster")
	waitFor(t, "the nodes serve their page", func() bool { // of one that is not ready yet the page would be loaded again
		resp, err := http.Get(p.url)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	between := newProxy(t, p.url)
	between.noCookies.Store(true)
	tab := newSession(t).open(between.URL)
	tab.until(live + ` && ` + happenedTo("Load the page again"))
	if n := between.pages.Load(); n != 1 {
		t.Errorf("the page was loaded %d times, want once", n)
	}
}
