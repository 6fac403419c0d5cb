package comet_test

import (
	"context"
	"html"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/scope"
)

type Message struct {
	Text string `json:"text"`
}

// unread counts the mails that a user has not read.
func unread(context.Context) (int, error) { return 3, nil }

// page renders a page that listens to url.
func page(c *fiber.Ctx, url string) error {
	return c.SendString(`<meta name="comet" content="` + html.EscapeString(url) + `">`)
}

func chat(app *fiber.App) (*scope.Site, error) {
	// README: chat
	site := comet.NewSite()
	app.Use(comet.New(comet.Config{Site: site}))

	posts, stream := channel.Push[Message]() // a sender for anyone, a stream for one channel
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 100})
	if err != nil {
		return nil, err
	}
	app.Get("/", func(c *fiber.Ctx) error {
		url, err := comet.Open(c, chat.History(50)) // what this page hears, sampled now
		if err != nil {
			return err
		}
		return page(c, url) // new EventSource(url).addEventListener("chat", …)
	})
	app.Post("/messages", func(c *fiber.Ctx) error {
		return posts.Send(c.UserContext(), Message{Text: c.FormValue("text")})
	})
	// README: end
	return site, nil
}

func mailcount(app *fiber.App) {
	// README: mailcount
	app.Get("/inbox", func(c *fiber.Ctx) error {
		p, err := comet.ClientProcess(c) // this tab's page: private, and read when it asks
		if err != nil {
			return err
		}
		n, err := channel.CreateUnlimited(p, channel.From(unread), channel.UnlimitedConfig{Name: "unread"})
		if err != nil {
			return err
		}
		url, err := comet.Open(c, n) // ask again: fetch(url, {method: "POST", body: "pull=unread"})
		if err != nil {
			return err
		}
		return page(c, url)
	})
	// README: end
}

// TestProgram is the program of the README, with a person at each page.
func TestProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		site, err := chat(app)
		if err != nil {
			t.Fatal(err)
		}
		mailcount(app)
		browser := comettest.Serve(t, app, site).Browser()
		browser.Post("/messages", url.Values{"text": {"hello"}}).Want(200)
		if m := comettest.Next[Message](open(browser, "/"), "chat"); m.Text != "hello" {
			t.Errorf("heard %q of history", m.Text)
		}
		inbox := open(browser, "/inbox")
		for range 2 {
			if n := comettest.Next[int](inbox, "unread"); n != 3 {
				t.Errorf("%d are unread", n)
			}
			inbox.Nothing()
			inbox.Pull("unread")
		}
	})
}

func open(browser *comettest.Browser, path string) *comettest.Tab {
	tab := browser.Open(path)
	tab.Connect(tab.Page.Find(`content="([^"]*)"`))
	return tab
}

// TestREADME: the program that the README shows is the one above, which runs.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(source), "\t// README: ")[1:] {
		name, code, _ := strings.Cut(part, "\n")
		if name == "end" {
			continue
		}
		code = strings.TrimSpace(strings.ReplaceAll("\n"+code, "\n\t", "\n"))
		if !strings.Contains(string(readme), code) {
			t.Errorf("the README does not show the part %s as it is in example_test.go", name)
		}
	}
	page, err := os.ReadFile("examples/chat/native.html")
	if err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(string(page), "// comet:listen\n")
	lines, _, _ = strings.Cut(lines, "// comet:listen end")
	if lines == "" || !strings.Contains(string(readme), strings.TrimSpace(lines)) {
		t.Error("the README does not show the lines that make a new EventSource as the native chat has them")
	}
}
