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
	b := s.browser()
	var sources []*source
	var addresses []string
	for range tabs {
		addresses = append(addresses, b.get("/"))
	}
	for _, address := range addresses {
		sources = append(sources, b.listen(address, ""))
	}
	var sending sync.WaitGroup
	for _, address := range addresses {
		sending.Go(func() {
			for n := 1; n <= values; n++ {
				form := url.Values{"send": {"chat"}, "value": {fmt.Sprintf("%q", fmt.Sprint(n))}, "n": {fmt.Sprint(n)}}
				if n%3 == 0 { // the first answer is lost
					b.post(address, form.Encode(), "")
				}
				if answer := b.post(address, form.Encode(), ""); !strings.Contains(answer, fmt.Sprintf(`"n":%d}`, n)) {
					t.Errorf("send %d: %s", n, answer)
				}
			}
		})
	}
	sending.Wait()
	for i, es := range sources {
		heard := map[string]int{}
		for range tabs * values {
			e := es.expect("chat", "")
			for _, address := range addresses {
				token := tokenIn(t, address)
				if want := fmt.Sprintf(`{"Tab":%q,"Text":"%d"}`, token, heard[token]+1); string(e.Data) == want {
					heard[token]++
				}
			}
		}
		for _, address := range addresses {
			if n := heard[tokenIn(t, address)]; n != values {
				t.Errorf("tab %d heard %d values of a tab in order, want %d", i, n, values)
			}
		}
	}
}
