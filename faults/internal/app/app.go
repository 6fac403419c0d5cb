// Package app is one node of an app under test: a Fiber app whose Comet stands on an
// engine that it shares with the other nodes.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// Config says what a node is. Engine and Storage are shared with the other nodes, and
// stay the caller's.
type Config struct {
	Engine   engine.Engine
	Storage  fiber.Storage
	Prefix   string
	Channels []string // the site channels that it has
	Size     int      // of each
	Site     scope.SiteConfig
	Addr     string // where it listens; 127.0.0.1:0 where it is empty
}

// A Node is one that runs.
type Node struct {
	Addr string // host:port
	Site *scope.Site
	app  *fiber.App
	done chan error

	mu    sync.Mutex
	posts map[string]*channel.Sender[string]
	mine  map[string]*channel.Sender[string] // by process
}

// Start starts a node.
func Start(c Config) (*Node, error) {
	n, err := build(c, fiber.Config{DisableStartupMessage: true})
	if err != nil {
		return nil, err
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp4", c.Addr)
	if err != nil {
		return nil, err
	}
	n.Addr = ln.Addr().String()
	go func() { n.done <- n.app.Listener(ln) }()
	return n, nil
}

// Prefork serves at c.Addr under Fiber's own Prefork, in a process that has no other
// work: this one starts children of the same program, and each of them is a node. It
// returns when they have ended.
func Prefork(c Config) error {
	n, err := build(c, fiber.Config{DisableStartupMessage: true, Prefork: true})
	if err != nil {
		return err
	}
	return n.app.Listen(c.Addr)
}

func build(c Config, config fiber.Config) (*Node, error) {
	site := c.Site
	site.Engine, site.Prefix = c.Engine, c.Prefix
	n := &Node{
		Site: comet.NewSite(site), done: make(chan error, 1),
		posts: map[string]*channel.Sender[string]{}, mine: map[string]*channel.Sender[string]{},
	}
	n.app = fiber.New(config)
	n.app.Use(comet.New(comet.Config{
		Site: n.Site, Storage: c.Storage, Retry: 100 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}))
	for _, name := range c.Channels {
		sender, stream := channel.Push[string]()
		if _, err := channel.Create(n.Site, stream, channel.Config{Name: name, Size: c.Size}); err != nil {
			return nil, fmt.Errorf("app: channel %s: %w", name, err)
		}
		n.posts[name] = sender
	}
	n.app.Get("/page", n.page)
	n.app.Post("/publish", n.publish)
	n.app.Post("/mine", n.pushMine)
	n.app.Get("/ready", n.ready)
	return n, nil
}

// page makes a page that hears the site channels of its query, and a private channel
// "mine" where it says so. The body is the URL of its event stream, and the process.
func (n *Node) page(c *fiber.Ctx) error {
	var refs []scope.Ref
	for _, name := range c.Context().QueryArgs().PeekMulti("c") {
		ch, err := channel.Find[string](n.Site, string(name))
		if err != nil {
			return err
		}
		refs = append(refs, ch)
	}
	token := ""
	if c.QueryBool("mine") {
		p, err := comet.ClientProcess(c)
		if err != nil {
			return err
		}
		sender, stream := channel.Push[string]()
		mine, err := channel.Create(p, stream, channel.Config{Name: "mine", Size: 1000})
		if err != nil {
			return err
		}
		token = p.Token()
		n.mu.Lock()
		n.mine[token] = sender
		n.mu.Unlock()
		refs = append(refs, mine)
	}
	url, err := comet.Open(c, refs...)
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"url": url, "process": token})
}

func (n *Node) publish(c *fiber.Ctx) error {
	sender := n.posts[c.FormValue("channel")]
	if sender == nil {
		return fiber.ErrNotFound
	}
	return answer(c, sender.Send(c.UserContext(), c.FormValue("value")))
}

func (n *Node) pushMine(c *fiber.Ctx) error {
	n.mu.Lock()
	sender := n.mine[c.FormValue("process")]
	n.mu.Unlock()
	if sender == nil {
		return fiber.ErrNotFound
	}
	return answer(c, sender.Send(c.UserContext(), c.FormValue("value")))
}

// answer tells a value that was stored from one that was not, and from one of which
// nobody knows.
func answer(c *fiber.Ctx, err error) error {
	switch {
	case err == nil:
		return c.SendStatus(fiber.StatusNoContent)
	case errors.Is(err, engine.ErrUnknown):
		return c.Status(fiber.StatusGatewayTimeout).SendString(err.Error())
	}
	return c.Status(fiber.StatusServiceUnavailable).SendString(err.Error())
}

func (n *Node) ready(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(c.UserContext(), 5*time.Second)
	defer cancel()
	return answer(c, n.Site.Engine().Health(ctx))
}

// Stop drains the node: its Site first, then the app.
func (n *Node) Stop(ctx context.Context) error {
	err := n.Site.Shutdown(ctx)
	return errors.Join(err, n.app.ShutdownWithContext(ctx), <-n.done)
}
