package middleware_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2/middleware/session"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// panicOf returns what New says when it panics, "" when it does not.
func panicOf(config ...middleware.Config) (said string) {
	defer func() {
		if r := recover(); r != nil {
			said = fmt.Sprint(r)
		}
	}()
	middleware.New(config...)
	return ""
}

func TestMisconfigurationNamesFaultAndRemedy(t *testing.T) {
	store := session.New(session.Config{Storage: new(shelf)})
	for _, test := range []struct {
		config middleware.Config
		says   []string
	}{
		{middleware.Config{Path: "comet"}, []string{`Path "comet"`, "begins with /"}},
		{middleware.Config{Path: "/"}, []string{`Path "/"`, `"/comet"`}},
		{middleware.Config{Path: "/a/"}, []string{`Path "/a/"`}},
		{middleware.Config{Path: "/:id"}, []string{`Path "/:id"`, "without pattern"}},
		{middleware.Config{Path: "/a?b"}, []string{`Path "/a?b"`, "query"}},
		{middleware.Config{Path: "//host/a"}, []string{`Path "//host/a"`, "host"}},
		{middleware.Config{PublicPath: "https://host/a"}, []string{`PublicPath "https://host/a"`}},
		{middleware.Config{Cookie: "a b"}, []string{`Cookie "a b"`}},
		{middleware.Config{Cookie: "a;b"}, []string{`Cookie "a;b"`}},
		{middleware.Config{SessionLife: time.Millisecond}, []string{"SessionLife 1ms", "24h"}},
		{middleware.Config{Compression: []string{"gzip", "br"}}, []string{`bad Compression: "br"`, "gzip, zstd", "leave it out"}},
		{middleware.Config{Compression: []string{"zstd", "zstd"}}, []string{`"zstd" is named twice`}},
		{middleware.Config{Retry: -1}, []string{"Retry -1ns", "100ms", "10m"}},
		{middleware.Config{Retry: time.Hour}, []string{"Retry 1h"}},
		{middleware.Config{Origins: []string{"*"}}, []string{`Origins "*"`, "no *"}},
		{middleware.Config{Origins: []string{"https://*.example.com"}}, []string{"Origins"}},
		{middleware.Config{Origins: []string{"null"}}, []string{`Origins "null"`}},
		{middleware.Config{Origins: []string{"https://example.com/"}}, []string{"no path"}},
		{middleware.Config{Origins: []string{"https://example.com:443"}}, []string{"no default port"}},
		{middleware.Config{Origins: []string{"https://Example.com"}}, []string{"lower case"}},
		{middleware.Config{Origins: []string{"ftp://example.com"}}, []string{"scheme http or https"}},
		{middleware.Config{Origins: []string{"https://a@example.com"}}, []string{"Origins"}},
		{middleware.Config{Session: store, Storage: new(shelf)}, []string{"Session and Storage", "leave Storage out"}},
		{middleware.Config{Session: store, SessionLife: time.Hour}, []string{"Session and SessionLife", "Expiration"}},
		{middleware.Config{Session: &session.Store{}}, []string{"not a working store", "session.New"}},
		{middleware.Config{Session: store, Storage: new(shelf), Path: "x", Retry: 1},
			[]string{"Session and Storage", `Path "x"`, "Retry 1ns"}},
	} {
		said := panicOf(test.config)
		for _, want := range append(test.says, "comet.New: ") {
			if !strings.Contains(said, want) {
				t.Errorf("%+v: New said %q, want it to contain %q", test.config, said, want)
			}
		}
	}
}

func TestGoodConfigs(t *testing.T) {
	for _, config := range []middleware.Config{
		{},
		middleware.ConfigDefault,
		{Path: "/a/b.c-d_e", PublicPath: "/x%20y/comet", Cookie: "__Host-comet", Retry: 10 * time.Minute},
		{Compression: []string{"zstd", "gzip"}},
		{Origins: []string{"https://example.com", "http://localhost:8080", "http://[::1]:3000"}},
		{Session: session.New(session.Config{Storage: new(shelf), KeyLookup: "header:x-session"})},
	} {
		config.Site = newSite(t)
		if said := panicOf(config); said != "" {
			t.Errorf("%+v: %s", config, said)
		}
	}
}

func TestTwoConfigsAreRefused(t *testing.T) {
	if said := panicOf(middleware.Config{}, middleware.Config{}); !strings.Contains(said, "2 Configs") {
		t.Errorf("New said %q", said)
	}
}

// One Site per Comet.
func TestSiteOfAnotherCometIsRefused(t *testing.T) {
	site := newSite(t)
	middleware.New(middleware.Config{Site: site})
	said := panicOf(middleware.Config{Site: site, Path: "x"})
	if !strings.Contains(said, "another comet.New") || !strings.Contains(said, `Path "x"`) {
		t.Errorf("New said %q, want both faults", said)
	}
}

// TestPreforkNeedsASharedEngine runs this test binary as a child of Fiber's
// Prefork, which is known by its environment.
func TestPreforkNeedsASharedEngine(t *testing.T) {
	if os.Getenv("COMET_TEST_PREFORK") == "1" {
		fmt.Println("said:", panicOf(), panicOf(middleware.Config{Site: scope.NewSite()}))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPreforkNeedsASharedEngine$", "-test.v")
	cmd.Env = append(os.Environ(), "COMET_TEST_PREFORK=1", "FIBER_PREFORK_CHILD=1")
	out, _ := cmd.CombinedOutput() // the child leaks the site it was refused with
	for _, want := range []string{"said: comet.New: under Prefork", "Prefork to false", "SiteConfig.Engine"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the child said %s, want %q", out, want)
		}
	}
	if strings.Count(string(out), "comet.New: under Prefork") != 2 {
		t.Errorf("a site of its own or a given one: both must be refused; the child said %s", out)
	}
}
