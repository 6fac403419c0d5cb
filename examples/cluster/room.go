package main

import (
	"bytes"
	"context"
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

// What the room keeps, and the longest thing one can say.
const (
	kept       = 1000
	longest    = 500                  // runes
	chatStream = "COMET_comet_1024_0" // where engine/nats keeps a log of that size
	retry      = 500 * time.Millisecond
	readWithin = 5 * time.Second // for a request to come: a connection that asks for nothing would hold up a node's end
)

// A Draft is what a tab sends. The tab makes up the ID, so that it knows its message again.
type Draft struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// A Message is one thing said. Via is the node that took it: the one that has the client process of the tab.
type Message struct {
	Draft
	Via string    `json:"via"`
	At  time.Time `json:"at"`
}

// A Clock is what a page hears on its private channel: for how long its client process lives, and where.
type Clock struct {
	Node    string `json:"node"`
	Seconds int    `json:"seconds"`
}

// A room is one node's part of the chat.
type room struct {
	node string
	site *scope.Site
	chat *channel.Duplex[Draft, Message]
}

func newRoom(site *scope.Site, node string) (*room, error) {
	r := &room{node: node, site: site}
	var err error
	r.chat, err = channel.CreateDuplex(site, r.sign, channel.DuplexConfig[Draft]{
		Channel: channel.Config{Name: "chat", Size: kept},
		Receive: channel.ReceiveConfig[Draft]{Rate: 50, Burst: 200},
	})
	return r, err
}

// sign makes a message of what a tab sent. The refusal is for the page to read.
func (r *room) sign(_ context.Context, got channel.Received[Draft]) (Message, error) {
	d := got.Value
	d.Text = strings.TrimSpace(d.Text)
	switch n := utf8.RuneCountInString(d.Text); {
	case n == 0:
		return Message{}, channel.Refuse("There is nothing to say: the text is empty.")
	case n > longest:
		return Message{}, channel.Refuse("That is %d characters, and %d are allowed: say it in two messages.", n, longest)
	case d.ID == "" || len(d.ID) > 64:
		return Message{}, channel.Refuse("The id of a message has 1 to 64 bytes, and this one has %d.", len(d.ID))
	}
	return Message{Draft: d, Via: r.node, At: time.Now().UTC()}, nil
}

func (r *room) app(config comet.Config) *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: readWithin, ErrorHandler: orAgain})
	app.Get("/ready", comet.Ready(r.site))
	app.Use(comet.New(config))
	app.Get("/", r.page)
	return app
}

// orAgain has a browser load a page again that could not be made just now: while the engine elects a leader, no node may say that
// it owns a client process. Without it the page that was there would have given way to a line of text for good.
func orAgain(c *fiber.Ctx, err error) error {
	var status *fiber.Error
	if errors.As(err, &status) && status.Code == fiber.StatusServiceUnavailable {
		c.Set("Refresh", "1") // in seconds, as every browser understands it; fetch and EventSource do not look at it
	}
	return fiber.DefaultErrorHandler(c, err)
}

// An opening is what a page begins with: what was said, and where it hears what follows.
type opening struct {
	Stream string    `json:"stream"`
	Node   string    `json:"node"` // that owns its client process
	Said   []Message `json:"said"`
}

// open makes a client process with its private clock. The event stream goes on after the last message of said, so nothing
// said in between is lost or heard twice. The URL names the node for the front, which sends a tab there while it lives.
func (r *room) open(c *fiber.Ctx) (opening, error) {
	process, err := comet.ClientProcess(c)
	if err != nil {
		return opening{}, err
	}
	clock, err := channel.CreateSignal(process, Clock{Node: r.node}, channel.NewestConfig{Name: "clock"})
	if err != nil {
		return opening{}, err
	}
	said, after, err := r.chat.Recent(c.UserContext(), kept)
	if err != nil {
		return opening{}, err
	}
	url, err := comet.Open(c, r.chat.After(after), clock)
	if err != nil {
		return opening{}, err
	}
	go r.tick(clock)
	return opening{Stream: url + "&node=" + r.node, Node: r.node, Said: said}, nil
}

// tick runs in the memory of one process: it ends with the client process, and is what a killed node takes along.
func (r *room) tick(clock *channel.Signal[Clock]) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for seconds := 1; ; seconds++ {
		select {
		case <-clock.Done():
			return
		case <-every.C:
		}
		if clock.Set(context.Background(), Clock{Node: r.node, Seconds: seconds}) != nil {
			return // it was closed in between
		}
	}
}

//go:embed index.html
var source string

var index = template.Must(template.New("index").Parse(source))

// page allows the page its own script and style, what the script imports, and nothing else.
func (r *room) page(c *fiber.Ctx) error {
	opening, err := r.open(c)
	if err != nil {
		return err
	}
	scripts, err := comet.Scripts(c)
	if err != nil {
		return err
	}
	nonce := rand.Text()
	c.Set(fiber.HeaderCacheControl, "no-store") // an old page would begin at an old position
	c.Set(fiber.HeaderContentSecurityPolicy, fmt.Sprintf("default-src 'none'; script-src 'nonce-%[1]s'; style-src 'nonce-%[1]s'; "+
		"connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'", nonce))
	var html bytes.Buffer
	err = index.Execute(&html, map[string]any{"Opening": opening, "Scripts": scripts, "Nonce": nonce, "Longest": longest})
	if err != nil {
		return err
	}
	c.Type("html", "utf-8")
	return c.Send(html.Bytes())
}
