package scope_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// A desk is what an inbox gives its values to.
type desk struct {
	mu     sync.Mutex
	values []string
	from   []*scope.ClientProcess
	fail   func(value string) error // nil: take it
}

func (d *desk) take(_ context.Context, s scope.Sent) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, v := range s.Values {
		if d.fail != nil {
			if err := d.fail(string(v)); err != nil {
				return i, err
			}
		}
		d.values = append(d.values, string(v))
		d.from = append(d.from, s.Process)
	}
	return len(s.Values), nil
}

func (d *desk) want(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.values, want) {
		t.Fatalf("taken: %v, want %v", d.values, want)
	}
	d.values, d.from = nil, nil
}

func (k kit) inbox(o scope.Owner, spec scope.InboxSpec) (*scope.Inbox, *desk) {
	k.t.Helper()
	d := new(desk)
	if spec.Take == nil {
		spec.Take = d.take
	}
	i, err := scope.Receive(o, spec)
	if err != nil {
		k.t.Fatal("Receive:", err)
	}
	return i, d
}

func (tb *tab) sends(want scope.Reply, pairs ...string) {
	tb.t.Helper()
	got, err := tb.command(append([]string{"send", "votes"}, pairs...)...)
	if err != nil || got != want {
		tb.t.Fatalf("send %v: %+v, %v; want %+v", pairs, got, err, want)
	}
}

// refusedSend sends to votes and returns how it was refused.
func (tb *tab) refusedSend(code string, pairs ...string) *scope.CommandError {
	tb.t.Helper()
	_, err := tb.command(append([]string{"send", "votes"}, pairs...)...)
	var refusal *scope.CommandError
	if !errors.As(err, &refusal) || refusal.Code != code || refusal.Message == "" {
		tb.t.Fatalf("send %v: %v, want it refused as %s", pairs, err, code)
	}
	return refusal
}

// TestSend proves rule 18: what a tab sends arrives in its order, with the
// process that the URL or comet= names, whether or not an event stream is
// connected.
func TestSend(t *testing.T) {
	k := newKit(t)
	_, d := k.inbox(k.site, scope.InboxSpec{Name: "votes"})
	a, b := k.process("s"), k.process("s")
	tb := newTab(t, k.site, "s", a)
	tb.sends(scope.Reply{State: "taken"}, "value", "1", "value", "2")
	tb.connect()
	tb.sends(scope.Reply{State: "taken"}, "value", "3", "comet", b.Token())
	if want := []*scope.ClientProcess{a, a, b}; !slices.Equal(d.from, want) {
		t.Fatal("the wrong process was named")
	}
	d.want(t, "1", "2", "3")
	tb.refusedSend("bad")
	tb.refusedSend("bad", "value", "1", "n", "0")
	tb.refusedSend("bad", "value", "1", "pull", "x")
	if r := tb.refusedSend("invalid", "value", "1", "value", "\xff"); r.Value != 2 {
		t.Fatal("which value is not UTF-8:", r.Value)
	}
	d.want(t)
}

// TestSendFailsInTheMiddle: of the app's own failure, too, a page is told how many
// of its values are taken, for its next send under that number passes over them.
func TestSendFailsInTheMiddle(t *testing.T) {
	k := newKit(t)
	var taken []string
	k.inbox(k.site, scope.InboxSpec{Name: "votes", Take: func(_ context.Context, s scope.Sent) (int, error) {
		for i, value := range s.Values {
			if string(value) == "bad" {
				return i, errors.New("disk on fire")
			}
			taken = append(taken, string(value))
		}
		return len(s.Values), nil
	}})
	tb := newTab(t, k.site, "s", k.process("s"))
	if r := tb.refusedSend("failed", "n", "1", "value", "a", "value", "bad"); r.Taken != 1 || strings.Contains(r.Message, "fire") {
		t.Fatalf("%d are taken, and it says %q", r.Taken, r.Message)
	}
	tb.sends(scope.Reply{State: "taken", N: 1}, "n", "1", "value", "", "value", "b")
	if _, err := tb.command("send", "votes", "n", "2", "value", "bad"); err == nil || !strings.Contains(err.Error(), "fire") {
		t.Fatalf("%v, want what the app said: nothing is taken", err)
	}
	if want := []string{"a", "b"}; !slices.Equal(taken, want) {
		t.Fatalf("taken were %q, want %q", taken, want)
	}
}

