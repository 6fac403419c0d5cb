package apptest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/scope"
)

// A roster has the tabs that pages were made for, each with a channel "mine".
type roster struct {
	mu   sync.Mutex
	tabs map[string]*member // by token
}

type member struct {
	process *scope.ClientProcess
	send    *channel.Sender[string]
}

// page is a handler that makes a tab and answers its event stream's URL.
func (r *roster) page(c *fiber.Ctx) error {
	p, err := comet.ClientProcess(c)
	if err != nil {
		return err
	}
	send, stream := channel.Push[string]()
	mine, err := channel.Create(p, stream, channel.Config{Name: "mine", Encoding: channel.Text})
	if err != nil {
		return err
	}
	address, err := comet.Open(c, mine)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tabs == nil {
		r.tabs = map[string]*member{}
	}
	r.tabs[p.Token()] = &member{p, send}
	return c.SendString(address)
}

func (r *roster) of(t testing.TB, address string) *member {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.tabs[tokenIn(t, address)]
	if m == nil {
		t.Fatal("no tab of", address)
	}
	return m
}

// TestProcessOutlivesItsRequest: Eliom row 4a b97f10ab3 (and 13d4fc497): a process
// that request A made is heard by connection B. A's end is nothing to it; B's is.
// Eliom row 4a 75f81780d and rule 10: a closed TCP connection starts the clock.
func TestProcessOutlivesItsRequest(t *testing.T) {
	const away = 200 * time.Millisecond
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, _ *scope.Site) { app.Get("/", tabs.page) })
	b := s.Browser()
	es := b.Open("/")
	tab := tabs.of(t, es.Page.Body)
	b.Route(s.App) // by new connections: A's is closed
	es.Connect(es.Page.Body)
	es.Hello()
	eventually(t, "A's connection is closed", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.closed) > 0
	})
	inactive := make(chan error, 1)
	tab.process.AfterInactive(away, func(err error) { inactive <- err })
	time.Sleep(2 * away)
	select {
	case err := <-inactive:
		t.Fatal("A's end was taken for the tab's:", err)
	default:
	}
	if err := tab.send.Send(context.Background(), "still here"); err != nil {
		t.Fatal(err)
	}
	es.Expect("mine", "still here")
	begin := time.Now()
	es.Close()
	if err := received(t, "B's end", inactive); err != nil || time.Since(begin) < away {
		t.Fatalf("%v, %v after B's end", err, time.Since(begin))
	}
}

// TestBackgroundNotify: Eliom row 4a 7ea993dcd: who kept a process may tell it
// something from any goroutine, long after its request, and make channels.
func TestBackgroundNotify(t *testing.T) {
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, _ *scope.Site) { app.Get("/", tabs.page) })
	es := open(s.Browser(), "/")
	tab := tabs.of(t, es.URL())
	done := make(chan error, 1)
	go func() {
		done <- tab.send.Send(context.Background(), "from nowhere")
		send, stream := channel.Push[string]()
		_, err := channel.Create(tab.process, stream, channel.Config{Name: "more", Encoding: channel.Text})
		done <- errors.Join(err, send.Send(context.Background(), "and more"))
	}()
	for range 2 {
		if err := received(t, "the background", done); err != nil {
			t.Fatal(err)
		}
	}
	es.Expect("mine", "from nowhere")
	es.Register("more")
	es.Expect("more", "and more")
}

