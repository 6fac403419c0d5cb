package comettest_test

import (
	"html"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/scope"
)

type Message struct {
	Text string `json:"text"`
}

// newChat is the chat of the README.
func newChat(t *testing.T) (*fiber.App, *scope.Site) {
	app, site := fiber.New(fiber.Config{DisableStartupMessage: true}), comet.NewSite()
	app.Use(comet.New(comet.Config{Site: site}))
	posts, stream := channel.Push[Message]()
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	app.Get("/", func(c *fiber.Ctx) error {
		url, err := comet.Open(c, chat.History(50))
		if err != nil {
			return err
		}
		return c.SendString(`<meta name="comet" content="` + html.EscapeString(url) + `">`)
	})
	app.Post("/messages", func(c *fiber.Ctx) error {
		return posts.Send(c.UserContext(), Message{Text: c.FormValue("text")})
	})
	return app, site
}

// doc: begin
func TestMissedInTheTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fake time: no test waits
		app, site := newChat(t) // as main makes it
		browser := comettest.Serve(t, app, site).Browser()

		tab := browser.Open("/") // a person opens the page
		tab.Connect(tab.Page.Find(`<meta name="comet" content="([^"]*)">`))

		browser.Post("/messages", url.Values{"text": {"hello"}}).Want(200)
		if m := comettest.Next[Message](tab, "chat"); m.Text != "hello" {
			t.Errorf("heard %q", m.Text)
		}
		tab.Cut() // the train enters a tunnel
		browser.Post("/messages", url.Values{"text": {"missed"}}).Want(200)
		// The tab comes back by itself, when the server's retry has passed.
		if m := comettest.Next[Message](tab, "chat"); m.Text != "missed" {
			t.Errorf("heard %q", m.Text)
		}
		tab.Idle(9 * time.Hour) // the computer is shut, and opened in the morning
		tab.Nothing()           // nobody said anything
	})
}

// doc: end

// TestDoc: the test that the documentation and the README show is the one above.
func TestDoc(t *testing.T) {
	source, err := os.ReadFile("chat_test.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, test, _ := strings.Cut(string(source), "// doc: begin\n")
	test, _, _ = strings.Cut(test, "\n// doc: end")
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(test) + "\n") {
		lines = append(lines, strings.TrimRight("//\t"+line, "\n\t"))
	}
	if want := strings.Join(lines, "\n"); !strings.Contains(string(doc), want) {
		t.Errorf("doc.go does not show\n%s", want)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), strings.TrimSpace(test)) {
		t.Error("the README does not show the test")
	}
}
