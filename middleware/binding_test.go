package middleware

import (
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/session"
	"github.com/gofiber/storage/memory/v2"

	"github.com/ocsigo/comet/scope"
)

func (t *bindings) size() (keys, ids int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey), len(t.byID)
}

// What is remembered of sessions is bounded by the processes that live: nothing
// stays when they have ended (rule 13).
func TestBindingsEndWithTheirProcesses(t *testing.T) {
	storage := memory.New()
	defer storage.Close()
	site := scope.NewSite(scope.SiteConfig{MaxProcesses: 3})
	defer func() {
		if err := site.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	m, err := build(Config{Site: site, Session: session.New(session.Config{Storage: storage})})
	if err != nil {
		t.Fatal(err)
	}
	known := &m.sessions.(*appSessions).known
	var processes []*scope.ClientProcess
	app := fiber.New()
	app.Use(m.handle)
	app.Get("/", func(c *fiber.Ctx) error {
		p, err := ClientProcess(c)
		processes = append(processes, p)
		return err
	})
	app.Get("/fail", func(c *fiber.Ctx) error {
		if _, err := ClientProcess(c); err != nil {
			return err
		}
		return fiber.ErrTeapot
	})
	get := func(path, cookie string) (setCookie string) {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Cookie", cookie)
		resp, err := app.Test(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		for _, c := range resp.Cookies() {
			setCookie = c.Name + "=" + c.Value
		}
		return setCookie
	}
	for range 10 {
		cookie := get("/", "")
		for range 4 { // over MaxProcesses, so that one is evicted
			get("/", cookie)
		}
	}
	if keys, ids := known.size(); keys != 10 || ids != 10 {
		t.Errorf("10 sessions: %d keys, %d ids", keys, ids)
	}
	if n := len(processes); n != 50 {
		t.Fatalf("%d processes", n)
	}
	for _, p := range processes {
		p.Close()
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		keys, ids := known.size()
		if keys == 0 && ids == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("with all processes ended: %d keys, %d ids", keys, ids)
		}
	}
}

// A binding follows its record, and the last hold takes it away.
func TestBinding(t *testing.T) {
	var known bindings
	if known.enter("A") != nil {
		t.Fatal("a session that nobody belongs to is known")
	}
	b := known.obtain("", "A") // a page
	if again := known.obtain("", "A"); again != b || b.key == "" {
		t.Fatal("two tabs of one session got two keys")
	}
	known.hold(b) // its process
	known.leave(b)
	known.leave(b)
	if id := known.recordOf(b.key); id != "A" {
		t.Errorf("the record is %q", id)
	}
	known.move(known.enter("A"), "B") // Regenerate
	known.leave(b)
	if id := known.recordOf(b.key); id != "B" {
		t.Errorf("after Regenerate the record is %q", id)
	}
	if _, ok := known.keyOf("A"); ok {
		t.Error("the old id still leads to the key")
	}
	if key, ok := known.keyOf("B"); !ok || key != b.key {
		t.Error("the new id does not lead to the key")
	}
	known.release(b)
	if keys, ids := known.size(); keys != 0 || ids != 0 {
		t.Errorf("%d keys, %d ids left", keys, ids)
	}
}

// A record that is missing under a request may be on its way; only so often.
// What a missed record was is no matter once it was found, or has moved.
func TestLostRecord(t *testing.T) {
	var known bindings
	b := known.obtain("", "A")
	misses := func(id string, want ...bool) {
		t.Helper()
		for i, believed := range want {
			if got := known.lost(b.key, id); got != believed {
				t.Errorf("miss %d of %s: believed %v, want %v", i+1, id, got, believed)
			}
		}
	}
	misses("A", false, false)
	known.found(b.key, "A")
	misses("A", false, false)
	known.move(b, "B") // Regenerate
	misses("A", false, false, false, false)
	known.found(b.key, "A") // read before it moved
	if id := known.recordOf(b.key); id != "B" {
		t.Errorf("an old answer moved the binding back to %q", id)
	}
	misses("B", false, false, true, true)
	known.found(b.key, "B")
	known.hold(b)
	known.leave(b)
	misses("B", true)
	known.release(b)
	misses("B", false) // nobody is there to be ended
}

func TestParseKeyLookup(t *testing.T) {
	for lookup, want := range map[string]string{
		"cookie:session_id": "cookie session_id <nil>",
		"header:X-Session":  "header X-Session <nil>",
		"query:sid":         "query sid <nil>",
		"":                  `  KeyLookup ""`,
		"cookie":            `  KeyLookup "cookie"`,
		"cookie:":           `  KeyLookup "cookie:"`,
		"form:sid":          `  KeyLookup "form:sid"`,
	} {
		source, name, err := parseKeyLookup(lookup)
		if got := fmt.Sprintf("%s %s %v", source, name, err); got != want {
			t.Errorf("%q: %s, want %s", lookup, got, want)
		}
	}
}

// Cases of the pattern that stand for a part of the path.
func TestLeadingSegments(t *testing.T) {
	for _, test := range []struct{ pattern, path, want string }{
		{"/a/:id", "/a/1/page", "/a/1"},
		{"/a/:id", "/a/1", "/a/1"},
		{"/:a/:b/", "/1/2/3", "/1/2"},
		{"/a/*", "/a/1/2", "/a"},
		{"/a/:id?", "/a/1", "/a"},
		{"/+", "/a", ""},
		{"/*", "/", ""},
		{"/:a-:b/x", "/1-2/x/y", "/1-2/x"},
	} {
		if got := leading(test.path, fixedSegments(test.pattern)); got != test.want {
			t.Errorf("%s of %s: %q, want %q", test.pattern, test.path, got, test.want)
		}
	}
	if got := escaped("/a b/\"<é>/%41"); got != "/a%20b/%22%3C%C3%A9%3E/%41" {
		t.Errorf("escaped: %s", got)
	}
}

// What a storing middleware keeps of a stream must stay below what compress
// thinks worth compressing (200 bytes): a stream has no Content-Encoding.
func TestStoredCopyIsShort(t *testing.T) {
	if n := len(storedCopy); n >= 200 {
		t.Errorf("%d bytes", n)
	}
}
