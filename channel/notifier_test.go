package channel_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

func TestNotify(t *testing.T) {
	site := newSite(t)
	notices := must(channel.Notify[int](site, channel.Config{Name: "notices", Size: 2}))
	p, q := newProcess(t, site), newProcess(t, site)
	p.BelongsTo("ann")
	q.BelongsTo("bob")
	hers, his := must(notices.For(p)), must(notices.For(q))
	ctx := t.Context()
	for v := range 2 {
		if r, err := notices.ToUser(ctx, "ann", v); r != (channel.Reach{Tabs: 1, Nodes: 1}) || err != nil {
			t.Fatal(r, err)
		}
	}
	if r, err := notices.ToSession(ctx, "session", 2); r != (channel.Reach{Tabs: 1, Full: 1, Nodes: 1}) || err != nil {
		t.Fatal(r, err)
	}
	mustBe(t, "a tab over its size", hers.Err(), channel.ErrFull)
	ann, bob := must(openAs(site, "ann", p)), must(openAs(site, "bob", q))
	t.Cleanup(ann.leave)
	t.Cleanup(bob.leave)
	bob.want(t, "notices 2")
	if r := his.Readers(); r != (channel.Readers{Streams: 1, Sessions: 1, Users: 1, Nodes: 1}) {
		t.Fatal(r)
	}
	his.Close()
	if r, err := notices.ToUser(ctx, "bob", 3); r != (channel.Reach{Nodes: 1}) || err != nil {
		t.Fatal(r, err)
	}
	must(notices.For(q)) // anew
	if r, err := notices.ToUser(ctx, "bob", 4); r.Tabs != 1 || err != nil {
		t.Fatal(r, err)
	}
}

func TestNotifyRefuses(t *testing.T) {
	site, ctx := newSite(t), t.Context()
	_, err := channel.Notify[int](site)
	mustBe(t, "no name", err, channel.ErrBadConfig)
	_, err = channel.Notify[int](nil, channel.Config{Name: "n"})
	mustBe(t, "no site", err, channel.ErrBadConfig)
	_, err = channel.Notify[int](site, channel.Config{Name: "open"})
	mustBe(t, "a name of EventSource's", err, channel.ErrBadName)
	_, err = channel.Notify[func()](site, channel.Config{Name: "n"})
	mustBe(t, "what JSON cannot carry", err, channel.ErrBadConfig)
	_, err = channel.Notify[int](site, channel.Config{Name: "n"}, channel.Config{})
	mustBe(t, "two configs", err, channel.ErrBadConfig)

	n := must(channel.Notify[any](site, channel.Config{Name: "n"}))
	_, err = n.ToUser(ctx, "", 1)
	mustBe(t, "nobody", err, channel.ErrBadConfig)
	_, err = n.ToSession(ctx, "", 1)
	mustBe(t, "no session", err, channel.ErrBadConfig)
	if _, err = n.ToUser(ctx, "ann", func() {}); err == nil {
		t.Error("a func was told")
	}
	small := must(channel.Notify[string](site, channel.Config{Name: "small", MaxBytes: 10}))
	_, err = small.ToUser(ctx, "ann", "0123456789")
	mustBe(t, "a value larger than a tab's channel", err, channel.ErrTooLarge)
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = n.ToUser(over, "ann", 1)
	mustBe(t, "a context that is over", err, context.Canceled)
	_, err = n.For(nil)
	mustBe(t, "no process", err, channel.ErrNoProcess)
	_, err = n.For(newProcess(t, newSite(t)))
	mustBe(t, "another site's process", err, channel.ErrBadConfig)
	p := newProcess(t, site)
	must(n.For(p))
	_, err = n.For(p)
	mustBe(t, "a second time", err, channel.ErrNameTaken)
	p.Close()
	_, err = n.For(p)
	mustBe(t, "a process that ended", err, channel.ErrNoProcess)
	if err := site.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = n.ToUser(ctx, "ann", 1)
	mustBe(t, "a site that is shut down", err, scope.ErrShutdown)
}

func TestPresenceOf(t *testing.T) {
	site := newSite(t)
	_, stream := channel.Push[int]()
	plain := must(channel.Create(site, stream))
	duplex := must(channel.CreateDuplex(site, channel.AsSent[int]))
	signal := must(channel.CreateSignal(site, 0))
	pg := newPage(t, site, nil, plain, duplex, signal)
	type crowd interface {
		Readers() channel.Readers
		AllReaders(context.Context) (channel.Readers, error)
	}
	want := channel.Readers{Streams: 1, Sessions: 1, Nodes: 1}
	for _, c := range []crowd{plain, duplex, signal} {
		if all, err := c.AllReaders(t.Context()); all != want || c.Readers() != want || err != nil {
			t.Errorf("%T: %+v, %+v, %v", c, c.Readers(), all, err)
		}
	}
	now := channel.PresenceConfig{Grace: -1}
	for i, seq := range []func(context.Context) iter.Seq2[channel.Change, error]{plain.Presence(now), duplex.Presence(now), signal.Presence(now)} {
		for c, err := range seq(t.Context()) {
			if c != (channel.Change{Session: "session", Here: true, Count: 1}) || err != nil {
				t.Errorf("%d: %+v, %v", i, c, err)
			}
			break
		}
	}
	pg.leave()
	if got := plain.Readers(); got != (channel.Readers{Nodes: 1}) {
		t.Error(got)
	}
	for _, err := range plain.Presence(now, now)(t.Context()) {
		mustBe(t, "two configs", err, channel.ErrBadConfig)
	}
	plain.Close()
	for _, err := range plain.Presence()(t.Context()) {
		if !errors.Is(err, channel.ErrClosed) {
			t.Error(err)
		}
	}
}