// TestSendNumbers proves rule 18: with n each send is taken once, whatever is
// repeated, and goes on where it broke off.
func TestSendNumbers(t *testing.T) {
	k := newKit(t)
	inbox, d := k.inbox(k.site, scope.InboxSpec{Name: "votes"})
	tb := newTab(t, k.site, "s", k.process("s"))
	tb.sends(scope.Reply{State: "taken", N: 1}, "value", "a", "n", "1")
	tb.sends(scope.Reply{State: "seen", N: 1}, "value", "a", "n", "1")
	tb.sends(scope.Reply{State: "taken", N: 2}, "value", "b", "n", "2")
	tb.sends(scope.Reply{State: "seen", N: 2}, "value", "a", "n", "1")
	if r := tb.refusedSend("conflict", "value", "d", "n", "4"); r.Expected != 3 {
		t.Fatal("expected", r.Expected)
	}
	d.want(t, "a", "b")

	outage := true
	d.fail = func(v string) error {
		if v == "e" && outage {
			return &scope.CommandError{Code: "full", Message: "an outage", Value: 2}
		}
		return nil
	}
	batch := []string{"value", "d", "value", "e", "value", "f", "n", "3"}
	if r := tb.refusedSend("full", batch...); r.Taken != 1 || r.Value != 2 {
		t.Fatalf("%+v", r)
	}
	if r := tb.refusedSend("full", batch...); r.Taken != 1 || r.Value != 3 {
		t.Fatalf("again: %+v", r) // the desk says 2 of what it was given, which began at the second
	}
	if r := tb.refusedSend("conflict", "value", "d", "n", "3"); r.Expected != 3 {
		t.Fatalf("a send that is not the one that was begun: %+v", r)
	}
	outage = false
	tb.sends(scope.Reply{State: "taken", N: 3}, batch...)
	d.want(t, "d", "e", "f")

	inbox.Close()
	tb.refusedSend("gone", "value", "g", "n", "4")
	_, d = k.inbox(k.site, scope.InboxSpec{Name: "votes"}) // the page goes on counting
	tb.sends(scope.Reply{State: "taken", N: 4}, "value", "g", "n", "4")
	d.want(t, "g")
}

// TestSendRate proves rules 13 and 18: a tab may send Burst values at once and
// Rate a second in the long run; it is told when it may again, and other tabs do
// not notice.
func TestSendRate(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		_, d := k.inbox(k.site, scope.InboxSpec{Name: "votes", Rate: 2, Burst: 3})
		tb, other := newTab(t, k.site, "s", k.process("s")), newTab(t, k.site, "s", k.process("s"))
		taken := scope.Reply{State: "taken"}
		tb.sends(taken, "value", "1", "value", "2", "value", "3")
		if r := tb.refusedSend("busy", "value", "4"); r.RetryAfter != time.Second/2 {
			t.Fatal("to be tried again after", r.RetryAfter)
		}
		other.sends(taken, "value", "o")
		time.Sleep(time.Second/2 - time.Millisecond)
		tb.refusedSend("busy", "value", "4")
		time.Sleep(time.Millisecond)
		tb.sends(taken, "value", "4")
		time.Sleep(30 * time.Second)
		if r := tb.refusedSend("large", "value", "1", "value", "2", "value", "3", "value", "4"); r.RetryAfter != 0 {
			t.Fatal("what can never be taken is to be tried again")
		}
		tb.sends(taken, "value", "5", "value", "6", "value", "7")
		tb.refusedSend("busy", "value", "8")
		d.want(t, "1", "2", "3", "o", "4", "5", "6", "7")
	})
}

// TestRepeatedSendCostsNoRate: a repeated send that was taken is no load.
func TestRepeatedSendCostsNoRate(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		k.inbox(k.site, scope.InboxSpec{Name: "votes", Rate: 1, Burst: 2})
		tb := newTab(t, k.site, "s", k.process("s"))
		tb.sends(scope.Reply{State: "taken", N: 1}, "value", "1", "n", "1")
		for range 5 {
			tb.sends(scope.Reply{State: "seen", N: 1}, "value", "1", "n", "1")
		}
		tb.sends(scope.Reply{State: "taken", N: 2}, "value", "2", "n", "2")
	})
}

