package middleware_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// values is the body that sends values to votes, as URLSearchParams writes it.
func values(n string, list ...string) string {
	form := url.Values{"send": {"votes"}, "value": list}
	if n != "" {
		form.Set("n", n)
	}
	return form.Encode()
}

// sendApp is a tabApp with an inbox votes, which says what came and refuses by
// the name of the code.
func sendApp(t *testing.T, config middleware.Config) (b *browser, address string, got chan string) {
	t.Helper()
	config.Site = newSite(t)
	got = make(chan string, 100)
	_, err := scope.Receive(config.Site, scope.InboxSpec{Name: "votes", Rate: 1, Burst: 20, Take: func(_ context.Context, s scope.Sent) (int, error) {
		for i, v := range s.Values {
			if code, refused := strings.CutPrefix(string(v), "!"); refused {
				return i, &scope.CommandError{Code: code, Message: "it says " + code, Value: i + 1, RetryAfter: 1500e6}
			}
			got <- s.Reader.User + ": " + string(v)
		}
		return len(s.Values), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	app := newApp()
	app.Use(middleware.New(config))
	app.Get("/", new(tabs).page)
	b = serve(t, app)
	_, address = b.tab("/")
	return b, address, got
}

// TestSendOverHTTP proves rules 3 and 18: a POST to the event stream's URL carries
// values, with who sent them, and is answered when they are taken.
func TestSendOverHTTP(t *testing.T) {
	b, address, got := sendApp(t, middleware.Config{User: func(c *fiber.Ctx) string { return c.Get("X-User") }})
	a := b.Do("POST", address, values("1", "a & b = c", "ü+%"), "X-User", "Ann", "Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	if a.Status != 200 || a.Body != `{"state":"taken","n":1}` || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for _, want := range []string{"Ann: a & b = c", "Ann: ü+%"} {
		if v := <-got; v != want {
			t.Fatalf("got %q, want %q", v, want)
		}
	}
	if a := b.Do("POST", address, values("1", "a & b = c", "ü+%")); a.Body != `{"state":"seen","n":1}` || len(got) > 0 {
		t.Fatalf("repeated: %s, %d values were taken again", a.Body, len(got))
	}
}

// TestSendRefusals proves rule 18: each refusal has its status, says which value,
// and when to try again.
func TestSendRefusals(t *testing.T) {
	b, address, got := sendApp(t, middleware.Config{})
	type said struct {
		Error                  string
		Value, Taken, Expected int
		Retry                  int64
	}
	for name, test := range map[string]struct {
		body   string
		status int
		retry  string
		want   said
	}{
		"invalid":       {values("", "1", "!invalid"), 422, "2", said{Value: 2, Taken: 1, Retry: 1500}},
		"full":          {values("", "!full"), 503, "2", said{Value: 1, Retry: 1500}},
		"not allowed":   {values("", "!refused"), 403, "2", said{Value: 1, Retry: 1500}},
		"not UTF-8":     {values("", "\xff"), 422, "", said{Value: 1}},
		"no value":      {"send=votes", 400, "", said{}},
		"no such inbox": {"send=nothing&value=1", 410, "", said{}},
		"a later n":     {values("7", "1"), 409, "", said{Expected: 1}},
		"too long":      {values("", strings.Repeat("x", 16<<10+1)), 413, "", said{Value: 1}},
		"too many":      {values("", make([]string, 21)...), 413, "", said{}},
		"a long body":   {values("", strings.Repeat("x", 64<<10)), 413, "", said{}},
	} {
		a := b.Do("POST", address, test.body)
		var got said
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil || got.Error == "" {
			t.Fatalf("%s: %s: %v", name, a.Body, err)
		}
		got.Error = ""
		if a.Status != test.status || got != test.want || a.Header.Get("Retry-After") != test.retry {
			t.Errorf("%s: %d %s, Retry-After %q", name, a.Status, a.Body, a.Header.Get("Retry-After"))
		}
	}
	for len(got) > 0 {
		<-got
	}
	for range 20 {
		if a := b.Do("POST", address, values("", "x")); a.Status == 429 {
			if a.Header.Get("Retry-After") != "1" || !strings.Contains(a.Body, `"retry":`) {
				t.Errorf("%s, Retry-After %q", a.Body, a.Header.Get("Retry-After"))
			}
			return
		}
	}
	t.Error("20 more values at once were never too many")
}

// TestSendFailure: what is the app's own fault is logged, and not told.
func TestSendFailure(t *testing.T) {
	var log logbook
	site := newSite(t)
	_, err := scope.Receive(site, scope.InboxSpec{Name: "votes", Take: func(context.Context, scope.Sent) (int, error) {
		panic("a secret")
	}})
	if err != nil {
		t.Fatal(err)
	}
	app := newApp()
	app.Use(middleware.New(middleware.Config{Site: site, Logger: log.logger()}))
	app.Get("/", new(tabs).page)
	b := serve(t, app)
	_, address := b.tab("/")
	a := b.Do("POST", address, values("", "x"))
	if a.Status != 500 || strings.Contains(a.Body, "secret") || !strings.Contains(log.String(), "a secret") {
		t.Errorf("%d %s; logged: %s", a.Status, a.Body, &log)
	}
}

// TestSendsOfOtherSitesAreRefused proves rule 18: no page of another site sends
// with the user's cookies, unless its origin is named; and no one for another's
// session.
func TestSendsOfOtherSitesAreRefused(t *testing.T) {
	b, address, got := sendApp(t, middleware.Config{Origins: []string{"https://friend.example"}})
	for name, fields := range map[string][]string{
		"cross-site":  {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"same-site":   {"Sec-Fetch-Site", "same-site"},
		"old browser": {"Origin", "https://evil.example"},
	} {
		if a := b.Do("POST", address, values("", name), fields...); a.Status != 403 {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if a := b.another().Do("POST", address, values("", "stolen")); a.Status != 410 {
		t.Errorf("another session: %d %s", a.Status, a.Body)
	}
	if len(got) > 0 {
		t.Fatal("taken: ", <-got)
	}
	if a := b.Do("POST", address, values("", "friend"), "Sec-Fetch-Site", "cross-site", "Origin", "https://friend.example"); a.Status != 200 {
		t.Errorf("a named origin: %d %s", a.Status, a.Body)
	}
}
