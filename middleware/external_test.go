package middleware_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// elsewhere is an instance whose channels news (three values) and price (a newest
// one) the pages of https://app.example hear.
func elsewhere(t *testing.T, allow func(context.Context, scope.Reader, string) error) (b *browser, external func(refs ...scope.Ref) string, put func(string)) {
	t.Helper()
	site := newSite(t)
	news, put := channelOf(t, site, "news")
	price, err := scope.Register(site, scope.Spec{Name: "price", Kind: scope.Newest})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1", "2", "3"} {
		put(text)
		if err := price.Feed().Put(context.Background(), []byte("p"+text)); err != nil {
			t.Fatal(err)
		}
	}
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Origins: []string{"https://app.example"}, Allow: allow}))
	app.Get("/hold", func(c *fiber.Ctx) error { return c.SendString(news.Name() + price.Name()) })
	b = serve(t, app)
	here := newSite(t) // the other instance, whose pages hear this one
	return b, func(refs ...scope.Ref) string {
		t.Helper()
		link, err := here.Link(context.Background(), nil, 0, refs...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(link.Base, b.App().Origin()) + "?" + link.Query
	}, put
}

// crossSite is how a page of https://app.example asks.
var crossSite = []string{"Origin", "https://app.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}

// TestExternalAcrossOrigins proves rule 17: a page of a named origin hears with its
// credentials, from where its ref begins, and goes on there after a cut; a cross-site
// reader without a cookie is nobody to Allow.
func TestExternalAcrossOrigins(t *testing.T) {
	var asked, known atomic.Int32
	b, external, put := elsewhere(t, func(_ context.Context, r scope.Reader, _ string) error {
		asked.Add(1)
		if r != (scope.Reader{}) {
			known.Add(1)
		}
		return nil
	})
	address := external(scope.External(b.App().Origin()+"/comet", "news", 2, false), scope.External(b.App().Origin()+"/comet", "price", 0, true))
	es := b.Listen(address, crossSite...)
	if got := es.Answer().Header.Get("Access-Control-Allow-Origin"); got != "https://app.example" || es.Answer().Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Fatalf("the page may not read: %v", es.Answer().Header)
	}
	if es.Answer().Header.Get("Set-Cookie") != "" {
		t.Error("a reader from elsewhere was given a session")
	}
	heard := map[string]string{}
	last := ""
	for range 3 {
		e := es.Next()
		heard[e.Name] += string(e.Data)
		last = e.ID
	}
	if heard["news"] != "23" || heard["price"] != "p3" {
		t.Fatal(heard)
	}
	es.Close()
	put("4")
	b.Listen(address, append([]string{"Last-Event-ID", last}, crossSite...)...).Expect("news", "4")
	if asked.Load() == 0 || known.Load() > 0 {
		t.Errorf("Allow was asked %d times, %d of them of somebody", asked.Load(), known.Load())
	}
}

// TestExternalVersion proves rule 17: a page of another version may read which one
// is spoken here and that it is over; its reconnect gets 204, which it may read too.
func TestExternalVersion(t *testing.T) {
	b, external, _ := elsewhere(t, nil)
	address := strings.Replace(external(scope.External(b.App().Origin()+"/comet", "news", 1, false)), "v=1", "v=2", 1)
	es := b.Listen(address, crossSite...)
	if hello := es.Hello(); !strings.Contains(string(hello.Data), `"version":1`) {
		t.Fatalf("which version is spoken: %s", hello.Data)
	}
	end := es.Expect("comet:end", `{"reason":"version","final":true}`)
	es.Ended()
	a := b.Do("GET", address, "", append([]string{"Last-Event-ID", end.ID}, crossSite...)...)
	if es.Answer().Status != 200 || es.Answer().Header.Get("Access-Control-Allow-Origin") == "" || a.Status != 204 ||
		a.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || a.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%d, then %d %v", es.Answer().Status, a.Status, a.Header)
	}
}

// TestExternalPreflight proves rule 17: what a named origin asks before it sends is
// answered so that a browser goes on (Fetch, 4.8), and what follows too; a foreign
// one's is not.
func TestExternalPreflight(t *testing.T) {
	b, external, _ := elsewhere(t, nil)
	address := external(scope.External(b.App().Origin()+"/comet", "news", 1, false))
	for origin, named := range map[string]bool{"https://app.example": true, "https://evil.example": false} {
		pre := b.Do("OPTIONS", address, "", "Origin", origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "comet-process,content-type")
		allowed := pre.Header.Get("Access-Control-Allow-Origin") == origin && pre.Header.Get("Access-Control-Allow-Credentials") == "true" &&
			strings.Contains(pre.Header.Get("Access-Control-Allow-Methods"), "POST") &&
			strings.Contains(strings.ToLower(pre.Header.Get("Access-Control-Allow-Headers")), "comet-process")
		if allowed != named || pre.Status != 204 {
			t.Errorf("preflight of %s: %d %v", origin, pre.Status, pre.Header)
		}
		a := b.Do("POST", address, "register=news", "Origin", origin, "Sec-Fetch-Site", "cross-site")
		want := 403
		if named { // the request itself is let through; it names no process
			want = 400
		}
		if a.Status != want || (a.Header.Get("Access-Control-Allow-Origin") == origin) != named {
			t.Errorf("command of %s: %d %s", origin, a.Status, a.Body)
		}
	}
}
