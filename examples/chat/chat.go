package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
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

// A Draft is what a tab sends. Who says it, and when, it does not say: that is the server's to know.
type Draft struct {
	Text string `json:"text"`
}

// A room is one chat: what is said in it and which tabs are open on it.
type room struct {
	site *scope.Site
	chat *channel.Duplex[Draft, Message]
	tabs *tabs
}

func newRoom() (*room, error) {
	site := comet.NewSite()
	chat, err := channel.CreateDuplex(site, sign, channel.DuplexConfig[Draft]{
		Channel: channel.Config{Name: "chat", Size: kept},
		Receive: channel.ReceiveConfig[Draft]{Rate: 5, Burst: 20},
	})
	if err != nil {
		return nil, err
	}
	tabs, err := newTabs(site)
	if err != nil {
		return nil, err
	}
	return &room{site: site, chat: chat, tabs: tabs}, nil
}

// sign makes a message of what a tab sent. Who said it is the session whose tab it is.
func sign(_ context.Context, r channel.Received[Draft]) (Message, error) {
	return compose(person(r.Process.Session()), r.Value.Text)
}

// compose refuses what is not to be said. The refusal is for the page to read.
func compose(who Person, text string) (Message, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Message{}, channel.Refuse("There is nothing to say: the text is empty.")
	}
	if n := utf8.RuneCountInString(text); n > longest {
		return Message{}, channel.Refuse("That is %d characters, and %d are allowed: say it in two messages.", n, longest)
	}
	return Message{Person: who, Text: text, At: time.Now().UTC()}, nil
}

func (r *room) app() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: readWithin})
	app.Use(r.tabs.watch) // for the button that cuts
	app.Use(comet.New(comet.Config{Site: r.site}))
	app.Get("/", r.page)
	app.Get("/native", r.native)
	app.Post("/messages", r.say)
	app.Post("/cut", r.tabs.cut)
	return app
}

//go:embed *.html
var source embed.FS

var pages = template.Must(template.ParseFS(source, "*.html"))

// page shows what was said lately. The event stream goes on at the position after the last message shown, so nothing said
// in between is lost or heard twice.
func (r *room) page(c *fiber.Ctx) error {
	process, err := comet.ClientProcess(c) // this tab: it can be counted, and its connection cut
	if err != nil {
		return refused(err)
	}
	said, after, err := r.chat.Recent(c.UserContext(), shown)
	if err != nil {
		return err
	}
	url, err := comet.Open(c, r.chat.After(after), r.tabs.presence)
	if err != nil {
		return err
	}
	scripts, err := comet.Scripts(c)
	if err != nil {
		return err
	}
	r.tabs.open(process)
	return render(c, "index.html", map[string]any{
		"Stream": url, "Scripts": scripts, "Token": process.Token(), "Me": person(process.Session()),
		"Said": said, "Blank": Message{}, "Longest": longest, "Kept": kept,
	})
}

// native is the room by a plain EventSource. Who only hears a site's channels needs no client process.
func (r *room) native(c *fiber.Ctx) error {
	said, after, err := r.chat.Recent(c.UserContext(), shown)
	if err != nil {
		return err
	}
	url, err := comet.Open(c, r.chat.After(after))
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "no-store") // an old page would begin at an old position
	return render(c, "native.html", map[string]any{"Stream": url, "Said": said})
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

// say takes one message from a form: from curl, and from a browser without scripts, which is sent back to the page.
func (r *room) say(c *fiber.Ctx) error {
	message, err := compose(speaker(c), c.FormValue("text"))
	if err != nil {
		return fiber.NewError(fiber.StatusUnprocessableEntity, err.Error())
	}
	if err := r.chat.Send(c.UserContext(), message); err != nil {
		return err
	}
	if strings.Contains(c.Get(fiber.HeaderAccept), fiber.MIMETextHTML) {
		return c.Redirect("/", fiber.StatusSeeOther)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// speaker is whose session the tab named in the form belongs to. A form that names none is not refused: curl may speak,
// and so may a tab that the server does not know since it was started anew.
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
