package app

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/soak/internal/oracle"
)

// channelEOF is what ends a source well.
var channelEOF = io.EOF

// A Page is what a page says to its tab.
type Page struct {
	URL      string
	Token    string
	Channels map[string]oracle.Begin // by event name
}

// history is how many values of a queue channel a page begins with.
const history = 3

// page makes a page that hears the site channels of its query, and with private a process
// that has every kind of private channel.
func (s *server) page(c *fiber.Ctx) error {
	page := Page{Channels: map[string]oracle.Begin{}}
	var refs []scope.Ref
	for _, name := range c.Context().QueryArgs().PeekMulti("c") {
		s.mu.Lock()
		ch, before := s.channels[string(name)], s.counts[string(name)]
		s.mu.Unlock()
		if ch == nil {
			continue // a mortal one, which is not there at the moment
		}
		select {
		case <-ch.Done():
			continue
		default:
		}
		b := oracle.Begin{Kind: oracle.Queue, Life: before.Life}
		if name[0] == 'n' {
			b.Kind = oracle.Newest
			refs = append(refs, ch)
		} else {
			refs = append(refs, ch.History(history))
		}
		page.Channels[string(name)] = b
	}
	if c.QueryBool("private") {
		p, err := comet.ClientProcess(c)
		if err != nil {
			return err
		}
		if err := s.private(p, &page); err != nil {
			return err
		}
		page.Token = p.Token()
	}
	low := s.sampled()
	url, err := comet.Open(c, refs...)
	if err != nil {
		return err
	}
	high := s.sampled()
	for name, b := range page.Channels {
		switch {
		case b.Kind == oracle.Private:
		case low[name].Life != b.Life || high[name].Life != b.Life: // it died meanwhile
			b.Life = ""
		default: // a value is counted before it is kept
			b.From, b.To = first(low[name].Number-min(1, low[name].Number)), first(high[name].Number)
		}
		page.Channels[name] = b
	}
	page.URL = url
	return c.JSON(page)
}

// first is the number with which a page begins that was made when n were there.
func first(n uint64) uint64 {
	if n < history {
		return 1
	}
	return n - history + 1
}

func (s *server) sampled() map[string]oracle.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]oracle.Value, len(s.counts))
	for name, v := range s.counts {
		m[name] = v
	}
	return m
}

// private gives a process its channels: mine is pushed to, small overflows when it is
// told to, unread is read when the page asks, and echo has what its inbox box took.
func (s *server) private(p *scope.ClientProcess, page *Page) error {
	t := &process{ClientProcess: p, life: life(), numbers: map[string]uint64{}}
	var stream *channel.Stream[oracle.Value]
	t.mine, stream = channel.Push[oracle.Value]()
	_, err := channel.Create(p, stream, channel.Config{Name: "mine", Size: mineSize})
	t.small, stream = channel.Push[oracle.Value]()
	_, smallErr := channel.Create(p, stream, channel.Config{Name: "small", Size: smallSize})
	_, pullErr := channel.CreateUnlimited(p, channel.From(func(context.Context) (oracle.Value, error) {
		return s.number(t, "unread", 0), nil
	}), channel.UnlimitedConfig{Name: "unread"})
	box, boxErr := channel.Receive[uint64](p, channel.ReceiveConfig[uint64]{Name: "box", Waiting: 50})
	if err := errors.Join(err, smallErr, pullErr, boxErr); err != nil {
		return err
	}
	echoes := channel.From(func(ctx context.Context) (oracle.Value, error) {
		r, err := box.Next(ctx)
		if err != nil {
			return oracle.Value{}, err
		}
		return s.number(t, "echo", r.Value), nil
	})
	if _, err := channel.Create(p, echoes, channel.Config{Name: "echo", Size: mineSize}); err != nil {
		return err
	}
	for _, name := range []string{"mine", "small", "unread", "echo"} {
		page.Channels[name] = oracle.Begin{Kind: oracle.Private, Life: t.life, From: 1, To: 1}
	}
	s.mu.Lock()
	s.tabs[p.Token()] = t
	s.mu.Unlock()
	return nil
}

// number makes the next value of a process's channel.
func (s *server) number(t *process, name string, sent uint64) oracle.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.numbers[name]++
	return oracle.Value{Channel: name, Life: t.life, Number: t.numbers[name], Sent: sent}
}

// pushMine sends to every process, one after the other.
func (s *server) pushMine() {
	for {
		s.mu.Lock()
		all := make([]*process, 0, len(s.tabs))
		for token, t := range s.tabs {
			select {
			case <-t.Done():
				delete(s.tabs, token)
			default:
				all = append(all, t)
			}
		}
		s.mu.Unlock()
		for _, t := range all {
			_ = t.mine.Send(context.Background(), s.number(t, "mine", 0)) // it may have ended, or be full
			time.Sleep(s.Mine / time.Duration(len(all)))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// burst sends more to the process's channel small than may wait.
func (s *server) burst(c *fiber.Ctx) error {
	p, err := comet.ClientProcess(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	t := s.tabs[p.Token()]
	s.mu.Unlock()
	if t == nil {
		return fiber.ErrNotFound
	}
	for range 3 * smallSize {
		if t.small.Send(context.Background(), s.number(t, "small", 0)) != nil {
			break
		}
	}
	return c.SendStatus(fiber.StatusNoContent)
}
