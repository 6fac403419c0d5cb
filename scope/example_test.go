package scope_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

func ExampleNewSite() {
	site := scope.NewSite(scope.SiteConfig{
		Heartbeat:    10 * time.Second,
		ReturnWithin: 15 * time.Minute,
		MaxMessage:   64 << 10,
	})
	defer site.Shutdown(context.Background())

	defer func() { fmt.Println(recover()) }()
	scope.NewSite(scope.SiteConfig{Heartbeat: time.Millisecond, MaxStreams: -1})
	// Output:
	// comet: SiteConfig: Heartbeat is 1ms: use at least 1s, or 0 for 15s
	// MaxStreams is -1: use at least 1, or 0 for 100000
}

// What package middleware does for a page, and package internal/wire for its
// connection, by hand: a link, an event stream, what is pending, the end.
func ExampleSite_OpenStream() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	chat, err := scope.Register(site, scope.Spec{Name: "chat"})
	if err != nil {
		panic(err)
	}
	link, err := site.Link(context.Background(), nil, len("/comet"), chat)
	if err != nil {
		panic(err)
	}
	if err := chat.Feed().Put(context.Background(), []byte("hello")); err != nil {
		panic(err)
	}

	stream, err := site.OpenStream(context.Background(), scope.Request{Query: link.Query})
	if err != nil {
		panic(err)
	}
	defer stream.Gone(nil)
	stream.Start(func() {}) // to be told when there is more
	var pending sse.Batch
	if _, err := stream.Collect(&pending, 64<<10); err != nil {
		panic(err)
	}
	for event := range sse.Read(bytes.NewReader(pending.Bytes())) {
		fmt.Println(event.Name)
	}
	// Output:
	// comet:hello
	// chat
}

// Presence: who is here, and who has been away for a minute.
func ExampleClientProcess_AfterInactive() {
	var here, away func(p *scope.ClientProcess) func(error)
	here = func(p *scope.ClientProcess) func(error) {
		return func(err error) {
			if err == nil {
				fmt.Println("a tab is here")
				p.AfterInactive(time.Minute, away(p))
			}
		}
	}
	away = func(p *scope.ClientProcess) func(error) {
		return func(err error) {
			fmt.Println("a tab has left") // also when it ended: err is ErrProcessGone then
			if err == nil {
				p.AfterActive(here(p))
			}
		}
	}
	site := scope.NewSite()
	p, err := site.NewProcess("a session") // comet.ClientProcess(c), in an app
	if err != nil {
		panic(err)
	}
	p.AfterActive(here(p))
	_ = site.Shutdown(context.Background())
}

// WaitTimeout blocks; a process that ends first is told at once.
func ExampleClientProcess_WaitTimeout() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	p, err := site.NewProcess("a session")
	if err != nil {
		panic(err)
	}
	time.AfterFunc(time.Millisecond, p.Close)
	fmt.Println(p.WaitTimeout(context.Background(), time.Hour))
	// Output: client process is gone
}

func ExampleFind() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	chat, err := scope.Register(site, scope.Spec{Name: "chat", Type: "text"})
	if err != nil {
		panic(err)
	}
	_, err = scope.Find(site, "news", "text")
	fmt.Println(err)
	_, err = scope.Find(site, "chat", "number")
	fmt.Println(err)
	chat.Close()
	// Output:
	// no such channel: news
	// channel of another type: chat carries text, asked for was number
}

// The tabs of a user, of this node and of all.
func ExampleSite_User() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	for _, session := range []string{"laptop", "phone"} {
		p, err := site.NewProcess(session)
		if err != nil {
			panic(err)
		}
		p.BelongsTo("ann")
	}
	for p := range site.User("ann").All() {
		fmt.Println(p.Session(), p.User())
	}
	count, err := site.User("ann").CountAll(context.Background())
	fmt.Println(count.Tabs, count.Active, err)
	// Output:
	// laptop ann
	// phone ann
	// 2 0 <nil>
}

// Each session's tabs, as Eliom iterates over them.
func ExampleSite_Sessions() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	if _, err := site.NewProcess("session"); err != nil {
		panic(err)
	}
	for key := range site.Sessions() {
		for p := range site.Session(key).All() {
			fmt.Println(key, p.Active())
		}
	}
	// Output:
	// session false
}

// One value for a session's tabs, as package channel's Notifier says it.
func ExampleTabs_Reach() {
	site := scope.NewSite()
	defer site.Shutdown(context.Background())
	p, err := site.NewProcess("session")
	if err != nil {
		panic(err)
	}
	if _, err := scope.Register(p, scope.Spec{Name: "notice", Type: "text", Personal: true}); err != nil {
		panic(err)
	}
	reach, err := site.Session("session").Reach(context.Background(), "notice", "text", []byte("hello"))
	fmt.Printf("%+v %v\n", reach, err)
	// Output:
	// {Tabs:1 Full:0 Nodes:1 Silent:0} <nil>
}
