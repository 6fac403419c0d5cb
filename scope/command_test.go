package scope_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ocsigo/comet/scope"
)

func wantRefused(t *testing.T, err error, code string) {
	t.Helper()
	var refusal *scope.CommandError
	if !errors.As(err, &refusal) || refusal.Code != code || refusal.Message == "" {
		t.Fatalf("got %v, want a refusal of code %s", err, code)
	}
}

// wantGone asks for the refusal that there is no such process, which says of whom.
func wantGone(t *testing.T, err error, token string) {
	t.Helper()
	wantRefused(t, err, "gone")
	if refusal := (*scope.CommandError)(nil); !errors.As(err, &refusal) || refusal.Process != token {
		t.Fatalf("refused for the process %q, want %q", refusal.Process, token)
	}
}

// TestRegister: a channel created after Open, in either order, and at once
// (eliom.md 2.1.3, 4a e893d4f1c, 4b launch_channel).
func TestRegister(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	tb := newTab(t, k.site, "s", p).connect()
	tb.hear()
	late := k.private(p, scope.Spec{Name: "late"})
	k.put(late, "kept")
	tb.want("late")
	if r, err := tb.command("register", "late"); err != nil || r.State != "heard" {
		t.Fatal(r, err)
	}
	tb.want("late", "kept")
	if r, err := tb.command("register", "soon"); err != nil || r.State != "wanted" {
		t.Fatal(r, err)
	}
	k.put(k.private(p, scope.Spec{Name: "soon"}), "1")
	tb.want("soon", "1")

	chat := k.channel(scope.Spec{Name: "chat"})
	k.put(chat, numbers(1, 3)...)
	if r, err := tb.command("register", "chat@-2"); err != nil || r.State != "heard" {
		t.Fatal(r, err)
	}
	events := tb.want("chat", "2", "3")
	hello := of(events, "comet:hello")
	if len(hello) != 1 || !strings.Contains(hello[0], `"channel":"chat"`) || !strings.Contains(events[0].id, "chat@") {
		t.Fatal("hello does not name what was added, and where it begins:", events)
	}
	before := events[0].id
	if r, err := tb.command("register", "chat"); err != nil || r.State != "heard" {
		t.Fatal("again:", r, err)
	}
	tb.lastID = before // URL and cursor suffice: the channel is in the cursor
	tb.cut().connect().want("chat", "2", "3")
	tb.want("chat")
	if r, err := tb.command("close", "chat"); err != nil || r.State != "closed" {
		t.Fatal(r, err)
	}
	tb.wantNotice("closed", notice{Channel: "chat", Reason: "closed", Final: true})
	k.put(chat, "unheard")
	tb.want("chat")
	tb.cut().connect().want("chat")
}

