package main

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/bench/internal/control"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// tabsASession is how many client processes share a session in modeProcess: as
// many as one may have.
const tabsASession = 50

// cometServer is this library, through its front door.
type cometServer struct {
	config
	site *scope.Site
	app  *fiber.App
	refs []scope.Ref

	mu      sync.Mutex // of the senders while pages are made
	senders []*channel.Sender[[]byte]
}

func newComet(c config) (target, error) {
	s := &cometServer{config: c, site: comet.NewSite(comet.SiteConfig{Heartbeat: keepAlive})}
	for i := range c.channels {
		sender, stream := channel.Push[[]byte]()
		ch, err := channel.Create(s.site, stream, channel.Config{
			Name: channelName(i), Event: "load", Size: history, Encoding: channel.Text,
		})
		if err != nil {
			return nil, err
		}
		s.senders, s.refs = append(s.senders, sender), append(s.refs, ch)
	}
	s.app = fiber.New(fiber.Config{DisableStartupMessage: true})
	s.app.Use(comet.New(comet.Config{Site: s.site}))
	s.app.Get("/", s.page)
	return s, nil
}

func channelName(i int) string { return fmt.Sprintf("c%d", i) }

func (s *cometServer) start() (control.Ready, error) {
	addr, err := listen(func(ln net.Listener) error { return s.app.Listener(ln) })
	ready := control.Ready{Addr: addr, Path: "/", Page: "once", Resume: "id"}
	switch s.mode {
	case modeProcess:
		ready.Page, ready.Tabs = "each", tabsASession
	case modeTabs, modePrivate:
		ready.Page, ready.Tabs = "each", 1
	}
	return ready, err
}

// page answers with the address of the page's event stream.
func (s *cometServer) page(c *fiber.Ctx) error {
	refs, err := s.hears(c)
	if err != nil {
		return err
	}
	address, err := comet.Open(c, refs...)
	if err != nil {
		return err
	}
	return c.SendString(address)
}

func (s *cometServer) hears(c *fiber.Ctx) ([]scope.Ref, error) {
	switch s.mode {
	case modeMany:
		return s.refs, nil
	case modeSite:
		return s.refs[:1], nil
	}
	p, err := comet.ClientProcess(c)
	if err != nil || s.mode != modePrivate {
		return s.refs[:1], err
	}
	private, err := s.private(p)
	return []scope.Ref{private}, err
}

// private makes the next channel, of one tab.
func (s *cometServer) private(p *scope.ClientProcess) (*channel.Channel[[]byte], error) {
	sender, stream := channel.Push[[]byte]()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.senders = append(s.senders, sender)
	return channel.Create(p, stream, channel.Config{Name: "load", Encoding: channel.Text})
}

func (s *cometServer) publish(channel int, data []byte) error {
	if s.mode == modePrivate {
		channel += s.channels
	}
	return s.senders[channel].Send(context.Background(), data)
}
