package scope_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
)

// TestHelloNamesPrivateChannels proves rule 15: hello says which private channels
// come with a process, and which are read on demand; so do later ones of channels
// that were registered, before or after they were made.
func TestHelloNamesPrivateChannels(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	read := func(context.Context) ([]byte, error) { return []byte("1"), nil }
	k.private(p, scope.Spec{Name: "mine"})
	tb := newTab(t, k.site, "s", p, k.private(p, scope.Spec{Name: "count", Kind: scope.Pull, Pull: read}))
	tb.query += "&pull=ask"
	k.private(p, scope.Spec{Name: "unheard"})
	hello := func(want string) {
		t.Helper()
		if got := of(tb.hear(), "comet:hello"); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Fatalf("hello is %q, want it to say %s", got, want)
		}
	}
	tb.connect()
	hello(`"channels":[{"channel":"mine"},{"channel":"count","pull":true}]}]`)
	if _, err := tb.command("register", "soon"); err != nil {
		t.Fatal(err)
	}
	k.private(p, scope.Spec{Name: "soon", Kind: scope.Pull, Pull: read})
	hello(`"channels":[{"channel":"soon","pull":true}]`)
	if _, err := tb.command("register", "unheard"); err != nil {
		t.Fatal(err)
	}
	hello(`"channels":[{"channel":"unheard"}]`)
	tb.cut().connect()
	hello(`{"channel":"soon","pull":true}`)
}

// TestHelloSaysEventNames proves rule 15: of every channel that is heard, the page's own, an attached page's or the site's, from the
// first or from a command, hello says under which event name its values come, where that is not the channel's.
func TestHelloSaysEventNames(t *testing.T) {
	k := newKit(t)
	chat, plain := k.channel(scope.Spec{Name: "chat", Event: "line"}), k.channel(scope.Spec{Name: "plain"})
	k.put(chat, "1", "2")
	k.channel(scope.Spec{Name: "ticks", Unnamed: true})
	p, q := k.process("s"), k.process("s")
	k.private(q, scope.Spec{Name: "mine", Event: "mail"})
	k.private(q, scope.Spec{Name: "bare", Unnamed: true})
	tb := newTab(t, k.site, "s", p, k.private(p, scope.Spec{Name: "mine", Event: "mail"}), k.private(p, scope.Spec{Name: "bare", Unnamed: true}),
		chat, plain)
	hello := func(want string) {
		t.Helper()
		if got := of(tb.hear(), "comet:hello"); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Fatalf("hello is %q, want it to say %s", got, want)
		}
	}
	command := func(form ...string) {
		t.Helper()
		if _, err := tb.command(form...); err != nil {
			t.Fatal(err)
		}
	}
	tb.connect()
	hello(`"channels":[{"channel":"mine","event":"mail"},{"channel":"bare","event":""}]`)
	command("register", "ticks")
	hello(`{"channel":"ticks","event":"","position":`)
	command("register", "chat@-2")
	hello(`{"channel":"chat","event":"line","position":`)
	command("attach", q.Token())
	hello(`"k":1`)
	command("register", "late", "comet", q.Token())
	k.private(q, scope.Spec{Name: "late", Event: "letter"})
	hello(`{"channel":"late@1","event":"letter@1"}`)
	command("register", "last", "comet", q.Token())
	k.private(q, scope.Spec{Name: "last", Unnamed: true})
	hello(`{"channel":"last@1","event":""}`)
	tb.cut().connect()
	hello(`"channels":[{"channel":"late","event":"letter"},{"channel":"last","event":""}]`)
	tb.cut().connect()
	hello(`{"channel":"plain","position":`)
}

// TestLook: wait=no brings everything that there is, and ends; an event stream goes
// on from its id, and a look from an event stream's (rule 2).
func TestLook(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	mine, chat := k.private(p, scope.Spec{Name: "mine"}), k.channel(scope.Spec{Name: "chat"})
	tb := newTab(t, k.site, "s", p, mine, chat).connect()
	k.put(chat, "1")
	tb.want("chat", "1")
	query := tb.query
	tb.cut()
	for _, values := range [][]string{{"2", "3"}, nil, numbers(4, 9)} {
		k.put(chat, values...)
		k.put(mine, values...)
		tb.query = query + "&wait=no"
		events := tb.connect().want("chat", values...)
		if got := of(events, "mine"); len(got) != len(values) || !tb.ended {
			t.Fatalf("a look brought %q of the private channel, and ended: %v", got, tb.ended)
		}
	}
	tb.query = query
	k.put(chat, "10")
	tb.connect().want("chat", "10")
	if tb.ended {
		t.Fatal("an event stream without wait=no ended")
	}
}