// TestClose: the page's close reaches the source (Eliom's does not) and keeps the
// others.
func TestClose(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	var cause error
	a := k.private(p, scope.Spec{Name: "a", Stop: func(err error) { cause = err }})
	b, chat, news := k.private(p, scope.Spec{Name: "b"}), k.channel(scope.Spec{Name: "chat"}), k.channel(scope.Spec{Name: "news"})
	tb := newTab(t, k.site, "s", p, a, b, chat, news).connect()
	k.put(a, "dropped")
	for _, name := range []string{"a", "chat"} {
		if _, err := tb.command("close", name); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(cause, scope.ErrClosed) {
		t.Fatal(cause)
	}
	if chat.Err() != nil {
		t.Fatal("a page closed a site channel for everybody")
	}
	events := tb.hear()
	if len(of(events, "comet:closed")) != 2 || len(of(events, "a")) != 0 {
		t.Fatal(events)
	}
	k.put(b, "1")
	k.put(chat, "unheard")
	k.put(news, "1")
	events = tb.cut().connect().hear()
	if fmt.Sprint(of(events, "b"), of(events, "news"), of(events, "chat")) != "[1] [1] []" {
		t.Fatal(events)
	}
	if _, err := tb.command("register", "chat"); err != nil { // unsubscribed from one and all, and back (eliom.md 4b)
		t.Fatal(err)
	}
	k.put(chat, "again")
	tb.want("chat", "again")
	_, err := tb.command("close", "nothing")
	wantRefused(t, err, "gone")
}

// TestAttachGoesBack proves rules 1 and 2 for pages that share: what the leader's
// event stream was told of a process, also before it was cut, is told again where
// its page says that it has not heard it. A bare token changes nothing.
func TestAttachGoesBack(t *testing.T) {
	k := newKit(t)
	leader, follower := k.process("s"), k.process("s")
	h := k.private(follower, scope.Spec{Name: "a"})
	tb := newTab(t, k.site, "s", leader, k.private(leader, scope.Spec{Name: "own"})).connect()
	newTab(t, k.site, "s", follower, h) // so that it is heard
	attach := func(value string) {
		t.Helper()
		if r, err := tb.command("attach", value); err != nil || r.State != "attached" || r.K != 1 {
			t.Fatal(value, r, err)
		}
	}
	attach(follower.Token())
	k.put(h, numbers(1, 4)...)
	tb.want("a@1", numbers(1, 4)...)
	tb.cut().connect()
	tb.want("a@1")
	attach(follower.Token())
	tb.want("a@1")
	attach(follower.Token() + ".2")
	if hello := of(tb.want("a@1", "3", "4"), "comet:hello"); len(hello) != 1 {
		t.Fatal("greetings:", hello)
	}
	attach(follower.Token() + ".4")
	if hello := of(tb.want("a@1"), "comet:hello"); len(hello) != 1 {
		t.Fatal("greetings:", hello)
	}
	attach(follower.Token() + ".0")
	tb.want("a@1", numbers(1, 4)...)
	k.put(h, "5")
	tb.want("a@1", "5")
}

// TestAttach proves rule 3: up to 16 processes on one event stream, each with its
// own names; URL and cursor suffice to come back.
func TestAttach(t *testing.T) {
	k := newKit(t)
	leader := newTab(t, k.site, "s", k.process("s")).connect()
	var processes []*scope.ClientProcess
	var channels []*scope.Handle
	for i := 1; i < scope.AttachMax; i++ {
		p := k.process("s")
		h := k.private(p, scope.Spec{Name: "a"})
		newTab(t, k.site, "s", p, h)
		processes, channels = append(processes, p), append(channels, h)
		r, err := leader.command("attach", p.Token())
		if err != nil || r.K != i {
			t.Fatal(i, r, err)
		}
	}
	_, err := leader.command("attach", k.process("s").Token())
	wantRefused(t, err, "refused")
	for i, h := range channels {
		k.put(h, "1")
		leader.want(fmt.Sprintf("a@%d", i+1), "1")
	}
	for _, h := range channels {
		k.put(h, "2")
	}
	leader.cut().connect()
	events := leader.hear()
	for i := range channels {
		if got := of(events, fmt.Sprintf("a@%d", i+1)); fmt.Sprint(got) != "[2]" {
			t.Fatal(i+1, got, events)
		}
	}
	if r, err := leader.command("attach", processes[2].Token()); err != nil || r.K != 3 {
		t.Fatal("attach again:", r, err)
	}
	if r, err := leader.command("detach", processes[2].Token()); err != nil || r.State != "detached" {
		t.Fatal(r, err)
	}
	events = leader.hear()
	if hello := of(events, "comet:hello"); len(hello) != 1 || !strings.Contains(hello[0], `"removed":["`+processes[2].Token()) {
		t.Fatal(events)
	}
	k.put(channels[2], "for nobody")
	leader.cut().connect()
	leader.want("a@3")
	alone := newTab(t, k.site, "s", processes[2], channels[2])
	alone.connect().want("a", "2", "for nobody") // of 2 it is not known that the tab has it
}

// TestAttachRefused proves rule 8 for commands: processes do not cross sessions.
func TestAttachRefused(t *testing.T) {
	k := newKit(t)
	mine, foreign := k.process("s"), k.process("other")
	tb := newTab(t, k.site, "s", mine)
	_, err := tb.command("attach", mine.Token())
	wantRefused(t, err, "conflict") // nothing is connected
	tb.connect()
	for _, token := range []string{foreign.Token(), "AAAAAAAAAAAAAAAAAAAAAA"} {
		_, err = tb.command("attach", token)
		wantGone(t, err, token)
		_, err = tb.command("pull", "x", "comet", token)
		wantGone(t, err, token)
	}
	_, err = tb.command("pull", "nothing")
	wantGone(t, err, "") // the channel is
	_, err = tb.command("attach", "?")
	wantRefused(t, err, "bad")
	_, err = tb.command()
	wantRefused(t, err, "bad")
	_, err = tb.command("pull", "a", "close", "b")
	wantRefused(t, err, "bad")
	_, err = tb.command("register", "not a name")
	wantRefused(t, err, "bad")
	tb.reader.Session = "thief"
	_, err = tb.command("close", "a")
	wantGone(t, err, mine.Token())
	site := newTab(t, k.site, "s", nil, k.channel(scope.Spec{Name: "chat"}))
	_, err = site.command("register", "chat")
	wantRefused(t, err, "bad")
}

// TestAttachMovesAProcess: a tab that joins another's event stream leaves its own
// and goes on where it was.
func TestAttachMovesAProcess(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	a := k.private(p, scope.Spec{Name: "a"})
	tb := newTab(t, k.site, "s", p, a).connect()
	k.put(a, "1")
	tb.want("a", "1")
	leader := newTab(t, k.site, "s", k.process("s")).connect()
	k.put(a, "2")
	if _, err := leader.command("attach", p.Token()+".1"); err != nil {
		t.Fatal(err)
	}
	leader.want("a@1", "2")
	tb.wantNotice("superseded", notice{Process: p.Token(), Reason: "newer"})
	leader.cut()
	tb.connect().want("a", "2") // the leader is gone: back, from its own cursor
}

// TestNamesClash proves rule 3 at Link, at creation and at attach.
func TestNamesClash(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	site, private := k.channel(scope.Spec{Name: "x"}), k.private(p, scope.Spec{Name: "x"})
	for _, refs := range [][]scope.Ref{{site, private}, {site, site}} {
		if _, err := k.site.Link(context.Background(), p, 0, refs...); !errors.Is(err, scope.ErrNameTaken) {
			t.Fatal(err)
		}
	}
	if _, err := scope.Register(k.site, scope.Spec{Name: "x"}); !errors.Is(err, scope.ErrNameTaken) {
		t.Fatal(err)
	}
	if _, err := scope.Register(p, scope.Spec{Name: "x"}); !errors.Is(err, scope.ErrNameTaken) {
		t.Fatal(err)
	}
	private.Close()
	q := k.process("s")
	tb := newTab(t, k.site, "s", q, site).connect()
	tb.hear()
	if _, err := scope.Register(q, scope.Spec{Name: "x"}); !errors.Is(err, scope.ErrNameTaken) {
		t.Fatal(err)
	}
	tb.cut()
	newTab(t, k.site, "s", q, k.private(q, scope.Spec{Name: "x"}))
	tb.connect().wantNotice("closed", notice{Channel: "x", Reason: "name taken", Final: true})
}

// TestBadSpecs: each is refused with what is allowed, and nothing is made.
func TestBadSpecs(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	pull := func(context.Context) ([]byte, error) { return nil, nil }
	stop := func(error) { t.Error("Stop was called") }
	for _, c := range []struct {
		owner scope.Owner
		spec  scope.Spec
		want  error
	}{
		{k.site, scope.Spec{Name: "open"}, scope.ErrBadName},
		{k.site, scope.Spec{Name: "comet:x"}, scope.ErrBadName},
		{k.site, scope.Spec{Name: "a b"}, scope.ErrBadName},
		{k.site, scope.Spec{Name: "a\nid: 1"}, scope.ErrBadName},
		{k.site, scope.Spec{Name: strings.Repeat("x", 129)}, scope.ErrBadName},
		{k.site, scope.Spec{Name: "a", Event: "message"}, scope.ErrBadName},
		{k.site, scope.Spec{Name: "a", Event: "e", Unnamed: true}, scope.ErrBadSpec},
		{k.site, scope.Spec{Size: -1}, scope.ErrBadSpec},
		{k.site, scope.Spec{Size: scope.MaxSize + 1}, scope.ErrBadSpec},
		{k.site, scope.Spec{Kind: scope.Pull, Pull: pull}, scope.ErrBadSpec},
		{p, scope.Spec{Kind: scope.Newest}, scope.ErrBadSpec},
		{p, scope.Spec{Kind: scope.Pull}, scope.ErrBadSpec},
		{p, scope.Spec{Continuous: true}, scope.ErrBadSpec},
	} {
		c.spec.Stop = stop
		if h, err := scope.Register(c.owner, c.spec); !errors.Is(err, c.want) || h != nil {
			t.Errorf("%+v: %v, want %v", c.spec, err, c.want)
		}
	}
}

// TestAddressBudget proves rule 4: what would leave no room for cookies is
// refused with the remedy, at Link and by command.
func TestAddressBudget(t *testing.T) {
	k := newKit(t)
	var refs []scope.Ref
	for i := range 60 {
		refs = append(refs, k.channel(scope.Spec{Name: fmt.Sprintf("a-channel-with-a-name-%d", i)}))
	}
	_, err := k.site.Link(context.Background(), nil, 6, refs...)
	if !errors.Is(err, scope.ErrTooLong) || !strings.Contains(err.Error(), "ReadBufferSize") {
		t.Fatal(err)
	}
	tb := newTab(t, k.site, "s", k.process("s"), refs[:20]...).connect()
	for i := 20; ; i++ {
		if _, err := tb.command("register", refs[i].(*scope.Handle).Name()); err != nil {
			wantRefused(t, err, "refused")
			break
		}
	}
	for _, r := range refs {
		k.put(r.(*scope.Handle), "x")
	}
	tb.hear()
	if n := len(tb.query) + len(tb.lastID); n > 2048 {
		t.Fatalf("URL and cursor take %d bytes", n)
	}
	tb.cut().connect().hear()
	if tb.dead {
		t.Fatal("its own cursor was refused")
	}
}

// TestAllow proves rules 14 and 16: asked at every attach; a refusal is told as
// if there were no such channel.
func TestAllow(t *testing.T) {
	k := newKit(t)
	var asked []scope.Reader
	if err := k.site.Bind(scope.Hooks{Allow: func(_ context.Context, r scope.Reader, channel string) error {
		asked = append(asked, r)
		switch {
		case channel == "crash":
			panic("oops")
		case r.User != "ada":
			return errors.New("no")
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	secret, crash := k.channel(scope.Spec{Name: "secret"}), k.channel(scope.Spec{Name: "crash"})
	k.put(secret, "x")
	ada, eve := newTab(t, k.site, "s", k.process("s"), secret.History(1)), newTab(t, k.site, "s", nil, secret.History(1))
	ada.reader.User = "ada"
	ada.connect().want("secret", "x")
	refused := untagged(eve.connect().hear())
	eve.query, eve.lastID = strings.Replace(eve.query, "secret", "absent", 1), ""
	if absent := untagged(eve.connect().hear()); !eve.dead && strings.ReplaceAll(absent, "absent", "secret") != refused {
		t.Fatalf("a refusal differs from absence:\n%s\n%s", refused, absent)
	}
	if !strings.Contains(refused, `"reason":"unavailable"`) || strings.Contains(refused, "secret x") {
		t.Fatal(refused)
	}
	newTab(t, k.site, "s", nil, crash).connect().wantNotice("closed", notice{Channel: "crash", Reason: "unavailable", Final: true})
	for _, name := range []string{"crash", "absent"} { // and so it is for register
		if r, err := ada.command("register", name); err != nil || r.State != "wanted" {
			t.Fatal(name, r, err)
		}
	}
	if events := ada.hear(); len(events) > 0 {
		t.Fatal(events)
	}
	if len(asked) == 0 || asked[0].Session != "s" {
		t.Fatal(asked)
	}
	if err := k.site.Bind(scope.Hooks{}); err == nil {
		t.Fatal("a second Comet took the Site")
	}
}

// TestSweep proves rules 14 and 16: sessions and permissions are asked for again
// with the heartbeat.
func TestSweep(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var forbidden, dead atomic.Bool
		var lives atomic.Int64
		_ = k.site.Bind(scope.Hooks{
			Allow: func(context.Context, scope.Reader, string) error {
				if forbidden.Load() {
					return errors.New("no")
				}
				return nil
			},
			Alive: func(context.Context, string) bool { lives.Add(1); return !dead.Load() },
		})
		p := k.process("s")
		tb := newTab(t, k.site, "s", p, k.private(p, scope.Spec{Name: "a"}), k.channel(scope.Spec{Name: "chat"})).connect()
		tb.hear()
		sleepBeat()
		if events := tb.hear(); len(of(events, "comet:closed"))+len(of(events, "comet:gone")) > 0 || lives.Load() == 0 {
			t.Fatal(events, lives.Load())
		}
		forbidden.Store(true)
		sleepBeat()
		tb.wantNotice("closed", notice{Channel: "chat", Reason: "unavailable", Final: true})
		dead.Store(true)
		sleepBeat()
		tb.wantNotice("gone", notice{Process: p.Token(), Reason: "gone"})
		if !tb.ended {
			t.Fatal("nothing is left, and the stream goes on")
		}
	})
}

// TestAttachAgainAndAgain proves rule 13: tabs that come and go leave nothing on
// the event stream, and its cursor stays one that it accepts.
func TestAttachAgainAndAgain(t *testing.T) {
	k := newKit(t)
	leader := newTab(t, k.site, "s", k.process("s"), k.channel(scope.Spec{Name: "chat"})).connect()
	p := k.process("s")
	a := k.private(p, scope.Spec{Name: "a"})
	own := newTab(t, k.site, "s", p, a)
	longest := 0
	for i := range 100 {
		r, err := leader.command("attach", p.Token())
		if err != nil || r.K != 1 {
			t.Fatal(i, r, err)
		}
		k.put(a, fmt.Sprint(i))
		if got := of(leader.hear(), "a@1"); len(got) == 0 || got[len(got)-1] != fmt.Sprint(i) {
			t.Fatal(i, got)
		}
		if i%2 == 0 { // it takes itself back
			own.lastID = ""
			own.connect().hear()
			leader.wantNotice("superseded", notice{Process: p.Token(), Reason: "newer"})
			own.cut()
		} else if _, err := leader.command("detach", p.Token()); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("site-%d", i)
		k.channel(scope.Spec{Name: name})
		for _, command := range []string{"register", "close"} {
			if _, err := leader.command(command, name); err != nil {
				t.Fatal(i, err)
			}
		}
		longest = max(longest, len(leader.lastID))
	}
	if longest > 200 {
		t.Fatalf("the cursor grew to %d bytes: %s", longest, leader.lastID)
	}
	leader.cut().connect()
	if events := leader.hear(); len(of(events, "comet:full")) > 0 {
		t.Fatal(events)
	}
}

// TestEndedUnheardMakesRoom: channels that ended before their tab heard of them do
// not count against the process for ever.
func TestEndedUnheardMakesRoom(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxChannels: 3})
	p := k.process("s")
	for range 20 {
		k.private(p, scope.Spec{}).Close()
	}
}
