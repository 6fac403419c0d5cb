package middleware_test

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/comettest"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// pullApp is a tabApp whose tab has a pulled channel "count" that is open.
func pullApp(t *testing.T, config middleware.Config) (b *browser, address string, es *comettest.Tab) {
	t.Helper()
	b, tabs, _ := tabApp(t, config)
	token, address := b.tab("/")
	_, err := scope.Register(tabs.of(token), scope.Spec{
		Name: "count", Kind: scope.Pull,
		Pull: func(context.Context) ([]byte, error) { return []byte("3"), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	address += "&pull=ask"
	es = b.Listen(address)
	es.Expect("mine", "hello")
	if a := b.Do("POST", address, "register=count"); a.Status != 200 {
		t.Fatalf("register: %d %s", a.Status, a.Body)
	}
	return b, address, es
}

// A command is a form, whatever its Content-Type says (rule 3).
func TestCommand(t *testing.T) {
	b, address, es := pullApp(t, middleware.Config{})
	for _, contentType := range []string{"", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"} {
		a := b.Do("POST", address, "pull=count", "Content-Type", contentType, "Sec-Fetch-Site", "same-origin")
		if a.Status != 200 || a.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%q: %d %s", contentType, a.Status, a.Body)
		}
		var reply scope.Reply
		if err := json.Unmarshal([]byte(a.Body), &reply); err != nil || reply.State == "" {
			t.Errorf("%q: answer %s: %v", contentType, a.Body, err)
		}
		es.Expect("count", "3")
	}
}

// A refusal says why, in JSON, with the status of its kind.
func TestCommandRefusals(t *testing.T) {
	b, address, es := pullApp(t, middleware.Config{})
	if a := b.Do("POST", address, "pull=count&n=1"); a.Status != 200 {
		t.Fatalf("n=1: %d %s", a.Status, a.Body)
	}
	es.Expect("count", "3")
	stranger := b.another()
	own := regexp.MustCompile(`p=([^&.]+)`).FindStringSubmatch(address)[1]
	for name, test := range map[string]struct {
		a        comettest.Answer
		status   int
		expected uint64
		process  string
	}{
		"no command":        {b.Do("POST", address, ""), 400, 0, ""},
		"unknown command":   {b.Do("POST", address, "push=count"), 400, 0, ""},
		"two commands":      {b.Do("POST", address, "pull=count&close=count"), 400, 0, ""},
		"bad form":          {b.Do("POST", address, "pull=%zz"), 400, 0, ""},
		"multipart":         {b.Do("POST", address, "--x--", "Content-Type", "multipart/form-data; boundary=x"), 400, 0, ""},
		"bad address":       {b.Do("POST", "/comet?v=nonsense", "pull=count"), 400, 0, ""},
		"no such channel":   {b.Do("POST", address, "pull=nothing"), 410, 0, ""},
		"wrong n":           {b.Do("POST", address, "pull=count&n=7"), 409, 2, ""},
		"foreign process":   {stranger.Do("POST", address, "pull=count"), 410, 0, own},
		"larger than 64 KB": {b.Do("POST", address, "pull="+strings.Repeat("x", 64<<10)), 413, 0, ""},
	} {
		var said struct {
			Error    string
			Expected uint64
			Process  string
		}
		if err := json.Unmarshal([]byte(test.a.Body), &said); err != nil {
			t.Errorf("%s: answer %q: %v", name, test.a.Body, err)
		}
		if test.a.Status != test.status || said.Error == "" || said.Expected != test.expected || said.Process != test.process {
			t.Errorf("%s: %d %s, want %d, expected %d, process %q", name, test.a.Status, test.a.Body, test.status, test.expected, test.process)
		}
		if test.a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached", name)
		}
	}
}

// The bound holds for bodies of unknown length, and for apps that stream them.
func TestCommandBodyIsBounded(t *testing.T) {
	site := newSite(t)
	app := newApp(fiber.Config{StreamRequestBody: true, BodyLimit: 1 << 20})
	app.Use(middleware.New(middleware.Config{Site: site}))
	b := serve(t, app)
	if a := b.Do("POST", "/comet?v=1", "pull="+strings.Repeat("x", 100<<10)); a.Status != 413 {
		t.Errorf("a long body that is streamed: %d %s", a.Status, a.Body)
	}
	if a := b.Do("POST", "/comet?v=1", "pull=x"); a.Status != 400 || !strings.Contains(a.Body, "no client process") {
		t.Errorf("a short body that is streamed: %d %s", a.Status, a.Body)
	}
}

// What a page of another site could send with the user's cookies is refused.
func TestCommandsOfOtherSitesAreRefused(t *testing.T) {
	b, address, es := pullApp(t, middleware.Config{Origins: []string{"https://friend.example"}})
	host := strings.TrimPrefix(b.App().Origin(), "http://")
	for name, test := range map[string]struct {
		fields []string
		ok     bool
	}{
		"same origin":                  {[]string{"Sec-Fetch-Site", "same-origin", "Origin", b.App().Origin()}, true},
		"same origin, renamed host":    {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "https://public.example"}, true},
		"typed by the user":            {[]string{"Sec-Fetch-Site", "none"}, true},
		"no browser":                   {nil, true},
		"old browser, this host":       {[]string{"Origin", b.App().Origin()}, true},
		"old browser, TLS taken off":   {[]string{"Origin", "https://" + host}, true},
		"old browser, forwarded host":  {[]string{"Origin", "https://public.example", "X-Forwarded-Host", "public.example"}, true},
		"named origin":                 {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://friend.example"}, true},
		"cross-site":                   {[]string{"Sec-Fetch-Site", "cross-site"}, false},
		"cross-site, foreign origin":   {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, false},
		"sibling":                      {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://evil." + host}, false},
		"old browser, foreign origin":  {[]string{"Origin", "https://evil.example"}, false},
		"old browser, null":            {[]string{"Origin", "null"}, false},
		"old browser, prefix of named": {[]string{"Origin", "https://friend.example.evil.example"}, false},
	} {
		a := b.Do("POST", address, "pull=count", test.fields...)
		if (a.Status == 200) != test.ok || !test.ok && (a.Status != 403 || !strings.Contains(a.Body, "Origins")) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		if test.ok {
			es.Expect("count", "3")
		}
	}
}
