package channel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// Examples read the wire below HTTP: show prints the next n events that a page
// hears, as "name data".
func (pg *page) show(n int) {
	fmt.Println(strings.Join(pg.hear(n), "\n"))
}

// A chat: values of a Go type go in, every page that has it open hears them as
// JSON.
func Example() {
	type Message struct {
		From, Text string
	}
	site := scope.NewSite() // in an app: comet.NewSite(), given to comet.New
	posts, stream := channel.Push[Message]()
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	posts.Send(ctx, Message{"Ann", "hello"})
	tab := must(open(site, nil, chat.History(50))) // in a handler: comet.Open(c, chat.History(50))
	posts.Send(ctx, Message{"Bob", "hi"})
	tab.show(2)
	// Output:
	// chat {"From":"Ann","Text":"hello"}
	// chat {"From":"Bob","Text":"hi"}
}

// A channel of a client process is one tab's own. What comes before the tab
// connects waits for it.
func ExampleCreate() {
	site := scope.NewSite()
	tab := must(site.NewProcess("session")) // in a handler: comet.ClientProcess(c)
	steps := make(chan string, 2)
	progress, err := channel.Create(tab, channel.FromChan(steps), channel.Config{Name: "progress", Encoding: channel.Text})
	if err != nil {
		fmt.Println(err)
		return
	}
	steps <- "compiling"
	steps <- "done"
	close(steps)
	must(open(site, tab, progress)).show(3)
	// Output:
	// progress compiling
	// progress done
	// comet:end {"channel":"progress","reason":"end","final":true}
}

