package e2e

import (
	"context"
	"fmt"
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

// That the app closed a site channel is told as it is.
func TestSharedClosedByTheApp(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	_, stream := channel.Push[string]()
	news := r.add(stream, channel.Config{Name: "news"})
	f := newGate(t, r)
	tabs := f.shared(newSession(t), 2, "", "chat", "news")
	news.Close()
	for _, tab := range tabs {
		tab.until(`failed.news === "ChannelClosed closed"`)
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
	r.unlisted("late", "kept")
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

// What a page that leads asks of the server for one of its site channels may be answered when it has another event stream already: that
// is no word on the channel.
func TestSharedNeedOutlivesItsStream(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	sender := r.unlisted("late", "kept")
	f := newGate(t, r)
	tab := f.shared(newSession(t), 1, "", "chat")[0]
	eval[bool](tab, `window.post = fetch, window.posts = 0,
		window.fetch = (...args) => ++posts === 1 ? post(...args) : Promise.reject(new TypeError("not reached")),
		comet.channel("late", { from: "-1" }), hear("late"), true`)
	tab.until(`posts > 1`) // it makes sure of the place
	eval[bool](tab, `comet.restart(), true`)
	tab.until(`comet.state === "open"`)
	eval[bool](tab, `new Promise(done => setTimeout(() => { window.fetch = post; done(true); }, 600))`) // the old one gives up
	if err := sender.Send(t.Context(), "next"); err != nil {
		t.Fatal(err)
	}
	tab.wantHeard("late", "kept", "next")
}

// A tab that comes while the one that leads does not know yet that its own process is gone keeps its own process.
func TestSharedComesAfterTheLeaderIsGone(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSession(t)
	leads := f.shared(s, 1, "", "chat")[0]
	leads.expect("410")
	eval[bool](leads, `window.post = fetch, window.answered = 0, window.fetch = (...args) => post(...args).finally(() => answered++), true`)
	f.silent.Store(true)
	r.of(leads).process.Close()
	later := f.page(s, "/?shared", "", "chat", "mine")
	later.expect("410")
	leads.until(`answered > 0`)
	f.silent.Store(false)
	r.of(later).send(t, "a")
	later.wantHeard("mine", "a")
	r.say("1")
	for _, tab := range []*tab{leads, later} {
		tab.wantHeard("chat", "1")
	}
}

// unseen has a tab's event stream bring something that no page listens to.
func unseen(tab *tab, event string, send func()) {
	tab.t.Helper()
	eval[bool](tab, `window.came = false, sources.at(-1).addEventListener("`+event+`", () => window.came = true), true`)
	send()
	tab.until(`window.came`)
}

// A site channel's end after a private value that the tab which leads does not listen to is told to every tab.
func TestSharedEndAfterUnseen(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tabs := f.shared(newSession(t), 2, "", "chat")
	leads := tabs[leader(tabs)]
	unseen(leads, "mine", func() { r.of(leads).send(t, "unseen") })
	r.posts.Close()
	for _, tab := range tabs {
		tab.until(`failed.chat === "end"`)
	}
}

// A private value is its own tab's, also after a site channel's that no page listens to, and is not heard again from another leader.
func TestSharedPrivateAfterUnseen(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	odd, stream := channel.Push[string]()
	r.add(stream, channel.Config{Name: "odd", Event: "strange"})
	f := newGate(t, r)
	tabs := f.shared(newSession(t), 2, "", "chat", "mine")
	at := leader(tabs)
	leads, follows := tabs[at], tabs[1-at]
	say := func() {
		if err := odd.Send(t.Context(), "unseen"); err != nil {
			t.Error(err)
		}
	}
	for _, tab := range []*tab{follows, leads} {
		unseen(leads, "strange", say)
		r.of(tab).send(t, "a")
		tab.wantHeard("mine", "a")
	}
	r.say("1")
	for _, tab := range tabs {
		tab.wantHeard("chat", "1")
		tab.wantHeard("mine", "a")
	}
	leads.close()
	r.of(follows).send(t, "b")
	follows.wantHeard("mine", "a", "b")
}

// What channels are called on the wire is nothing that a page has to know, alone or not: each channel hears its own values, whatever
// came before that nobody reads.
func TestClientEventNames(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	say := func(s *channel.Sender[string], text string) {
		t.Helper()
		if err := s.Send(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	site := func(config channel.Config) *channel.Sender[string] {
		s, stream := channel.Push[string]()
		r.add(stream, config)
		return s
	}
	odd, ticks := site(channel.Config{Name: "odd", Event: "strange"}), site(channel.Config{Name: "ticks", Unnamed: true})
	s := newSession(t)
	tabs := append(f.shared(s, 2, "", "chat", "ticks"), f.page(s, "/", "", "chat", "ticks")) // the third one has an event stream of its own
	private := func(tab *tab, config channel.Config) *channel.Sender[string] {
		s, stream := channel.Push[string]()
		if _, err := channel.Create(r.of(tab).process, stream, config); err != nil {
			t.Fatal(err)
		}
		eval[bool](tab, fmt.Sprintf(`hear(%q), true`, config.Name))
		return s
	}
	for i, tab := range tabs {
		letters := private(tab, channel.Config{Name: "letters", Event: "mail"})
		say(letters, "a")
		tab.wantHeard("letters", "a")
		if i == 2 { // what has no event name can only be told apart by who knows whose it is
			continue
		}
		notes := private(tab, channel.Config{Name: "notes", Unnamed: true})
		say(odd, "unseen")
		say(letters, "b")
		say(notes, "c")
		say(notes, "d")
		say(odd, "unseen")
		say(notes, "e")
		tab.wantHeard("notes", "c", "d", "e")
		tab.wantHeard("letters", "a", "b")
	}
	say(ticks, "tick")
	r.say("end")
	for _, tab := range tabs {
		tab.wantHeard("chat", "end")
		tab.wantHeard("ticks", "tick")
		for _, name := range []string{"letters", "notes"} {
			if n := eval[int](tab, fmt.Sprintf(`(heard[%q] ?? []).filter(v => v === "tick" || v === "unseen" || v === "end").length`, name)); n > 0 {
				t.Errorf("%s heard %d values of a site channel", name, n)
			}
		}
	}
}

// The last values of a channel that ended are not lost with the connection.
func TestClientLastWords(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSession(t)
	for _, path := range []string{"/", "/?shared"} {
		tab := f.load(s, path)
		sender, stream := channel.Push[string]()
		if _, err := channel.Create(r.of(tab).process, stream, channel.Config{Name: "job"}); err != nil {
			t.Fatal(err)
		}
		eval[bool](tab, `begin({}, "chat", "mine", "job"), true`)
		tab.until(`comet.state === "open"`)
		say := func(text string) {
			if err := sender.Send(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		say("50 %")
		tab.wantHeard("job", "50 %")
		f.silent.Store(true)
		lost := f.passed.Load()
		say("done")
		sender.Close()
		waitFor(t, "the server has sent the end", func() bool { return f.passed.Load() > lost })
		f.cut()
		f.silent.Store(false)
		tab.until(`failed.job === "end"`)
		tab.wantHeard("job", "50 %", "done")
		tab.close()
	}
}

// What is registered during the look of a hidden page is heard in it, and the page's other channels are, too.
func TestSharedLookRegisters(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	tab := f.load(newSession(t), "/?shared")
	slow := channel.From(func(ctx context.Context) (int64, error) { <-ctx.Done(); return 0, ctx.Err() })
	if _, err := channel.CreateUnlimited(r.of(tab).process, slow, channel.UnlimitedConfig{Name: "slow"}); err != nil {
		t.Fatal(err)
	}
	eval[bool](tab, `begin({ idleAfter: 100, idlePoll: [0, 1000, 1000] }, "chat", "mine", "slow"), true`)
	tab.until(`comet.state === "open"`)
	r.of(tab).send(t, "a")
	tab.wantHeard("mine", "a")
	eval[bool](tab, `hide(true), true`)
	tab.until(`comet.state === "idle" && sources.length > 1 && sources.at(-1).helloAt`) // a look that waits for what is being read
	late, stream := channel.Push[string]()
	if _, err := channel.Create(r.of(tab).process, stream, channel.Config{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	news := r.unlisted("news")
	eval[bool](tab, `window.hellos = 0, sources.at(-1).addEventListener("comet:hello", () => hellos++), hear("late"), hear("news"), true`)
	tab.until(`hellos >= 2`)
	r.of(tab).send(t, "b")
	for _, s := range []*channel.Sender[string]{late, news} {
		if err := s.Send(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
	}
	tab.wantHeard("mine", "a", "b")
	tab.wantHeard("late", "c")
	tab.wantHeard("news", "c")
}

// A tab without a process yields the lead to one that dies while it joins: the next one has it.
func TestSharedYieldsAgain(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	f := newGate(t, r)
	s := newSession(t)
	first := f.shared(s, 1, "", "chat")[0]
	first.expect("410")
	r.of(first).process.Close()
	first.until(`failed[""] === "ProcessGone gone" && comet.state === "open"`)
	eval[bool](first, `window.said = [], window.radio = new BroadcastChannel("comet 1 /comet " + new URL(url, location).searchParams.get("g") + " 0"),
		radio.onmessage = ({ data: { type } }) => said.push(type), true`)

	dies := f.load(s, "/?shared")
	eval[bool](dies, `Object.defineProperty(BroadcastChannel.prototype, "onmessage", { set() {} }), begin({}, "chat"), true`) // it hears nothing
	first.until(`said.includes("yield")`)
	later := f.page(s, "/?shared", "", "chat", "mine")
	first.until(`said.filter(type => type === "join").length === 2`)
	dies.close()
	later.until(`comet.state === "open"`)
	if eval[bool](later, `states.some(s => s.why === "stalled")`) {
		t.Error("it was left alone until its watchdog looked")
	}
	r.of(later).send(t, "a")
	later.wantHeard("mine", "a")
	r.say("1")
	for _, tab := range []*tab{first, later} {
		tab.wantHeard("chat", "1")
	}
}

// A site channel whose hello was lost with the connection is registered again when the browser has another one.
func TestSharedHelloIsLost(t *testing.T) {
	inShell(t)
	r := newRoom(t, comet.SiteConfig{})
	sender := r.unlisted("late")
	f := newGate(t, r)
	tab := f.shared(newSession(t), 1, "", "chat")[0]
	eval[bool](tab, `window.post = fetch, window.answered = 0, window.fetch = (...args) => post(...args).finally(() => answered++), true`)
	f.silent.Store(true)
	eval[bool](tab, `hear("late"), true`)
	tab.until(`answered === 2`) // the register, and what makes sure of its place
	f.cut()
	if err := sender.Send(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	f.silent.Store(false)
	tab.wantHeard("late", "a")
	if n := eval[int](tab, `sources.length`); n != 1 {
		t.Errorf("the page opened %d event streams: the browser's own was to come back", n)
	}
}
