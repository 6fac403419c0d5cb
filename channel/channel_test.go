package channel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

type message struct {
	Text string `json:"text"`
}

// Rule 2: a page that shows Recent and hears After its position misses nothing
// and repeats nothing. Study 4b: a history of n is exactly n.
func TestSiteChannel(t *testing.T) {
	site := newSite(t)
	posts, stream := channel.Push[message]()
	chat := must(channel.Create(site, stream, channel.Config{Name: "chat", Size: 3}))
	for i := range 5 {
		if err := posts.Send(t.Context(), message{fmt.Sprint("m", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range []int{0, 1, 2, 3, 3} {
		if values, _ := must2(chat.Recent(t.Context(), n)); len(values) != want {
			t.Errorf("Recent(%d): %v", n, values)
		}
	}
	values, at := must2(chat.Recent(t.Context(), 2))
	if fmt.Sprint(values) != "[{m3} {m4}]" {
		t.Errorf("Recent: %v", values)
	}
	now, last, after := newPage(t, site, nil, chat), newPage(t, site, nil, chat.History(1)), newPage(t, site, nil, chat.After(at))
	posts.Send(t.Context(), message{"live"})
	now.want(t, `chat {"text":"live"}`)
	last.want(t, `chat {"text":"m4"}`, `chat {"text":"live"}`)
	after.want(t, `chat {"text":"live"}`)
}

func must2[V any](v V, at engine.Position, err error) (V, engine.Position) {
	return must(v, err), at
}

// Rule 7: exactly Size values wait for a tab; one more drops them all, says
// full once, and ends channel and source.
func TestPrivateChannelIsFull(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	posts, stream := channel.Push[int]()
	ch := must(channel.Create(p, stream, channel.Config{Name: "mine", Size: 3}))
	for i := range 3 {
		if err := posts.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	mustBe(t, "one too many", posts.Send(t.Context(), 3), channel.ErrFull, channel.ErrClosed)
	mustBe(t, "and from then on", posts.Send(t.Context(), 4), channel.ErrFull, channel.ErrClosed)
	ended(t, ch.Done())
	mustBe(t, "Err", ch.Err(), channel.ErrFull)
	newPage(t, site, p, ch).want(t, `comet:full {"channel":"mine","reason":"overflow","final":true}`)

	contexts := make(chan context.Context, 1)
	ch = must(channel.Create(p, channel.From(func(ctx context.Context) (int, error) {
		select {
		case contexts <- ctx:
		default:
		}
		return 1, nil
	})))
	ended(t, ch.Done())
	source := <-contexts
	ended(t, source.Done())
	mustBe(t, "the eager source's cause", context.Cause(source), channel.ErrFull)
}

// Rule 6: a newest channel's value is heard at once, and what it replaced is no
// hole.
func TestNewest(t *testing.T) {
	site := newSite(t)
	prices, stream := channel.Push[float64]()
	ch := must(channel.CreateNewest(site, stream, channel.NewestConfig{Name: "price"}))
	for _, price := range []float64{1, 2, 3} {
		prices.Send(t.Context(), price)
	}
	newPage(t, site, nil, ch).want(t, "price 3")
}

// Rule 9: an unlimited channel's source is not read before a page is connected,
// ahead, or without being asked.
func TestUnlimitedReadsOnDemand(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	var reads atomic.Int64
	n := must(channel.CreateUnlimited(p, channel.From(func(context.Context) (int64, error) {
		return reads.Add(1), nil
	}), channel.UnlimitedConfig{Name: "unread"}))
	if n.Name() != "unread" || reads.Load() != 0 {
		t.Fatalf("%s was read %d times before anybody heard it", n.Name(), reads.Load())
	}
	pg := newPage(t, site, p, n)
	pg.want(t, "unread 1")
	for want := int64(2); want < 10; want++ {
		if err := pg.ask("unread"); err != nil {
			t.Fatal(err)
		}
		pg.want(t, fmt.Sprint("unread ", want))
		if got := reads.Load(); got != want {
			t.Fatalf("read %d times for %d questions", got, want)
		}
	}
}

// Study 4b "ended create_unlimited": its end is told, once it is asked for, and
// the source left alone.
func TestUnlimitedEnds(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	posts, stream := channel.Push[string]()
	n := must(channel.CreateUnlimited(p, stream, channel.UnlimitedConfig{Name: "unread"}))
	posts.Send(t.Context(), "one")
	posts.Send(t.Context(), "two")
	posts.Close()
	pg := newPage(t, site, p, n)
	pg.want(t, `unread "one"`)
	pg.ask("unread")
	pg.want(t, `unread "two"`)
	pg.ask("unread")
	pg.want(t, `comet:end {"channel":"unread","reason":"end","final":true}`)
	ended(t, n.Done())
	if n.Err() != io.EOF {
		t.Errorf("Err: %v", n.Err())
	}
}

// A source that leaves its goroutine ends an unlimited channel too, though that
// goroutine is its process's.
func TestUnlimitedGoexit(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	n := must(channel.CreateUnlimited(p, channel.From(func(context.Context) (int, error) {
		runtime.Goexit()
		return 0, nil
	}), channel.UnlimitedConfig{Name: "unread"}))
	newPage(t, site, p, n).want(t, `comet:end {"channel":"unread","reason":"error","final":true}`)
	if err := n.Err(); err == nil || !strings.Contains(err.Error(), "Goexit") {
		t.Errorf("Err: %v", err)
	}
}

func TestContinuous(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	news := make(chan string, 3)
	n := must(channel.CreateUnlimited(p, channel.FromChan(news), channel.UnlimitedConfig{Name: "news", Continuous: true}))
	pg := newPage(t, site, p, n)
	for i := range 3 {
		news <- fmt.Sprint(i)
	}
	pg.want(t, `news "0"`, `news "1"`, `news "2"`)
}

// A clone's head in front of an unlimited channel that falls behind ends it at
// once, in the open; its sibling goes on.
func TestUnlimitedCloneFallsBehind(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	posts, stream := channel.Push[int](channel.StreamConfig{Waiting: 2})
	slow := must(channel.CreateUnlimited(p, stream.Clone(), channel.UnlimitedConfig{Name: "slow"}))
	fast := must(channel.Create(p, stream, channel.Config{Name: "fast"}))
	for i := range 3 {
		if err := posts.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	ended(t, slow.Done())
	mustBe(t, "Err", slow.Err(), channel.ErrFull)
	heard := newPage(t, site, p, fast).hear(4)
	slices.Sort(heard) // the order across channels is nobody's promise
	want := []string{`comet:full {"channel":"slow","reason":"overflow","final":true}`, "fast 0", "fast 1", "fast 2"}
	if !slices.Equal(heard, want) {
		t.Fatalf("heard %q, want %q", heard, want)
	}
}

// Study 4b "site name clash", rule 13 and the contract of every constructor: an
// error leaves the stream unclaimed, unread and usable.
func TestErrorsLeaveTheStream(t *testing.T) {
	site := newSite(t)
	gone := newProcess(t, site)
	gone.Close()
	must(channel.Create(site, channel.FromChan(make(chan int)), channel.Config{Name: "taken"}))
	reads := 0
	read := channel.From(func(context.Context) (int, error) { reads++; return 0, io.EOF })
	numbers, sent := channel.Push[int]()
	for _, stream := range []*channel.Stream[int]{read, sent} {
		for what, attempt := range map[string]struct {
			err  error
			says string
			try  func() error
		}{
			"name taken":  {channel.ErrNameTaken, "taken", func() error { return second(channel.Create(site, stream, channel.Config{Name: "taken"})) }},
			"bad name":    {channel.ErrBadName, "allowed are", func() error { return second(channel.Create(site, stream, channel.Config{Name: "no spaces"})) }},
			"bad event":   {channel.ErrBadName, "EventSource", func() error { return second(channel.Create(site, stream, channel.Config{Event: "error"})) }},
			"two configs": {channel.ErrBadConfig, "merge", func() error { return second(channel.Create(site, stream, channel.Config{}, channel.Config{})) }},
			"two newest": {channel.ErrBadConfig, "NewestConfig", func() error {
				return second(channel.CreateNewest(site, stream, channel.NewestConfig{}, channel.NewestConfig{}))
			}},
			"contradiction": {channel.ErrBadConfig, "Unnamed", func() error {
				return second(channel.Create(site, stream, channel.Config{Event: "e", Unnamed: true}))
			}},
			"size":          {channel.ErrBadConfig, "negative", func() error { return second(channel.Create(site, stream, channel.Config{Size: -1})) }},
			"encoding":      {channel.ErrBadConfig, "int", func() error { return second(channel.Create(site, stream, channel.Config{Encoding: channel.Text})) }},
			"nil site":      {channel.ErrBadConfig, "nil", func() error { return second(channel.Create[int]((*scope.Site)(nil), stream)) }},
			"nil owner":     {channel.ErrBadConfig, "nil", func() error { return second(channel.Create(nil, stream)) }},
			"nil process":   {channel.ErrNoProcess, "nil", func() error { return second(channel.CreateUnlimited(nil, stream)) }},
			"ended process": {channel.ErrNoProcess, "ended", func() error { return second(channel.CreateUnlimited(gone, stream)) }},
			"ended private": {channel.ErrNoProcess, "ended", func() error { return second(channel.Create(gone, stream)) }},
		} {
			err := attempt.try()
			if mustBe(t, what, err, attempt.err); !strings.Contains(err.Error(), attempt.says) {
				t.Errorf("%s: %q does not say %q", what, err, attempt.says)
			}
		}
	}
	if reads != 0 {
		t.Fatalf("the source was read %d times", reads)
	}
	mustBe(t, "Send", numbers.Send(t.Context(), 1), channel.ErrUnclaimed)
	ch := must(channel.Create(site, read))
	ended(t, ch.Done())
	must(channel.Create(site, sent))
	if err := numbers.Send(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func second[V any](_ V, err error) error { return err }

// One stream, many goroutines: one of them gets it.
func TestStreamIsClaimedOnce(t *testing.T) {
	site := newSite(t)
	for range 100 {
		stream := channel.FromChan(make(chan int))
		var made, reused atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				ch, err := channel.Create(site, stream)
				switch {
				case err == nil:
					made.Add(1)
					ch.Close()
				case errors.Is(err, channel.ErrReused):
					reused.Add(1)
				}
			})
		}
		wg.Wait()
		if made.Load() != 1 || reused.Load() != 3 {
			t.Fatalf("%d channels, %d refusals", made.Load(), reused.Load())
		}
	}
}

// Study 4b "source exception", rule 13: a source's failure ends its channel
// alone, in the open, with the name.
func TestSourceFails(t *testing.T) {
	site := newSite(t)
	failure := errors.New("database is on fire")
	for what, stream := range map[string]*channel.Stream[any]{
		"error": channel.From(func(context.Context) (any, error) { return nil, failure }),
		"hung up": channel.From(func(context.Context) (any, error) {
			return nil, &url.Error{Op: "Get", URL: "http://127.0.0.1", Err: io.EOF} // what net/http says
		}),
		"panic":   channel.From(func(context.Context) (any, error) { panic(failure) }),
		"marshal": channel.From(func(context.Context) (any, error) { return func() {}, nil }),
		"large":   channel.From(func(context.Context) (any, error) { return strings.Repeat("x", 1<<20), nil }),
	} {
		other := must(channel.Create(site, channel.FromChan(make(chan int)), channel.Config{Name: "other"}))
		failing := must(channel.Create(site, stream, channel.Config{Name: "failing"}))
		ended(t, failing.Done())
		err := failing.Err()
		if !strings.HasPrefix(err.Error(), "channel failing: ") || strings.Count(err.Error(), "channel failing") > 1 {
			t.Errorf("%s: %v", what, err)
		}
		var p *channel.PanicError
		switch what {
		case "error":
			mustBe(t, what, err, failure)
		case "hung up":
			if u := (*url.Error)(nil); !errors.As(err, &u) || errors.Is(err, io.EOF) {
				t.Errorf("hung up: %v", err)
			}
		case "panic":
			if !errors.As(err, &p) || p.Value != failure {
				t.Errorf("panic: %v", err)
			}
		case "large":
			mustBe(t, what, err, channel.ErrTooLarge)
		}
		pg := newPage(t, site, nil, failing, other)
		pg.want(t, `comet:end {"channel":"failing","reason":"error","final":true}`)
		if other.Err() != nil {
			t.Errorf("%s: the other channel ended with %v", what, other.Err())
		}
		failing.Close()
		other.Close()
	}
}

// The end of a client process is the end of its channels, at once: sources are
// told why, and senders too.
func TestProcessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := scope.NewSite()
		p := newProcess(t, site)
		var cause error
		read := must(channel.Create(p, channel.From(func(ctx context.Context) (int, error) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return 0, ctx.Err()
		})))
		posts, stream := channel.Push[int]()
		sent := must(channel.Create(p, stream))
		asked := must(channel.CreateUnlimited(p, channel.FromChan(make(chan int))))
		synctest.Wait() // the source is being read
		p.Close()
		synctest.Wait()
		for _, err := range []error{cause, read.Err(), sent.Err(), asked.Err(), posts.Send(t.Context(), 1)} {
			mustBe(t, "cause", err, channel.ErrProcessGone)
		}
		mustBe(t, "Send", posts.Send(t.Context(), 1), channel.ErrClosed, channel.ErrProcessGone)
		site.Shutdown(t.Context())
	})
}

// Rule 9: while the tab is away nothing is read, and a read under way is
// interrupted and made good when it is back.
func TestUnlimitedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := scope.NewSite()
		p := newProcess(t, site)
		n := 0
		ch := must(channel.CreateUnlimited(p, channel.From(func(ctx context.Context) (int, error) {
			select {
			case <-time.After(time.Minute):
				n++
				return n, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}), channel.UnlimitedConfig{Name: "slow"}))
		pg := must(open(site, p, ch))
		time.Sleep(time.Second)
		synctest.Wait()
		pg.now()
		pg.leave()
		time.Sleep(10 * time.Minute)
		if n != 0 {
			t.Fatalf("%d values were read for nobody", n)
		}
		if err := pg.connect(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(pg.now()); got != "[slow 1]" {
			t.Errorf("heard %s", got)
		}
		pg.leave()
		site.Shutdown(t.Context())
	})
}

