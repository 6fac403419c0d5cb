package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log"
	"strings"
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

// A Tally is what the page shows beside it: the proof that nobody counts unasked. Only the newest one matters.
type Tally struct {
	Arrived int `json:"arrived"`
	Counted int `json:"counted"`
}

// Of the mails a tab hears each, and is shown the latest at first.
const (
	kept  = 100
	shown = 3
)

// An office is a mailbox and the channels that speak of it: what everybody hears is made once, here; what a tab asks for,
// with its page.
type office struct {
	site  *scope.Site
	mails mailbox

	arrivals *channel.Channel[Mail]
	post     *channel.Sender[Mail]

	news    *channel.Channel[Tally]
	changes *channel.Sender[Tally]

	mu    sync.Mutex
	tally Tally
}

func newOffice() (*office, error) {
	o := &office{site: comet.NewSite()}
	var err error

	post, mails := channel.Push[Mail]()
	if o.arrivals, err = channel.Create(o.site, mails, channel.Config{Name: "mail", Size: kept}); err != nil {
		return nil, err
	}
	changes, tallies := channel.Push[Tally]()
	if o.news, err = channel.CreateNewest(o.site, tallies, channel.NewestConfig{Name: "tally"}); err != nil {
		return nil, err
	}
	o.post, o.changes = post, changes
	return o, nil
}

func (o *office) app() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: readWithin})
	app.Use(comet.New(comet.Config{Site: o.site}))
	app.Get("/", o.page("index.html"))
	app.Get("/native", o.page("native.html"))
	app.Get("/tally", func(c *fiber.Ctx) error { return c.JSON(o.count(Tally{})) })
	app.Post("/read", o.read)
	return app
}

//go:embed *.html
var source embed.FS

var pages = template.Must(template.ParseFS(source, "*.html"))

// page gives each tab a channel of its own. Its source is called when the tab asks, never otherwise: not ahead, not while
// the tab is closed, not because mail arrived. (A plain EventSource asks once by connecting, comet.js does not.)
func (o *office) page(name string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		process, err := comet.ClientProcess(c)
		if err != nil {
			return refused(err)
		}
		unread, err := channel.CreateUnlimited(process, channel.From(o.unread), channel.UnlimitedConfig{Name: "unread"})
		if err != nil {
			return err
		}
		latest, after, err := o.arrivals.Recent(c.UserContext(), shown)
		if err != nil {
			return err
		}
		url, err := comet.Open(c, unread, o.news, o.arrivals.After(after))
		if err != nil {
			return err
		}
		scripts, err := comet.Scripts(c)
		if err != nil {
			return err
		}
		return render(c, name, map[string]any{"Stream": url, "Scripts": scripts, "Tally": o.count(Tally{}), "Mails": latest, "Shown": shown})
	}
}

// read marks all mails as read. A browser without scripts is sent back to the page.
func (o *office) read(c *fiber.Ctx) error {
	o.mails.readAll()
	if strings.Contains(c.Get(fiber.HeaderAccept), fiber.MIMETextHTML) {
		return c.Redirect("/", fiber.StatusSeeOther)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// unread is the source of every tab's channel.
func (o *office) unread(context.Context) (Count, error) {
	start := time.Now()
	n := o.mails.unread()
	took := time.Since(start)
	tally := o.count(Tally{Counted: 1})
	return Count{Unread: n, Arrived: tally.Arrived, At: start.UTC(), Micros: took.Microseconds()}, nil
}

// receive simulates mails until ctx ends: one each time, and every fourth time five at once.
func (o *office) receive(ctx context.Context, every time.Duration) {
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
			o.arrive(1)
			if n%4 == 0 {
				o.arrive(4)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (o *office) arrive(n int) {
	for range n {
		mail := newMail()
		o.mails.add(mail.At)
		o.count(Tally{Arrived: 1})
		if err := o.post.Send(context.Background(), mail); err != nil && !errors.Is(err, channel.ErrClosed) {
			log.Println("mailcount: mail:", err)
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

// render allows the page its own script and style, what the script imports, and nothing else: no inline handler, no other
// origin.
func render(c *fiber.Ctx, name string, data map[string]any) error {
	nonce := rand.Text()
	data["Nonce"] = nonce
	c.Set(fiber.HeaderContentSecurityPolicy, fmt.Sprintf("default-src 'none'; script-src 'nonce-%[1]s'; style-src 'nonce-%[1]s'; "+
		"connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'", nonce))
	var html bytes.Buffer
	if err := pages.ExecuteTemplate(&html, name, data); err != nil {
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
