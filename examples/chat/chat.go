package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// What the room keeps, what a page shows at first, and the longest thing one can say.
const (
	kept    = 100
	shown   = 50
	longest = 2000 // runes
)

// A Message is one thing said, as the page hears it.
type Message struct {
	Person
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// A room is one chat: what is said in it and which tabs are open on it.
type room struct {
	site     *scope.Site
	messages *channel.Channel[Message]
	posts    *channel.Sender[Message]
	tabs     *tabs
}

func newRoom() (*room, error) {
	site := comet.NewSite()
	posts, stream := channel.Push[Message]()
	messages, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: kept})
	if err != nil {
		return nil, err
	}
	tabs, err := newTabs(site)
	if err != nil {
		return nil, err
	}
	return &room{site: site, messages: messages, posts: posts, tabs: tabs}, nil
}

func (r *room) app() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(r.tabs.watch) // for the button that cuts
	app.Use(comet.New(comet.Config{Site: r.site}))
	app.Get("/", r.page)
	app.Post("/messages", r.say)
	app.Post("/cut", r.tabs.cut)
	return app
}

//go:embed index.html
var source string

var page = template.Must(template.New("index.html").Parse(source))

// page shows what was said lately. The event stream goes on at the position after the last message shown, so nothing said
// in between is lost or heard twice.
func (r *room) page(c *fiber.Ctx) error {
	process, err := comet.ClientProcess(c)
	if err != nil {
		return refused(err)
	}
	said, after, err := r.messages.Recent(c.Context(), shown)
	if err != nil {
		return err
	}
	url, err := comet.Open(c, r.messages.After(after), r.tabs.presence)
	if err != nil {
		return err
	}
	r.tabs.open(process)
	return render(c, map[string]any{
		"Stream": url, "Token": process.Token(), "Me": person(process.Session()), "Said": said, "Blank": Message{}, "Longest": longest, "Kept": kept,
	})
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

// say takes one message from a form. A browser without scripts is sent back to the page, which shows it.
func (r *room) say(c *fiber.Ctx) error {
	text := strings.TrimSpace(c.FormValue("text"))
	if text == "" {
		return fiber.NewError(fiber.StatusBadRequest, "There is nothing to say: the form field text is empty.")
	}
	if n := utf8.RuneCountInString(text); n > longest {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("That is %d characters, and %d are allowed: say it in two messages.", n, longest))
	}
	message := Message{Person: speaker(c), Text: text, At: time.Now().UTC()}
	if err := r.posts.Send(c.Context(), message); err != nil {
		return err
	}
	if strings.Contains(c.Get(fiber.HeaderAccept), fiber.MIMETextHTML) {
		return c.Redirect("/", fiber.StatusSeeOther)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// speaker is whose session the tab named in the form belongs to. A form that names none is not refused: curl may speak,
// and a message typed while the server restarted is not lost for want of a name.
func speaker(c *fiber.Ctx) Person {
	if c.FormValue("comet") == "" {
		return guest
	}
	process, err := comet.ClientProcess(c)
	if err != nil {
		return guest
	}
	return person(process.Session())
}

// refused says in a status what kept a request from having a client process.
func refused(err error) error {
	switch {
	case errors.Is(err, comet.ErrTooMany):
		return fiber.NewError(fiber.StatusServiceUnavailable, "This browser has too many tabs open on the chat: close one and reload.")
	case errors.Is(err, comet.ErrNoProcess):
		return fiber.NewError(fiber.StatusBadRequest, "This is a page of the chat's: open it in a tab of its own.")
	}
	return err
}
