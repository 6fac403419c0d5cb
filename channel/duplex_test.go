package channel_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

type said struct {
	By   string `json:"by"`
	Text string `json:"text"`
}

// TestDuplex proves rule 18 (Eliom_bus): what a tab sends, all tabs hear, the
// sender too, as the app makes it of what was sent; and the app says something
// itself.
func TestDuplex(t *testing.T) {
	site := newSite(t)
	outage := errors.New("a secret outage")
	chat := must(channel.CreateDuplex(site, func(_ context.Context, r channel.Received[string]) (said, error) {
		switch r.Value {
		case "rude":
			return said{}, channel.Refuse("mind your language, %s", r.Reader.Session)
		case "broken":
			return said{}, outage
		}
		return said{By: r.Reader.Session, Text: r.Value}, nil
	}, channel.DuplexConfig[string]{Channel: channel.Config{Name: "chat"}}))
	a, b := newPage(t, site, newProcess(t, site), chat), newPage(t, site, newProcess(t, site), chat.History(10))
	a.mustSend(t, "chat", `"hello"`, `"you"`)
	if err := chat.Send(t.Context(), said{"the house", "welcome"}); err != nil {
		t.Fatal(err)
	}
	for _, pg := range []*page{a, b} {
		pg.want(t, `chat {"by":"session","text":"hello"}`, `chat {"by":"session","text":"you"}`, `chat {"by":"the house","text":"welcome"}`)
	}
	r := wantRefused(t, a.send("chat", `"fine"`, `"rude"`, `"never"`), "invalid", "mind your language, session")
	if r.Value != 2 || r.Taken != 1 {
		t.Fatalf("%+v", r)
	}
	b.want(t, `chat {"by":"session","text":"fine"}`)
	err := a.send("chat", `"broken"`)
	var told *scope.CommandError
	if !errors.Is(err, outage) || errors.As(err, &told) {
		t.Fatalf("a fault of the app is told to the page: %v", err)
	}
	values, at, err := chat.Recent(t.Context(), 1)
	if err != nil || values[0].Text != "fine" {
		t.Fatal(values, err)
	}
	c := newPage(t, site, newProcess(t, site), chat.After(at))
	a.mustSend(t, "chat", `"late"`)
	c.want(t, `chat {"by":"session","text":"late"}`)

	chat.Close()
	wantRefused(t, a.send("chat", `"over"`), "gone", "chat")
	<-chat.Done()
	mustBe(t, "Err", chat.Err(), channel.ErrClosed)
	mustBe(t, "Send", chat.Send(t.Context(), said{}), channel.ErrClosed)
}

// TestDuplexOfATab: a process's duplex channel is between that tab and the server.
func TestDuplexOfATab(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	echo := must(channel.CreateDuplex(p, channel.AsSent[int], channel.DuplexConfig[int]{Channel: channel.Config{Name: "echo"}}))
	pg, other := newPage(t, site, p, echo), newPage(t, site, newProcess(t, site))
	pg.mustSend(t, "echo", "1")
	pg.want(t, "echo 1")
	wantRefused(t, other.send("echo", "2"), "gone", "echo")
	p.Close()
	mustBe(t, "Err", echo.Err(), channel.ErrProcessGone)
}

// TestDuplexIsHeld: a duplex channel without a name is not collected while tabs
// may send to it.
func TestDuplexIsHeld(t *testing.T) {
	site := newSite(t)
	name, pg := func() (string, *page) {
		d := must(channel.CreateDuplex(site, channel.AsSent[int]))
		return d.Name(), newPage(t, site, newProcess(t, site), d.History(5))
	}()
	pg.leave()
	for range 5 {
		runtime.GC()
	}
	if err := pg.send(name, "1"); err != nil {
		t.Fatal(err)
	}
	if err := pg.connect(); err != nil {
		t.Fatal(err)
	}
	pg.want(t, name+" 1")
}

// TestDuplexErrors: nothing remains of what cannot be made.
func TestDuplexErrors(t *testing.T) {
	site := newSite(t)
	accept := channel.AsSent[int]
	taken := must(channel.Receive(site, channel.ReceiveConfig[int]{Name: "chat"}))
	for _, c := range []struct {
		err  error
		is   error
		says string
	}{
		{second(channel.CreateDuplex[int, int](site, nil)), channel.ErrBadConfig, "AsSent"},
		{second(channel.CreateDuplex(site, accept, channel.DuplexConfig[int]{Receive: channel.ReceiveConfig[int]{Name: "x"}})), channel.ErrBadConfig, "Channel.Name"},
		{second(channel.CreateDuplex(site, accept, channel.DuplexConfig[int]{Receive: channel.ReceiveConfig[int]{Waiting: 5}})), channel.ErrBadConfig, "nothing waits"},
		{second(channel.CreateDuplex(site, accept, channel.DuplexConfig[int]{}, channel.DuplexConfig[int]{})), channel.ErrBadConfig, "merge"},
		{second(channel.CreateDuplex(site, accept, channel.DuplexConfig[int]{Channel: channel.Config{Name: "chat"}})), channel.ErrNameTaken, "chat"},
	} {
		if !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%v, want %v that says %q", c.err, c.is, c.says)
		}
	}
	taken.Close()
	must(channel.CreateDuplex(site, accept, channel.DuplexConfig[int]{Channel: channel.Config{Name: "chat"}}))
}