// TestSendsOfATabTakeTurns proves rules 13 and 18: a slow inbox holds up the one
// tab, whose sends keep their order, at most 16 at once and for ten seconds.
func TestSendsOfATabTakeTurns(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var d desk
		slow := make(chan struct{})
		k.inbox(k.site, scope.InboxSpec{Name: "votes", Take: func(ctx context.Context, s scope.Sent) (int, error) {
			if string(s.Values[0]) == "slow" {
				<-slow
			}
			return d.take(ctx, s)
		}})
		tb, other := newTab(t, k.site, "s", k.process("s")), newTab(t, k.site, "s", k.process("s"))
		taken := scope.Reply{State: "taken"}
		var all sync.WaitGroup
		want := []string{"other", "slow"}
		all.Go(func() { tb.sends(taken, "value", "slow") })
		synctest.Wait()
		for i := range 15 {
			want = append(want, fmt.Sprint(i))
			all.Go(func() { tb.sends(taken, "value", fmt.Sprint(i)) })
			synctest.Wait()
		}
		if r := tb.refusedSend("busy", "value", "one too many"); r.RetryAfter <= 0 {
			t.Fatal("no time is named")
		}
		other.sends(taken, "value", "other")
		close(slow)
		all.Wait()
		d.want(t, want...)

		slow = make(chan struct{})
		all.Go(func() { tb.sends(taken, "value", "slow") })
		synctest.Wait()
		begun := time.Now()
		tb.refusedSend("full", "value", "patient")
		if waited := time.Since(begun); waited != 10*time.Second {
			t.Fatal("it waited for", waited)
		}
		close(slow)
		all.Wait()
	})
}

// TestInboxOfAProcess proves rules 8 and 18 (eliom.md, 4a fb3bd0927): a process's
// inbox is that tab's, before a site's of the same name, and ends with it.
func TestInboxOfAProcess(t *testing.T) {
	k := newKit(t)
	a, b := k.process("s"), k.process("s")
	_, site := k.inbox(k.site, scope.InboxSpec{Name: "votes"})
	inbox, own := k.inbox(a, scope.InboxSpec{Name: "votes"})
	ta, tb := newTab(t, k.site, "s", a), newTab(t, k.site, "s", b)
	ta.sends(scope.Reply{State: "taken"}, "value", "mine")
	tb.sends(scope.Reply{State: "taken"}, "value", "everybody's")
	own.want(t, "mine")
	site.want(t, "everybody's")

	stranger := *ta
	stranger.reader.Session = "another"
	stranger.refusedSend("gone", "value", "stolen")
	other := newTab(t, k.site, "another", k.process("another"))
	other.refusedSend("gone", "value", "stolen", "comet", a.Token())
	own.want(t)
	site.want(t)

	a.Close()
	<-inbox.Done()
	if err := inbox.Err(); !errors.Is(err, scope.ErrProcessGone) {
		t.Fatal(err)
	}
	ta.refusedSend("gone", "value", "late")
	if _, err := scope.Receive(a, scope.InboxSpec{Name: "more", Take: own.take}); !errors.Is(err, scope.ErrNoProcess) {
		t.Fatal(err)
	}
}

// TestHearersOnly proves rules 14 and 16: who may not hear a channel may not send
// to the inbox of its name, and is told what one is told whose inbox there is not.
func TestHearersOnly(t *testing.T) {
	k := newKit(t)
	err := k.site.Bind(scope.Hooks{Allow: func(_ context.Context, r scope.Reader, channel string) error {
		if r.User == "Ann" && channel == "votes" {
			return nil
		}
		return errors.New("no")
	}})
	if err != nil {
		t.Fatal(err)
	}
	inbox, d := k.inbox(k.site, scope.InboxSpec{Name: "votes", Hearers: true})
	_, anyone := k.inbox(k.site, scope.InboxSpec{Name: "anyone"})
	tb := newTab(t, k.site, "s", k.process("s")).connect() // as nobody: who sends is asked anew
	refused := tb.refusedSend("gone", "value", "1").Message
	if _, err := tb.command("send", "anyone", "value", "2"); err != nil {
		t.Fatal(err)
	}
	tb.reader.User = "Ann"
	tb.sends(scope.Reply{State: "taken"}, "value", "3")
	d.want(t, "3")
	anyone.want(t, "2")
	inbox.Close()
	if unknown := tb.refusedSend("gone", "value", "4").Message; unknown != refused {
		t.Fatalf("unknown: %q, refused: %q", unknown, refused)
	}
}

