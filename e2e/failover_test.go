package e2e

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/e2e/internal/browser"
)

var failovers = flag.Int("failovers", 0, "measure `n` deaths of the tab that leads, in each browser")

// TestFailover measures how long the tabs of a session are without an event stream when the one that leads dies: from its
// pagehide, or from the command that crashes it, until the next one has heard comet:hello. It asserts nothing of the time.
//
//	go test -run TestFailover -failovers 30 -v .
func TestFailover(t *testing.T) {
	if *failovers == 0 {
		t.Skip("-failovers n measures n of them")
	}
	for _, name := range browser.Names {
		t.Run(name, func(t *testing.T) { failover(t, name, left) })
	}
	t.Run("chromium crashes", func(t *testing.T) { failover(t, "chromium", crashed) })
}

// left has the tab leave its page, and tells when.
func left(f *gate, tab *tab) (at int64) {
	f.t.Helper()
	tab.navigate(f.url + "/blank")
	return eval[int64](tab, `+localStorage.leftAt`)
}

// crashed ends the tab's process.
func crashed(f *gate, tab *tab) (at int64) {
	f.t.Helper()
	ctx := tab.chromium()
	at = time.Now().UnixMilli()
	go chromedp.Call(ctx, page.Crash, cdp.Empty{}) // it never answers
	return at
}

func failover(t *testing.T, in string, die func(*gate, *tab) int64) {
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSessionIn(t, in)
	tabs := f.shared(s, 4, "", "chat")
	var took []time.Duration
	for range *failovers {
		for _, tab := range tabs {
			tab.until(`comet.state === "open"`)
		}
		at := leader(tabs)
		dead := tabs[at]
		tabs = append(tabs[:at:at], tabs[at+1:]...)
		died := die(f, dead)
		waitFor(t, "another tab leads", func() bool { at = leader(tabs); return at >= 0 })
		tabs[at].until(`sources.at(-1).helloAt`)
		took = append(took, time.Duration(eval[int64](tabs[at], `sources.at(-1).helloAt`)-died)*time.Millisecond)
		dead.page.Close()
		tabs = append(tabs, f.shared(s, 1, "", "chat")...)
	}
	slices.Sort(took)
	within := 0
	for _, d := range took {
		if d <= 100*time.Millisecond {
			within++
		}
	}
	t.Logf("%s: %d deaths, median %v, most %v, %d within 100ms", in, len(took), took[len(took)/2], took[len(took)-1], within)
}
