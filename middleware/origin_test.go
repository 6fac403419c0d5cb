package middleware_test

import (
	"testing"

	"github.com/ocsigo/comet/middleware"
)

// Exact origins, with credentials; nothing is reflected (rule 17).
func TestOrigins(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{Origins: []string{"https://friend.example", "http://localhost:8080"}})
	_, address := b.tab("/")
	for origin, allowed := range map[string]bool{
		"https://friend.example":      true,
		"http://localhost:8080":       true,
		"http://friend.example":       false,
		"https://friend.example:8443": false,
		"https://evil.example":        false,
		"https://FRIEND.example":      false,
		"null":                        false,
		"*":                           false,
		"":                            false,
	} {
		var fields []string
		if origin != "" {
			fields = []string{"Origin", origin}
		}
		es := b.Listen(address, fields...)
		es.Hello()
		for kind, header := range map[string]interface{ Get(string) string }{
			"stream":    es.Answer().Header,
			"command":   b.Do("POST", address, "pull=x", fields...).Header,
			"preflight": b.Do("OPTIONS", address, "", fields...).Header,
		} {
			want, credentials := "", ""
			if allowed {
				want, credentials = origin, "true"
			}
			if got := header.Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("%s from %q: Allow-Origin %q", kind, origin, got)
			}
			if got := header.Get("Access-Control-Allow-Credentials"); got != credentials {
				t.Errorf("%s from %q: Allow-Credentials %q", kind, origin, got)
			}
			if got := header.Get("Vary"); got != "Origin" {
				t.Errorf("%s from %q: Vary %q, so a cache may mix up origins", kind, origin, got)
			}
		}
	}
}

func TestPreflight(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{Origins: []string{"https://friend.example"}})
	a := b.Do("OPTIONS", "/comet", "", "Origin", "https://friend.example",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
	if a.Status != 204 || a.Header.Get("Access-Control-Allow-Methods") != "GET, POST" ||
		a.Header.Get("Access-Control-Allow-Headers") != "Comet-Process, Content-Type, Last-Event-ID" ||
		a.Header.Get("Allow") != "GET, HEAD, POST, OPTIONS" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	a = b.Do("OPTIONS", "/comet", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
	if a.Status != 204 || a.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("a foreign origin's: %d %v", a.Status, a.Header)
	}
}

// Without Origins nothing of CORS is said: that is then the app's own business.
func TestNoOrigins(t *testing.T) {
	b, _, _ := tabApp(t, middleware.Config{})
	a := b.Do("OPTIONS", "/comet", "", "Origin", "https://evil.example")
	for name := range a.Header {
		if len(name) > 14 && name[:14] == "Access-Control" || name == "Vary" {
			t.Errorf("%s: %s", name, a.Header.Get(name))
		}
	}
}