// TestTakePanics proves rule 13: what an app does with one value ends nothing.
func TestTakePanics(t *testing.T) {
	k := newKit(t)
	inbox, _ := k.inbox(k.site, scope.InboxSpec{Name: "votes", Take: func(_ context.Context, s scope.Sent) (int, error) {
		if string(s.Values[0]) == "bad" {
			panic("boom")
		}
		return len(s.Values), nil
	}})
	tb := newTab(t, k.site, "s", k.process("s"))
	_, err := tb.command("send", "votes", "value", "bad", "n", "1")
	var p *scope.PanicError
	var told *scope.CommandError
	if !errors.As(err, &p) || errors.As(err, &told) || !strings.Contains(err.Error(), "votes") {
		t.Fatal(err)
	}
	tb.sends(scope.Reply{State: "taken", N: 1}, "value", "good", "n", "1")
	if inbox.Err() != nil {
		t.Fatal(inbox.Err())
	}
}

// TestInboxErrors: what is wrong is told when the inbox is made, and nothing is.
func TestInboxErrors(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxChannels: 2})
	take := new(desk).take
	p := k.process("s")
	for _, c := range []struct {
		owner scope.Owner
		spec  scope.InboxSpec
		want  error
		says  string
	}{
		{k.site, scope.InboxSpec{Name: "votes"}, scope.ErrBadSpec, "Take"},
		{k.site, scope.InboxSpec{Name: "no spaces", Take: take}, scope.ErrBadName, "allowed are"},
		{k.site, scope.InboxSpec{Name: "comet:x", Take: take}, scope.ErrBadName, "choose another"},
		{k.site, scope.InboxSpec{Name: "v", Take: take, Rate: -1}, scope.ErrBadSpec, "Rate -1"},
		{k.site, scope.InboxSpec{Name: "v", Take: take, Rate: math.NaN()}, scope.ErrBadSpec, "Rate NaN"},
		{k.site, scope.InboxSpec{Name: "v", Take: take, Burst: -1}, scope.ErrBadSpec, "Burst -1"},
		{p, scope.InboxSpec{Name: "v", Take: take, MaxValue: 1 << 20}, scope.ErrBadSpec, "MaxCommand"},
		{k.site, scope.InboxSpec{Name: "taken", Take: take}, nil, ""},
		{k.site, scope.InboxSpec{Name: "taken", Take: take}, scope.ErrNameTaken, "taken"},
		{p, scope.InboxSpec{Name: "taken", Take: take}, nil, ""},
		{p, scope.InboxSpec{Name: "taken", Take: take}, scope.ErrNameTaken, "taken"},
		{p, scope.InboxSpec{Take: take}, nil, ""},
		{p, scope.InboxSpec{Take: take}, scope.ErrTooMany, "MaxChannels"},
	} {
		i, err := scope.Receive(c.owner, c.spec)
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) || (i == nil) != (c.want != nil) {
			t.Errorf("%+v: %v, want %v", c.spec.Name, err, c.want)
		}
	}
}

// TestSendsLeaveNothing proves rule 13: what a tab sent to inboxes that are gone
// makes room for new ones, and those that live are bounded.
func TestSendsLeaveNothing(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxChannels: 3})
	tb := newTab(t, k.site, "s", k.process("s"))
	send := func(name string) error {
		_, err := tb.command("send", name, "value", "1")
		return err
	}
	for range 20 {
		inbox, _ := k.inbox(k.site, scope.InboxSpec{})
		if err := send(inbox.Name()); err != nil {
			t.Fatal(err)
		}
		inbox.Close()
	}
	for i := range 4 {
		inbox, _ := k.inbox(k.site, scope.InboxSpec{})
		err := send(inbox.Name())
		if i < 3 && err != nil {
			t.Fatal(err)
		} else if i == 3 {
			wantRefused(t, err, "refused")
		}
	}
}

// TestShutdownEndsInboxes proves rule 13: an inbox ends with its site.
func TestShutdownEndsInboxes(t *testing.T) {
	k := newKit(t)
	inbox, d := k.inbox(k.site, scope.InboxSpec{Name: "votes"})
	own, _ := k.inbox(k.process("s"), scope.InboxSpec{Name: "votes"})
	if err := k.site.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, i := range []*scope.Inbox{inbox, own} {
		if err := i.Err(); !errors.Is(err, scope.ErrShutdown) {
			t.Error(err)
		}
	}
	if _, err := scope.Receive(k.site, scope.InboxSpec{Name: "late", Take: d.take}); !errors.Is(err, scope.ErrShutdown) {
		t.Error(err)
	}
}