// A newest channel tells the state of something: whoever comes hears it at
// once.
func ExampleCreateNewest() {
	site := scope.NewSite()
	rates, stream := channel.Push[float64]()
	rate, err := channel.CreateNewest(site, stream, channel.NewestConfig{Name: "eur-usd"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range []float64{1.08, 1.09, 1.11} {
		rates.Send(context.Background(), r)
	}
	must(open(site, nil, rate)).show(1)
	// Output: eur-usd 1.11
}

// An unlimited channel is read when its tab asks, so that each answer is as
// fresh as the question.
func ExampleCreateUnlimited() {
	site := scope.NewSite()
	tab := must(site.NewProcess("session"))
	mails := 3
	unread, err := channel.CreateUnlimited(tab, channel.From(func(context.Context) (int, error) {
		return mails, nil
	}), channel.UnlimitedConfig{Name: "unread"})
	if err != nil {
		fmt.Println(err)
		return
	}
	mails = 5
	pg := must(open(site, tab, unread)) // the first question
	pg.show(1)
	mails = 7
	pg.ask("unread") // in the page: fetch(url, {method: "POST", body: "pull=unread"})
	pg.show(1)
	// Output:
	// unread 5
	// unread 7
}

// What a tab sends is read by the program, with who sent it.
func ExampleReceive() {
	type Vote struct{ Option string }
	site := scope.NewSite()
	votes, err := channel.Receive(site, channel.ReceiveConfig[Vote]{Name: "votes", Validate: func(v Vote) error {
		if v.Option == "" {
			return errors.New("choose an option")
		}
		return nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	tab := must(site.NewProcess("session"))
	pg := must(open(site, tab))
	// in the page: fetch(url, {method: "POST", body: new URLSearchParams({send: "votes", value: JSON.stringify({Option: "tea"})})})
	fmt.Println(pg.send("votes", `{"Option":"tea"}`))
	fmt.Println(pg.send("votes", `{}`))
	vote, err := votes.Next(context.Background())
	fmt.Println(vote.Value.Option, vote.Process == tab, err)
	// Output:
	// <nil>
	// comet: choose an option
	// tea true <nil>
}

// A chat: what a tab sends, all tabs hear, as the program signs it.
func ExampleCreateDuplex() {
	type Message struct{ From, Text string }
	site := scope.NewSite()
	chat, err := channel.CreateDuplex(site, func(_ context.Context, r channel.Received[string]) (Message, error) {
		if r.Value == "" {
			return Message{}, channel.Refuse("there is nothing to say")
		}
		return Message{From: r.Reader.User, Text: r.Value}, nil
	}, channel.DuplexConfig[string]{Channel: channel.Config{Name: "chat", Size: 100}})
	if err != nil {
		fmt.Println(err)
		return
	}
	tab := must(site.NewProcess("session"))
	pg := must(open(site, tab, chat))
	pg.send("chat", `"hello"`)
	pg.show(1)
	fmt.Println(pg.send("chat", `""`))
	// Output:
	// chat {"From":"","Text":"hello"}
	// comet: there is nothing to say
}

// A page shows the value there is and hears what it changes to, nothing twice.
func ExampleCreateSignal() {
	site := scope.NewSite()
	level, err := channel.CreateSignal(site, 1, channel.NewestConfig{Name: "level"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	value, after, err := level.Sample(ctx)
	fmt.Println("in the page:", value, err)
	pg := must(open(site, nil, after))
	level.Set(ctx, 1) // no change
	level.Update(ctx, func(old int) (int, error) { return old + 1, nil })
	pg.show(1)
	// Output:
	// in the page: 1 <nil>
	// level 2
}

// The page's browser hears the other instance by itself; here is only said
// what, and from where.
func ExampleExternal() {
	site := scope.NewSite()
	news := channel.External("https://news.example.org/comet", "headlines", channel.ExternalConfig{History: 10})
	link := must(site.Link(context.Background(), nil, 0, news)) // in a handler: comet.Open(c, news)
	fmt.Println(link.Base)
	// Output: https://news.example.org/comet
}

// A program hears what another one says on the engine that they share. Here both are
// in one process.
func ExampleFollow() {
	log := memory.New() // elsewhere: an engine that processes share
	news := scope.NewSite(scope.SiteConfig{Engine: log, Prefix: "news"})
	app := scope.NewSite(scope.SiteConfig{Engine: log, Prefix: "app"})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	headlines, stream := channel.Push[string]()
	must(channel.Create(news, stream, channel.Config{Name: "headlines"}))
	headlines.Send(ctx, "it rains")
	headlines.Send(ctx, "it pours")

	f, err := channel.Follow[string](ctx, app, channel.FollowConfig{Prefix: "news", Name: "headlines", History: 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	for headline, err := range f.All(ctx) {
		var hole *channel.HoleError
		if errors.As(err, &hole) {
			fmt.Println("missed some:", hole.Reason)
			continue // it goes on after the hole
		} else if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(headline.Value) // and headline.Position is where to go on
		if headline.Value == "it pours" {
			break
		}
	}
	// Output:
	// it rains
	// it pours
}

// What another instance says is said again in a channel of this site.
func ExampleFollowing_Stream() {
	log := memory.New()
	news := scope.NewSite(scope.SiteConfig{Engine: log, Prefix: "news"})
	app := scope.NewSite(scope.SiteConfig{Engine: log, Prefix: "app"})
	ctx := context.Background()
	headlines, stream := channel.Push[string]()
	must(channel.Create(news, stream, channel.Config{Name: "headlines"}))

	f := must(channel.Follow[string](ctx, app, channel.FollowConfig{Prefix: "news", Name: "headlines"}))
	mirror := must(channel.Create(app, f.Stream(nil), channel.Config{Name: "mirror"}))
	tab := must(open(app, nil, mirror))
	headlines.Send(ctx, "the sun is back")
	tab.show(1)
	f.Close()
	<-mirror.Done()
	// Output:
	// mirror "the sun is back"
}

func ExampleFind() {
	site := scope.NewSite()
	posts, stream := channel.Push[string]()
	channel.Create(site, stream, channel.Config{Name: "chat"})
	posts.Send(context.Background(), "hello")
	defer posts.Close()

	chat, err := channel.Find[string](site, "chat")
	if err != nil {
		fmt.Println(err)
		return
	}
	values, _, err := chat.Recent(context.Background(), 10)
	fmt.Println(values, err)
	// Output: [hello] <nil>
}

// A page is made of the values there are, and hears what comes after them: no
// hole, and no value twice.
func ExampleChannel_Recent() {
	site := scope.NewSite()
	posts, stream := channel.Push[string]()
	chat := must(channel.Create(site, stream, channel.Config{Name: "chat"}))
	ctx := context.Background()
	posts.Send(ctx, "in the page")
	values, at, err := chat.Recent(ctx, 50)
	fmt.Println(values, err)
	posts.Send(ctx, "meanwhile")
	tab := must(open(site, nil, chat.After(at)))
	posts.Send(ctx, "later")
	tab.show(2)
	// Output:
	// [in the page] <nil>
	// chat "meanwhile"
	// chat "later"
}

// A source waits for its next value, watches its context, and ends with io.EOF.
func ExampleFrom() {
	site := scope.NewSite()
	jobs := []string{"first", "second"}
	ch := must(channel.Create(site, channel.From(func(ctx context.Context) (string, error) {
		if len(jobs) == 0 {
			return "", io.EOF
		}
		job := jobs[0]
		jobs = jobs[1:]
		return job, ctx.Err()
	}), channel.Config{Name: "jobs"}))
	<-ch.Done()
	values, _, _ := ch.Recent(context.Background(), 10)
	fmt.Println(values, ch.Err())
	// Output: [first second] EOF
}

func ExampleFromChan() {
	site := scope.NewSite()
	c := make(chan int)
	defer close(c)
	ch := must(channel.Create(site, channel.FromChan(c), channel.Config{Name: "numbers"}))
	tab := must(open(site, nil, ch))
	for i := range 3 {
		c <- i
	}
	tab.show(3)
	// Output:
	// numbers 0
	// numbers 1
	// numbers 2
}

// An iterator may end with a failure: its channel ends with that, and pages are
// told.
func ExampleFromSeq() {
	site := scope.NewSite()
	rows := func(ctx context.Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			if yield("row 1", nil) && yield("row 2", nil) {
				yield("", errors.New("connection lost"))
			}
		}
	}
	ch := must(channel.Create(site, channel.FromSeq(rows), channel.Config{Name: "rows", Encoding: channel.Text}))
	<-ch.Done()
	fmt.Println(ch.Err())
	must(open(site, nil, ch.History(10))).show(3)
	// Output:
	// channel rows: connection lost
	// rows row 1
	// rows row 2
	// comet:end {"channel":"rows","reason":"error","final":true}
}

// Two tabs of one person: each has its own channel, over its own head of one
// stream.
func ExampleStream_Clone() {
	site := scope.NewSite()
	notes, stream := channel.Push[string]()
	left, right := must(site.NewProcess("session")), must(site.NewProcess("session"))
	a := must(channel.Create(left, stream.Clone(), channel.Config{Name: "notes"}))
	b := must(channel.Create(right, stream, channel.Config{Name: "notes"}))
	notes.Send(context.Background(), "for both")
	must(open(site, left, a)).show(1)
	must(open(site, right, b)).show(1)
	// Output:
	// notes "for both"
	// notes "for both"
}

// HTML is inserted by the page as it is, so it has to be escaped before: here
// by html/template.
func ExampleHTML() {
	site := scope.NewSite()
	lines, stream := channel.Push[string]()
	ch := must(channel.Create(site, stream, channel.Config{Name: "lines", Encoding: channel.HTML}))
	tab := must(open(site, nil, ch))
	lines.Send(context.Background(), "<li>Tom &amp; Jerry</li>")
	tab.show(1)
	// Output: lines <li>Tom &amp; Jerry</li>
}

// A tab that does not keep up loses what waits, and is told so.
func ExampleErrFull() {
	site := scope.NewSite()
	tab := must(site.NewProcess("session"))
	numbers, stream := channel.Push[int]()
	ch := must(channel.Create(tab, stream, channel.Config{Name: "numbers", Size: 2}))
	for i := range 3 {
		if err := numbers.Send(context.Background(), i); err != nil {
			fmt.Println(i, errors.Is(err, channel.ErrFull), errors.Is(err, channel.ErrClosed))
		}
	}
	must(open(site, tab, ch)).show(1)
	// Output:
	// 2 true true
	// comet:full {"channel":"numbers","reason":"overflow","final":true}
}

// In front of an unlimited channel, ErrFull is no end: the tab has not asked
// for a while, and may yet.
func ExampleErrFull_unlimited() {
	site := scope.NewSite()
	tab := must(site.NewProcess("session"))
	numbers, stream := channel.Push[int](channel.StreamConfig{Waiting: 2})
	ch := must(channel.CreateUnlimited(tab, stream, channel.UnlimitedConfig{Name: "numbers"}))
	for i := range 3 {
		if err := numbers.Send(context.Background(), i); err != nil {
			fmt.Println(err, errors.Is(err, channel.ErrClosed))
		}
	}
	must(open(site, tab, ch)).show(1)
	// Output:
	// channel numbers: channel is full false
	// numbers 0
}

func ExampleErrClosed() {
	site := scope.NewSite()
	posts, stream := channel.Push[string]()
	ch := must(channel.Create(site, stream, channel.Config{Name: "chat"}))
	ch.Close()
	fmt.Println(posts.Send(context.Background(), "hello"))
	fmt.Println(ch.Err())
	// Output:
	// channel chat: channel is closed
	// channel chat: channel is closed
}

// A name clash costs nothing: the stream is as it was, and can be used under
// another name.
func ExampleErrNameTaken() {
	site := scope.NewSite()
	first, stream := channel.Push[string]()
	channel.Create(site, stream, channel.Config{Name: "chat"})
	posts, stream := channel.Push[string]()
	_, err := channel.Create(site, stream, channel.Config{Name: "chat"})
	fmt.Println(errors.Is(err, channel.ErrNameTaken))
	_, err = channel.Create(site, stream, channel.Config{Name: "chat2"})
	fmt.Println(err, first.Send(context.Background(), "hello"), posts.Send(context.Background(), "hello"))
	// Output:
	// true
	// <nil> <nil> <nil>
}

// The wrong way: one stream for two channels. Clone it instead, before it is
// used.
func ExampleErrReused() {
	site := scope.NewSite()
	_, stream := channel.Push[string]()
	channel.Create(site, stream, channel.Config{Name: "a"})
	_, err := channel.Create(site, stream, channel.Config{Name: "b"})
	fmt.Println(errors.Is(err, channel.ErrReused))
	_, err = channel.Create(site, stream.Clone(), channel.Config{Name: "b"}) // too late
	fmt.Println(errors.Is(err, channel.ErrReused))
	// Output:
	// true
	// true
}

// The wrong way: sending before there is a channel. Nobody could ever hear it,
// so it is not kept.
func ExampleErrUnclaimed() {
	posts, _ := channel.Push[string]()
	fmt.Println(posts.Send(context.Background(), "hello"))
	// Output: no channel uses the sender's stream yet
}

func ExampleErrOtherType() {
	site := scope.NewSite()
	posts, stream := channel.Push[string]()
	channel.Create(site, stream, channel.Config{Name: "chat"})
	defer posts.Close()
	_, err := channel.Find[int](site, "chat")
	fmt.Println(err)
	_, err = channel.Find[int](site, "char")
	fmt.Println(errors.Is(err, channel.ErrNotFound))
	// Output:
	// channel: Find: channel of another type: chat carries string as json, asked for was int as json
	// true
}

// A tab that is gone ends the work that was done for it.
func ExampleErrProcessGone() {
	site := scope.NewSite()
	tab := must(site.NewProcess("session"))
	steps, stream := channel.Push[string]()
	channel.Create(tab, stream, channel.Config{Name: "steps"})
	tab.Close()
	err := steps.Send(context.Background(), "one more")
	fmt.Println(errors.Is(err, channel.ErrClosed), errors.Is(err, channel.ErrProcessGone))
	_, err = channel.CreateUnlimited(tab, channel.FromChan(make(chan int)))
	fmt.Println(errors.Is(err, channel.ErrNoProcess))
	// Output:
	// true true
	// true
}

func ExampleErrTooLarge() {
	site := scope.NewSite()
	posts, stream := channel.Push[string]()
	channel.Create(site, stream, channel.Config{Name: "chat", MaxBytes: 20})
	fmt.Println(errors.Is(posts.Send(context.Background(), strings.Repeat("x", 20)), channel.ErrTooLarge))
	fmt.Println(posts.Send(context.Background(), "short")) // the channel goes on
	// Output:
	// true
	// <nil>
}

func ExamplePanicError() {
	site := scope.NewSite()
	ch := must(channel.Create(site, channel.From(func(context.Context) (int, error) {
		var none []int
		return none[0], nil
	}), channel.Config{Name: "broken"}))
	<-ch.Done()
	var p *channel.PanicError
	fmt.Println(errors.As(ch.Err(), &p))
	fmt.Println(ch.Err())
	// Output:
	// true
	// channel broken: panic: runtime error: index out of range [0] with length 0
}

// All tabs of a user hear it, and nobody else: Eliom's Os_notif. A tab is the user's
// whom Config.User names.
func ExampleNotify() {
	type Notice struct{ Text string }
	site := scope.NewSite()
	notices, err := channel.Notify[Notice](site, channel.Config{Name: "notices"})
	if err != nil {
		fmt.Println(err)
		return
	}
	tab := must(site.NewProcess("session")) // in a handler: comet.ClientProcess(c)
	tab.BelongsTo("ann")                    // which comet.ClientProcess does
	mine, err := notices.For(tab)
	if err != nil {
		fmt.Println(err)
		return
	}
	page := must(openAs(site, "ann", tab, mine)) // comet.Open(c, mine)

	reach, err := notices.ToUser(context.Background(), "ann", Notice{"your build is done"})
	fmt.Println(reach.Tabs, "tab", err)
	page.show(1)
	// Output:
	// 1 tab <nil>
	// notices {"Text":"your build is done"}
}

func ExampleNotifier_ToSession() {
	site := scope.NewSite()
	notices := must(channel.Notify[string](site, channel.Config{Name: "notices", Encoding: channel.Text}))
	first, second := must(site.NewProcess("session")), must(site.NewProcess("session"))
	must(notices.For(first))
	must(notices.For(second))
	reach, err := notices.ToSession(context.Background(), first.Session(), "you are logged in elsewhere")
	fmt.Println(reach.Tabs, "tabs", err)
	must(open(site, second)).show(1)
	// Output:
	// 2 tabs <nil>
	// notices you are logged in elsewhere
}

// A presence channel: who hears another channel, as it changes. Grace is left at its
// default in apps.
func ExampleChannel_Presence() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	_, stream := channel.Push[string]()
	chat := must(channel.Create(site, stream, channel.Config{Name: "chat"}))
	changes := channel.FromSeq(chat.Presence(channel.PresenceConfig{Grace: -1}))
	here := must(channel.Create(site, changes, channel.Config{Name: "here"}))

	onlooker := must(open(site, nil, here))
	ann := must(openAs(site, "ann", nil, chat))
	onlooker.show(1)
	ann.leave()
	onlooker.show(1)
	onlooker.leave()
	// Output:
	// here {"user":"ann","here":true,"count":1}
	// here {"user":"ann","here":false,"count":0}
}

func ExampleChannel_Readers() {
	site := scope.NewSite()
	_, stream := channel.Push[string]()
	chat := must(channel.Create(site, stream, channel.Config{Name: "chat"}))
	must(openAs(site, "ann", nil, chat))
	must(openAs(site, "ann", nil, chat))
	fmt.Printf("%+v\n", chat.Readers())
	// Output:
	// {Streams:2 Sessions:1 Users:1 Nodes:1 Silent:0}
}

// Of the whole app: where the engine is shared, every other node is asked.
func ExampleChannel_AllReaders() {
	engine := memory.New(memory.Config{Nodes: true}) // as a NATS cluster's
	var chats []*channel.Channel[string]
	for range 2 {
		site := scope.NewSite(scope.SiteConfig{Engine: engine})
		_, stream := channel.Push[string]()
		defer site.Shutdown(context.Background())
		chats = append(chats, must(channel.Create(site, stream, channel.Config{Name: "chat"})))
		must(site.NewProcess("session")) // waits until the node is known
		defer must(openAs(site, "ann", nil, chats[len(chats)-1])).leave()
	}
	readers, err := chats[0].AllReaders(context.Background())
	if errors.Is(err, channel.ErrSilent) {
		fmt.Println("at least")
	}
	fmt.Println(readers.Streams, "event streams on", readers.Nodes, "nodes, of", readers.Users, "user")
	// Output:
	// 2 event streams on 2 nodes, of 1 user
}
