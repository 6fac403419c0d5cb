package apptest_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// TestFiftyChannelsAreOneRequest: Eliom row 4a af612201d, 2.6 and rule 3: a page
// with fifty channels, of all kinds of owners, asks for one event stream and sends
// no command, and hears them all from what they had when the page was made.
func TestFiftyChannelsAreOneRequest(t *testing.T) {
	var sends []func(string)
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, site *scope.Site) {
		var all []scope.Ref
		for i := range 25 {
			ch, send := texts(t, site, fmt.Sprint("site-", i))
			all, sends = append(all, ch), append(sends, send)
		}
		app.Get("/", func(c *fiber.Ctx) error {
			p, err := comet.ClientProcess(c)
			if err != nil {
				return err
			}
			refs := append([]scope.Ref(nil), all...)
			for i := range 25 {
				ch, send := texts(t, p, fmt.Sprint("mine-", i))
				refs, sends = append(refs, ch), append(sends, send)
			}
			address, err := comet.Open(c, refs...)
			if err != nil {
				return err
			}
			for _, send := range sends {
				send("before")
			}
			return c.SendString(address)
		})
	})
	tab := open(s.Browser(), "/")
	before := hear(tab, 50)
	for _, send := range sends {
		send("live")
	}
	live := hear(tab, 50)
	if len(before) != 50 || len(live) != 50 {
		t.Errorf("%d channels were heard, and then %d", len(before), len(live))
	}
	for name, value := range before {
		if value != "before" || live[name] != "live" {
			t.Errorf("%s was heard as %s, and then as %s", name, value, live[name])
		}
	}
	if gets, posts := s.asked("GET /comet"), s.asked("POST /comet"); gets != 1 || posts != 0 {
		t.Errorf("%d event streams and %d commands, want 1 and 0", gets, posts)
	}
}

// TestAddingChannelsKeepsTheConnection: Eliom row 4a fdeba9053 and e893d4f1c:
// channels that are made and registered later are heard on the event stream there
// is, which stays the only one.
func TestAddingChannelsKeepsTheConnection(t *testing.T) {
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, _ *scope.Site) { app.Get("/", tabs.page) })
	tab := open(s.Browser(), "/")
	process := tabs.of(t, tab.URL()).process
	for i := range 10 {
		owner, name := scope.Owner(s.site), fmt.Sprint("site-", i)
		if i%2 == 0 {
			owner, name = process, fmt.Sprint("mine-", i)
		}
		_, send := texts(t, owner, name)
		if reply := tab.Register(name); reply.State != "heard" {
			t.Fatal(reply)
		}
		send("news")
		tab.Expect(name, "news")
	}
	if gets := s.asked("GET /comet"); gets != 1 {
		t.Errorf("%d event streams were asked for, want 1", gets)
	}
}

// TestHangUpIsNoError: Eliom row 4a 64aa57abb (a hang-up was logged as HTTP 500):
// browsers that leave at any moment are daily life. Nobody logs anything, no error
// reaches the app, and the site forgets them.
func TestHangUpIsNoError(t *testing.T) {
	const clients = 60
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{MaxStreams: clients}, func(app *fiber.App, _ *scope.Site) { app.Get("/", tabs.page) })
	chat, send := texts(t, s.site, "chat")
	link, err := s.site.Link(t.Context(), nil, len("/comet"), chat)
	if err != nil {
		t.Fatal(err)
	}
	var flood, leaving sync.WaitGroup
	stop := make(chan struct{})
	flood.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				send("a line that is long enough to be worth a write")
			}
		}
	})
	for i := range clients {
		address := "/comet?" + link.Query
		if i%2 == 0 {
			address = s.Browser().Get("/").Want(200).Body
		}
		leaving.Go(func() { breakOff(t, s, address, i) })
	}
	leaving.Wait()
	close(stop)
	flood.Wait()
	eventually(t, "there is room for as many again", func() bool { return room(t, s.site, link.Query, clients) })
	if log := s.log.String(); log != "" {
		t.Errorf("somebody logged:\n%s", log)
	}
}

// room reports whether the site carries n event streams more.
func room(t *testing.T, site *scope.Site, query string, n int) bool {
	for range n {
		stream, err := site.OpenStream(t.Context(), scope.Request{Query: query})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Gone(nil)
		var b sse.Batch
		if _, err := stream.Collect(&b, 1<<10); err != nil { // told to come back
			return false
		}
	}
	return true
}

// breakOff asks for an event stream on a connection of its own and leaves, in one
// of the ways that sockets have.
func breakOff(t *testing.T, s *server, address string, how int) {
	conn, err := net.Dial("tcp", s.Origin()[len("http://"):])
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, conn.RemoteAddr())
	if how%5 == 0 {
		return // before the answer
	}
	some := make([]byte, 10<<(how%5))
	if _, err := io.ReadFull(conn, some); err != nil {
		t.Error("the stream broke off by itself:", err)
	}
	switch how % 3 {
	case 0:
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset
	case 1:
		_ = conn.(*net.TCPConn).CloseWrite()
	}
}

// TestBareRequest: Eliom rows 1b.8 and 1b.9: a request that names nothing to hear
// gets an event stream that says so by its end, and then 204: no error, and nothing
// that comes back for ever.
func TestBareRequest(t *testing.T) {
	s := serve(t, comet.SiteConfig{}, func(*fiber.App, *scope.Site) {})
	tab := s.Browser().Listen("/comet")
	tab.Answer().Want(200)
	tab.Hello()
	tab.Ended()
	tab.Reconnect()
	if status := tab.Closed(); status != 204 {
		t.Errorf("the reconnect got %d, want 204", status)
	}
}
