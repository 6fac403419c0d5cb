package apptest_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/scope"
)

// TestDuplex: Eliom rows 2.9.6, fb3bd0927 and dd440402a (the bus), and rule 18,
// over real sockets: tabs send at once and repeat what they must not lose; every
// tab hears all of it once, each tab's values in its order, as the server signed
// them.
func TestDuplex(t *testing.T) {
	const tabs, values = 4, 20
	s := serve(t, comet.SiteConfig{}, func(app *fiber.App, site *scope.Site) {
		type line struct{ Tab, Text string }
		chat, err := channel.CreateDuplex(site, func(_ context.Context, r channel.Received[string]) (line, error) {
			return line{r.Process.Token(), r.Value}, nil
		}, channel.DuplexConfig[string]{Channel: channel.Config{Name: "chat"}})
		if err != nil {
			t.Fatal(err)
		}
		app.Get("/", func(c *fiber.Ctx) error {
			if _, err := comet.ClientProcess(c); err != nil {
				return err
			}
			address, err := comet.Open(c, chat)
			if err != nil {
				return err
			}
			return c.SendString(address)
		})
	})
	b := s.Browser()
	var all []*comettest.Tab
	for range tabs {
		all = append(all, b.Open("/"))
	}
	for _, tab := range all {
		tab.Connect(tab.Page.Body)
	}
	var sending sync.WaitGroup
	for _, tab := range all {
		sending.Go(func() {
			for n := 1; n <= values; n++ {
				form := url.Values{"send": {"chat"}, "value": {fmt.Sprintf("%q", fmt.Sprint(n))}, "n": {fmt.Sprint(n)}}
				if n%3 == 0 { // the first answer is lost
					tab.Command(form)
				}
				if answer := tab.Command(form); answer.Status != 200 || !strings.Contains(answer.Body, fmt.Sprintf(`"n":%d}`, n)) {
					t.Errorf("send %d: %d %s", n, answer.Status, answer.Body)
				}
			}
		})
	}
	sending.Wait()
	for i, tab := range all {
		heard := map[string]int{}
		for range tabs * values {
			e := tab.Expect("chat", "")
			for _, from := range all {
				token := from.Token()
				if want := fmt.Sprintf(`{"Tab":%q,"Text":"%d"}`, token, heard[token]+1); string(e.Data) == want {
					heard[token]++
				}
			}
		}
		for _, from := range all {
			if n := heard[from.Token()]; n != values {
				t.Errorf("tab %d heard %d values of a tab in order, want %d", i, n, values)
			}
		}
	}
}
