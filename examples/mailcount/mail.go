package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// A Count is the answer to one question.
type Count struct {
	Unread  int       `json:"unread"`
	Arrived int       `json:"arrived"` // mails so far, so that the page can say how old the answer is
	At      time.Time `json:"at"`
	Micros  int64     `json:"micros"` // what counting took
}

// A Tally is what the page shows beside it: the proof that nobody counts unasked.
type Tally struct {
	Arrived int `json:"arrived"`
	Counted int `json:"counted"`
}

// An office is a mailbox and the channels that speak of it.
type office struct {
	site  *scope.Site
	mails mailbox

	news    *channel.Channel[Tally]
	changes *channel.Sender[Tally]

	mu    sync.Mutex
	tally Tally
}

func newOffice() (*office, error) {
	site := comet.NewSite()
	changes, stream := channel.Push[Tally]()
	news, err := channel.CreateNewest(site, stream, channel.NewestConfig{Name: "tally"})
	if err != nil {
		return nil, err
	}
	return &office{site: site, news: news, changes: changes}, nil
}

func (o *office) app() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(comet.New(comet.Config{Site: o.site}))
	app.Get("/", o.page)
	app.Get("/tally", func(c *fiber.Ctx) error { return c.JSON(o.count(Tally{})) })
	app.Post("/read", func(c *fiber.Ctx) error {
		o.mails.readAll()
		return c.SendStatus(fiber.StatusNoContent)
	})
	return app
}

//go:embed index.html
var source string

var page = template.Must(template.New("index.html").Parse(source))

// page gives each tab a channel of its own. Its source is called when the tab connects and when it asks, never otherwise:
// not ahead, not while the tab is closed, not because mail arrived.
func (o *office) page(c *fiber.Ctx) error {
	process, err := comet.ClientProcess(c)
	if err != nil {
		return refused(err)
	}
	unread, err := channel.CreateUnlimited(process, channel.From(o.unread), channel.UnlimitedConfig{Name: "unread"})
	if err != nil {
		return err
	}
	url, err := comet.Open(c, unread, o.news)
	if err != nil {
		return err
	}
	return render(c, map[string]any{"Stream": url, "Tally": o.count(Tally{})})
}

// unread is the source of every tab's channel.
func (o *office) unread(context.Context) (Count, error) {
	start := time.Now()
	n := o.mails.unread()
	took := time.Since(start)
	tally := o.count(Tally{Counted: 1})
	return Count{Unread: n, Arrived: tally.Arrived, At: start.UTC(), Micros: took.Microseconds()}, nil
}

// receive simulates mails until ctx ends.
func (o *office) receive(ctx context.Context, every time.Duration) {
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case at := <-tick.C:
			o.mails.add(at)
			o.count(Tally{Arrived: 1})
		case <-ctx.Done():
			return
		}
	}
}

// count adds to the tally and pushes it when that changed it. The lock is held until the news is sent, so that the newest
// value is the latest tally.
func (o *office) count(more Tally) Tally {
	o.mu.Lock()
	defer o.mu.Unlock()
	if more == (Tally{}) {
		return o.tally
	}
	o.tally.Arrived += more.Arrived
	o.tally.Counted += more.Counted
	err := o.changes.Send(context.Background(), o.tally)
	if err != nil && !errors.Is(err, channel.ErrClosed) {
		log.Println("mailcount: tally:", err)
	}
	return o.tally
}

// render allows the page its own script and style and nothing else: no inline handler, no other origin.
func render(c *fiber.Ctx, data map[string]any) error {
	nonce := rand.Text()
	data["Nonce"] = nonce
	c.Set(fiber.HeaderContentSecurityPolicy, fmt.Sprintf("default-src 'none'; script-src 'nonce-%[1]s'; style-src 'nonce-%[1]s'; "+
		"connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'", nonce))
	var html bytes.Buffer
	if err := page.Execute(&html, data); err != nil {
		return err
	}
	c.Type("html", "utf-8")
	return c.Send(html.Bytes())
}

// refused says in a status what kept a request from having a client process.
func refused(err error) error {
	switch {
	case errors.Is(err, comet.ErrTooMany):
		return fiber.NewError(fiber.StatusServiceUnavailable, "This browser has too many tabs open here: close one and reload.")
	case errors.Is(err, comet.ErrNoProcess):
		return fiber.NewError(fiber.StatusBadRequest, "This is a page: open it in a tab of its own.")
	}
	return err
}