// TestRequestIsCollected: Eliom row 4a 6b83c9f81, 5a580302e: nothing that a request
// brought along is kept by the process, the channels and the sources that it made.
// The event streams come after the look at the heap, on connections of their own:
// while one is open, fasthttp itself keeps its connection's RequestCtx, and in that
// what the connection's last request had in its Locals.
func TestRequestIsCollected(t *testing.T) {
	type baggage [1 << 16]byte
	type key struct{}
	const requests = 20
	freed := make(chan struct{}, requests)
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, site *scope.Site) {
		app.Get("/", func(c *fiber.Ctx) error {
			luggage := new(baggage)
			runtime.AddCleanup(luggage, func(int) { freed <- struct{}{} }, 0)
			c.SetUserContext(context.WithValue(c.UserContext(), key{}, luggage))
			c.Locals("luggage", luggage)
			waits := channel.From(func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() })
			if _, err := channel.Create(site, waits, channel.Config{Name: "waits-" + c.Query("n")}); err != nil {
				return err
			}
			if err := tabs.page(c); err != nil {
				return err
			}
			return tabs.of(t, string(c.Response().Body())).send.Send(c.UserContext(), "hello")
		})
	})
	b := s.Browser()
	var addresses []string
	for i := range requests {
		addresses = append(addresses, b.Get(fmt.Sprint("/?n=", i)).Want(200).Body)
	}
	b.Route(s.App) // by new connections: the old ones are closed
	eventually(t, "all that the requests brought is collected", func() bool {
		runtime.GC()
		return len(freed) == requests
	})
	for _, address := range addresses {
		b.Listen(address).Expect("mine", "hello")
	}
}

// TestTabsHearTheirOwn: Eliom row 4a caae54a65, a security bug, and rule 7: tabs of
// several sessions, told things all at once, hear what is theirs and nothing else.
func TestTabsHearTheirOwn(t *testing.T) {
	const sessions, perSession, values = 8, 5, 40
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, _ *scope.Site) { app.Get("/", tabs.page) })
	var work sync.WaitGroup
	var all []*comettest.Tab
	for range sessions {
		b := s.Browser()
		for range perSession {
			tab := open(b, "/")
			all = append(all, tab)
			work.Go(func() {
				for v := range values {
					if err := tabs.of(t, tab.URL()).send.Send(context.Background(), fmt.Sprint(tab.Token(), " ", v)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	for _, tab := range all {
		for v := range values {
			tab.Expect("mine", fmt.Sprint(tab.Token(), " ", v))
		}
	}
	work.Wait()
}

// TestProcessEndIsToldAtOnce: Eliom row 4b (pending poll at close, 22 s late) and
// 2.1.12: a tab hears of its process's end when that happens, and not with the
// next heartbeat, which here is an hour away.
func TestProcessEndIsToldAtOnce(t *testing.T) {
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{Heartbeat: time.Hour}, func(app *fiber.App, _ *scope.Site) { app.Get("/", tabs.page) })
	b := s.Browser()
	fastest := patience
	for range 5 {
		es := open(b, "/")
		es.Hello()
		begin := time.Now()
		tabs.of(t, es.URL()).process.Close()
		es.Expect("comet:gone", fmt.Sprintf(`{"process":%q,"reason":"gone"}`, es.Token()))
		fastest = min(fastest, time.Since(begin))
		es.Ended()
		es.Reconnect()
		if status := es.Closed(); status != 204 {
			t.Fatalf("the reconnect got %d, want 204", status)
		}
	}
	if fastest > 100*time.Millisecond {
		t.Errorf("of five tabs the fastest heard after %v", fastest)
	}
}

// TestOtherRequestsAreNoActivity: Eliom row 2.8.8 and rule 10: pages and forms of
// a tab, though they name it, do not keep it active; only event streams and
// commands do.
func TestOtherRequestsAreNoActivity(t *testing.T) {
	const away = 300 * time.Millisecond
	tabs := new(roster)
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, _ *scope.Site) {
		app.Get("/", tabs.page)
		app.Post("/form", func(c *fiber.Ctx) error {
			_, err := comet.ClientProcess(c)
			return err
		})
	})
	b := s.Browser()
	address := b.Get("/").Want(200).Body
	inactive := make(chan error, 1)
	tabs.of(t, address).process.AfterInactive(away, func(err error) { inactive <- err })
	for begin := time.Now(); ; time.Sleep(away / 20) {
		b.Post("/form", nil, "Comet-Process", tokenIn(t, address)).Want(200)
		select {
		case err := <-inactive:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if time.Since(begin) > patience {
			t.Fatal("requests keep the tab active for ever")
		}
	}
}
