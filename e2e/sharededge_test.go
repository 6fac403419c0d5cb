package e2e

import (
	"context"
	"testing"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
)

// A site channel that is closed while the tab that leads has no process any more: it is asked for once and not again and again, and
// every tab hears of it.
func TestSharedClosedForTheGone(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	_, stream := channel.Push[string]()
	news := r.add(stream, channel.Config{Name: "news"})
	f := newGate(t, r)
	tabs := f.shared(newSession(t), 2, "", "chat", "news")
	for _, tab := range tabs {
		tab.expect("410")
		r.of(tab).process.Close()
	}
	for _, tab := range tabs {
		tab.until(`failed[""] === "ProcessGone gone" && comet.state === "open"`)
	}
	news.Close()
	for _, tab := range tabs {
		tab.until(`failed.news?.startsWith("ChannelClosed")`)
	}
	r.say("1")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1")
		if n := eval[int](tab, `sources.length`); n > 6 { // each tab may ask, and be heard for while another asks
			t.Errorf("a tab opened %d event streams", n)
		}
	}
}

// A site channel whose source fails with ErrFull has a full that is its last word: nothing goes on anywhere after it.
func TestSharedFinalFull(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	fail := make(chan struct{})
	r.add(channel.From(func(ctx context.Context) (string, error) {
		select {
		case <-fail:
			return "", channel.ErrFull
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}), channel.Config{Name: "news"})
	f := newGate(t, r)
	tabs := f.shared(newSession(t), 2, "", "chat", "news")
	close(fail)
	for _, tab := range tabs {
		tab.until(`failed.news === "ChannelFull overflow"`)
	}
	r.say("1")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1")
	}
}

// A register that was not answered before its page opened its event stream anew goes on there, in the tab that leads and in another.
func TestSharedRegisterOutlivesItsStream(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	sender, stream := channel.Push[string]()
	if _, err := channel.Create(r.site, stream, channel.Config{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	f := newGate(t, r)
	for _, tab := range f.shared(newSession(t), 2, "", "chat") {
		eval[bool](tab, `window.post = fetch, window.fetch = () => { window.tried = true; return Promise.reject(new TypeError("not reached")); },
			comet.channel("late", { from: "-1" }), hear("late"), true`)
		tab.until(`window.tried`)
		eval[bool](tab, `comet.restart(), true`)
		tab.until(`comet.state === "open"`)
		eval[bool](tab, `window.fetch = post, true`)
		tab.wantHeard("late", "kept")
	}
}