func TestClose(t *testing.T) {
	site := newSite(t)
	posts, stream := channel.Push[int]()
	ch := must(channel.Create(site, stream, channel.Config{Name: "chat"}))
	pg := newPage(t, site, nil, ch)
	posts.Send(t.Context(), 1)
	if ch.Err() != nil {
		t.Errorf("Err of a living channel: %v", ch.Err())
	}
	ch.Close()
	ch.Close()
	ended(t, ch.Done())
	mustBe(t, "Err", ch.Err(), channel.ErrClosed)
	mustBe(t, "Send", posts.Send(t.Context(), 2), channel.ErrClosed)
	pg.want(t, "chat 1", `comet:closed {"channel":"chat","reason":"closed","final":true}`)
	must(channel.Create(site, channel.FromChan(make(chan int)), channel.Config{Name: "chat"})) // the name is free
}

func TestFind(t *testing.T) {
	site := newSite(t)
	posts, stream := channel.Push[message]()
	must(channel.Create(site, stream, channel.Config{Name: "chat"}))
	_, text := channel.Push[string]()
	must(channel.Create(site, text, channel.Config{Name: "text", Encoding: channel.Text}))
	posts.Send(t.Context(), message{"hello"})

	found := must(channel.Find[message](site, "chat"))
	if values, _ := must2(found.Recent(t.Context(), 1)); fmt.Sprint(values) != "[{hello}]" {
		t.Errorf("Recent: %v", values)
	}
	must(channel.Find[string](site, "text"))
	must(channel.Find[string](site, "text", channel.FindConfig{Encoding: channel.Text}))
	for _, c := range []struct{ err, is error }{
		{second(channel.Find[message](site, "nowhere")), channel.ErrNotFound},
		{second(channel.Find[string](site, "chat")), channel.ErrOtherType},
		{second(channel.Find[*message](site, "chat")), channel.ErrOtherType},
		{second(channel.Find[string](site, "text", channel.FindConfig{Encoding: channel.JSON})), channel.ErrOtherType},
		{second(channel.Find[string](site, "text", channel.FindConfig{}, channel.FindConfig{})), channel.ErrBadConfig},
		{second(channel.Find[string](nil, "text")), channel.ErrBadConfig},
	} {
		mustBe(t, "Find", c.err, c.is)
	}
	err := second(channel.Find[int](site, "chat"))
	for _, says := range []string{"chat", "message as json", "int as json"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
}

// Names may be strings of a request, whose buffer Fiber reuses.
func TestNamesAreCopied(t *testing.T) {
	site := newSite(t)
	buf := []byte("room")
	name := unsafe.String(&buf[0], len(buf))
	posts, stream := channel.Push[int]()
	ch := must(channel.Create(site, stream, channel.Config{Name: name, Event: name}))
	ref := channel.External("https://example.org/comet", name)
	copy(buf, "XXXX")
	if ch.Name() != "room" {
		t.Errorf("Name: %s", ch.Name())
	}
	pg := newPage(t, site, nil, must(channel.Find[int](site, "room")))
	posts.Send(t.Context(), 1)
	pg.want(t, "room 1")
	if link := must(site.Link(t.Context(), nil, 0, ref)); !strings.Contains(link.Query, "room") {
		t.Errorf("external: %+v", link)
	}
}

// Rule 3: with Unnamed, EventSource's onmessage hears it; Event is apart from
// Name.
func TestEventNames(t *testing.T) {
	site := newSite(t)
	a, named := channel.Push[int]()
	b, unnamed := channel.Push[int]()
	pg := newPage(t, site, nil,
		must(channel.Create(site, named, channel.Config{Name: "long/name", Event: "short"})),
		must(channel.Create(site, unnamed, channel.Config{Unnamed: true})))
	a.Send(t.Context(), 1)
	pg.want(t, "short 1")
	b.Send(t.Context(), 2)
	pg.want(t, "2")
}

// Rule 17: an external channel's beginning is for its own instance to resolve.
func TestExternal(t *testing.T) {
	site := newSite(t)
	const there = "https://other.example/comet"
	link := func(config ...channel.ExternalConfig) (scope.Link, error) {
		return site.Link(t.Context(), nil, 0, channel.External(there, "news", config...))
	}
	seen := map[string]bool{}
	for _, config := range []channel.ExternalConfig{{}, {History: 5}, {FromNow: true}, {Newest: true}} {
		l := must(link(config))
		if l.Base != there || seen[l.Query] {
			t.Errorf("%+v: %+v", config, l)
		}
		seen[l.Query] = true
	}
	if must(link()) != must(link(channel.ExternalConfig{History: 1})) {
		t.Error("the default is not a history of 1")
	}
	for _, fault := range []struct {
		err  error
		says string
	}{
		{second(link(channel.ExternalConfig{FromNow: true, History: 5})), "set one of them"},
		{second(link(channel.ExternalConfig{FromNow: true, Newest: true})), "set one of them"},
		{second(link(channel.ExternalConfig{History: 5, Newest: true})), "set one of them"},
		{second(link(channel.ExternalConfig{}, channel.ExternalConfig{})), "merge them"},
		{second(link(channel.ExternalConfig{History: -1})), "history -1"},
	} {
		if fault.err == nil || !strings.Contains(fault.err.Error(), fault.says) {
			t.Errorf("want an error that says %q, got %v", fault.says, fault.err)
		}
	}
}

// What makes no sense for a private channel is told at Open.
func TestPrivateHasNoHistory(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	posts, stream := channel.Push[int]()
	ch := must(channel.Create(p, stream))
	posts.Send(t.Context(), 1)
	_, at, err := ch.Recent(t.Context(), 1)
	if err == nil || !at.IsZero() {
		t.Error("Recent of a private channel")
	}
	for _, ref := range []scope.Ref{ch.History(1), ch.After(at)} {
		if _, err := open(site, p, ref); err == nil {
			t.Error("Open of a private channel's history")
		}
	}
	newPage(t, site, p, ch).want(t, ch.Name()+" 1")
}

// Shutdown ends sources and senders.
func TestShutdown(t *testing.T) {
	site := scope.NewSite()
	reading, stopped := make(chan struct{}), make(chan error, 1)
	must(channel.Create(site, channel.From(func(ctx context.Context) (int, error) {
		close(reading)
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return 0, ctx.Err()
	}), channel.Config{Name: "read"}))
	posts, stream := channel.Push[int]()
	must(channel.Create(site, stream, channel.Config{Name: "sent"}))
	<-reading
	if err := site.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "source", <-stopped, channel.ErrShutdown)
	mustBe(t, "Send", posts.Send(t.Context(), 1), channel.ErrClosed, channel.ErrShutdown)
	_, late := channel.Push[int]()
	mustBe(t, "Create", second(channel.Create(site, late)), channel.ErrShutdown)
}