// TestLookAfterALostOpen proves rule 11: a page whose newest request for an event stream was served and never reached it, which the server
// has not noticed, has its process by a look as by an event stream.
func TestLookAfterALostOpen(t *testing.T) {
	for _, wait := range []string{"", "&wait=no"} {
		k := newKit(t)
		p := k.process("s")
		mine := k.private(p, scope.Spec{Name: "mine"})
		page := newTab(t, k.site, "s", p, mine).connect()
		k.put(mine, "1")
		page.want("mine", "1")
		page.cut()
		again := page.duplicate()
		again.query += "&after=" + url.QueryEscape(page.lastID)
		lost := again.duplicate()
		lost.connect()
		lost.bytes()
		again.query += wait
		k.put(mine, "2")
		if got := again.connect().want("mine", "2"); len(of(got, "comet:superseded")) > 0 {
			t.Errorf("%q: a page is superseded by itself: %v", wait, got)
		}
	}
}

// TestLookWaitsForARead: what was asked for is read during a look, and brought by
// it; but no longer than until the heartbeat.
func TestLookWaitsForARead(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		p := k.process("s")
		took := time.Second
		slow := func(ctx context.Context) ([]byte, error) {
			select {
			case <-time.After(took):
				return []byte("read"), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		tb := newTab(t, k.site, "s", p, k.private(p, scope.Spec{Name: "n", Kind: scope.Pull, Pull: slow}))
		tb.query += "&pull=ask&wait=no"
		look := func(about time.Duration, want ...string) {
			t.Helper()
			if _, err := tb.command("pull", "n"); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			var heard []string
			for tb.connect(); !tb.ended; <-tb.wakes {
				heard = append(heard, of(tb.hear(), "n")...)
				if tb.ended {
					break
				}
			}
			if took := time.Since(start); strings.Join(heard, " ") != strings.Join(want, " ") || took < about*8/10 || took > about*12/10 {
				t.Fatalf("heard %q in %v, want %q in about %v", heard, took, want, about)
			}
		}
		look(took, "read")
		took = time.Hour
		look(15 * time.Second)
	})
}

// TestRewind: a site channel that is heard comes again from further back for who
// asks; never does it go forward, and a bare register changes nothing (rule 2).
func TestRewind(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	chat := k.channel(scope.Spec{Name: "chat", Size: 5})
	tb := newTab(t, k.site, "s", p, chat).connect()
	_, start, err := chat.Recent(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	k.put(chat, numbers(1, 3)...)
	tb.want("chat", numbers(1, 3)...)
	for _, ref := range []string{"chat@" + start.String(), "chat@-3"} {
		if r, err := tb.command("register", ref); err != nil || r.State != "heard" || r.Position != start {
			t.Fatal(r, err)
		}
		events := tb.want("chat", numbers(1, 3)...)
		if hello := of(events, "comet:hello"); len(hello) != 1 || !strings.Contains(hello[0], start.String()) {
			t.Fatalf("hello says %q, want where it begins: %s", hello, start)
		}
	}
	if _, err := tb.command("register", "chat"); err != nil {
		t.Fatal(err)
	}
	if events := tb.want("chat"); len(events) > 0 {
		t.Fatal("a bare register of what is heard said", events)
	}
	k.put(chat, "4") // not yet heard
	if _, err := tb.command("register", "chat@-0"); err != nil {
		t.Fatal(err)
	}
	tb.want("chat", "4")
	k.put(chat, numbers(5, 8)...)
	tb.want("chat", numbers(5, 8)...)
	if _, err := tb.command("register", "chat@"+start.String()); err != nil {
		t.Fatal(err)
	}
	events := tb.wantNotice("full", notice{Channel: "chat", Reason: "trimmed", Resume: "*"})
	if got := of(events, "chat"); strings.Join(got, " ") != "4 5 6 7 8" {
		t.Fatalf("after full came %q", got)
	}
	if _, err := tb.command("register", "chat@other.1"); err != nil {
		t.Fatal(err)
	}
	tb.wantNotice("full", notice{Channel: "chat", Reason: "reset", Resume: "*"})
	before := tb.lastID
	k.put(chat, "9")
	tb.lastID = before
	tb.cut().connect().want("chat", "9")
}

// TestRegisterWhileAway: a site channel cannot be registered while no event stream
// is there to hear it, and the page is told so; a name that nobody has is kept.
func TestRegisterWhileAway(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	k.channel(scope.Spec{Name: "chat"})
	tb := newTab(t, k.site, "s", p)
	_, err := tb.command("register", "chat@-0")
	wantRefused(t, err, "conflict")
	if r, err := tb.command("register", "soon"); err != nil || r.State != "wanted" {
		t.Fatal(r, err)
	}
}

// TestGroup: the pages of one session have it in common, those of another have not.
func TestGroup(t *testing.T) {
	k := newKit(t)
	group := func(session string) string {
		_, after, found := strings.Cut(newTab(t, k.site, session, k.process(session)).query, "&g=")
		if !found || strings.Contains(after, session) {
			t.Fatalf("the group of %s is %q", session, after)
		}
		return after
	}
	if a, b, c := group("session-1"), group("session-1"), group("session-2"); a != b || a == c {
		t.Errorf("groups %s and %s of one session, %s of another", a, b, c)
	}
	if query := newTab(t, k.site, "", nil, k.channel(scope.Spec{Name: "chat"})).query; strings.Contains(query, "g=") {
		t.Errorf("a page without a process is in a group: %s", query)
	}
}
