package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
)

// sending gives a page of the room that hears the duplex channel talk, and has send, and said: what became of each send.
func (f *gate) sending(s session) *tab {
	f.t.Helper()
	tab := f.page(s, "/", "", "chat")
	for _, status := range []string{"410", "413", "422", "429"} {
		tab.expect(status)
	}
	eval[bool](tab, `(async () => {
		const [, scripts] = document.querySelector("script[type=module]").textContent.match(/from "(.*)comet\.js"/);
		const { sending, SendRefused } = await import(scripts + "comet-send.js");
		const send = sending(comet);
		window.said = [];
		window.send = (...what) => {
			send(...what).then(() => said.push("taken"), e => said.push(e instanceof SendRefused ? e.status + " " + e.message : String(e)));
			return true;
		};
		comet.channel("talk", { from: "-20" });
		hear("talk");
		return true;
	})()`)
	tab.until(`comet.state === "open"`)
	return tab
}

// talkRoom is a room with a duplex channel talk, which says in capitals what is sent to it, and an inbox votes.
func talkRoom(t *testing.T, votes channel.ReceiveConfig[int]) (*room, *channel.Inbox[int]) {
	t.Helper()
	r := newRoom(t, comet.SiteConfig{})
	_, err := channel.CreateDuplex(r.site, func(_ context.Context, sent channel.Received[string]) (string, error) {
		if sent.Value == "" {
			return "", channel.Refuse("there is nothing to say")
		}
		return strings.ToUpper(sent.Value), nil
	}, channel.DuplexConfig[string]{Channel: channel.Config{Name: "talk", Size: 100}})
	if err != nil {
		t.Fatal(err)
	}
	votes.Name = "votes"
	inbox, err := channel.Receive(r.site, votes)
	if err != nil {
		t.Fatal(err)
	}
	return r, inbox
}

// Rule 18: what a page sends is heard by all pages, its own too, in its order and once: over answers that are lost, broken
// connections, a server that refuses them, and refused values.
func TestSendingOnce(t *testing.T) { inEachEngine(t, sendingOnce) }

func sendingOnce(t *testing.T, in string) {
	r, _ := talkRoom(t, channel.ReceiveConfig[int]{})
	f := newGate(t, r)
	s := newSessionIn(t, in)
	one, other := f.sending(s), f.sending(s)
	both := func(want ...string) {
		t.Helper()
		for _, tab := range []*tab{one, other} {
			tab.wantHeard("talk", want...)
		}
	}
	eval[bool](one, `send("talk", "a")`)
	both("A")
	f.deaf.Store(2) // taken, and nobody says so, twice
	eval[bool](one, `send("talk", "b") && send("talk", "c", "d")`)
	both("A", "B", "C", "D")
	waitFor(t, "the lost answers were asked for again", func() bool { return f.deaf.Load() < 0 })

	eval[bool](one, `send("talk", "e") && send("talk", "") && send("talk", "f", "", "unheard") && send("talk", "g")`)
	both("A", "B", "C", "D", "E", "F", "G")
	one.until(`said.length === 7`)
	want := []string{"taken", "taken", "taken", "taken", "422 there is nothing to say", "422 there is nothing to say", "taken"}
	if said := eval[[]string](one, `said`); fmt.Sprint(said) != fmt.Sprint(want) {
		t.Errorf("the sends became\n%q, want\n%q", said, want)
	}

	f.down()
	eval[bool](one, `send("talk", "h") && send("talk", "i")`)
	one.until(`states.some(s => s.inMs)`) // an attempt has failed
	f.up()
	both("A", "B", "C", "D", "E", "F", "G", "H", "I")
	eval[bool](other, `[..."jklmnopqrs"].every(letter => send("talk", letter))`)
	f.cut()
	both("A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S")
	other.until(`said.length === 10 && said.every(word => word === "taken")`)
}

// Rule 18: over its rate a page waits as long as it is told to, and nothing is lost; what is not to be had is refused.
func TestSendingRate(t *testing.T) {
	inShell(t)
	r, votes := talkRoom(t, channel.ReceiveConfig[int]{Rate: 20, Burst: 2})
	tab := newGate(t, r).sending(newSession(t))
	eval[bool](tab, `[1, 2, 3, 4, 5, 6].every(n => send("votes", n)) && send("nothing", 1) && send("votes", 7, 8, 9)`)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for want := 1; want <= 6; want++ {
		got, err := votes.Next(ctx)
		if err != nil || got.Value != want || got.Process != r.of(tab).process {
			t.Fatalf("got %v of %v, %v; want %d of the page's process", got.Value, got.Process, err, want)
		}
	}
	tab.until(`said.length === 8`)
	if said := eval[string](tab, `said.join("\n")`); !strings.Contains(said, `410 no inbox "nothing"`) || !strings.Contains(said, "413 send: ") ||
		strings.Count(said, "taken") != 6 {
		t.Errorf("the sends became\n%s", said)
	}
}

// comet.close ends what waits to be sent.
func TestSendingEndsWithComet(t *testing.T) {
	inShell(t)
	r, _ := talkRoom(t, channel.ReceiveConfig[int]{})
	f := newGate(t, r)
	tab := f.sending(newSession(t))
	f.down()
	eval[bool](tab, `send("talk", "unheard") && !!setTimeout(() => comet.close(), 20)`)
	tab.until(`said[0] === "0 the Comet was closed"`)
}
