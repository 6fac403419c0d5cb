package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPinRetry: the server says when to come back (rule 12), and how many ask it at once is its own affair: Chromium obeys any
// time, Firefox waits at least half a second.
func TestPinRetry(t *testing.T) {
	inWebKitToo(t, func(t *testing.T, in string) {
		least, most := time.Duration(0), 450*time.Millisecond
		if in == "firefox" {
			least, most = 490*time.Millisecond, patience
		}
		tab := newSessionIn(t, in).open("about:blank")
		tab.expect("")
		for _, field := range []string{"retry: 0\n\n", "retry: 1\n\n", "retry: 1\nretry: abc\nretry: -5\nretry: 2.5\n\n"} {
			t.Run(field, func(t *testing.T) {
				var mu sync.Mutex
				var ended time.Time
				var waits []time.Duration
				s := newScript(t, func(x *exchange) {
					if x.nth > 4 {
						x.hang()
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if x.nth == 1 {
						x.stream(field) // later ones do not say it again
					} else {
						waits = append(waits, time.Since(ended))
						x.stream("")
					}
					ended = time.Now()
				})
				tab.t = t
				tab.navigate(s.url)
				eval[any](tab, `listen()`)
				tab.until(`log.filter(line => line === "open").length === 4`)
				mu.Lock()
				defer mu.Unlock()
				shortest := min(waits[0], waits[1], waits[2])
				if t.Logf("%s came back after %v", in, waits); shortest < least || shortest > most {
					t.Errorf("the shortest wait is %v, want from %v to %v", shortest, least, most)
				}
			})
		}
	})
}

// TestPinRefused: a page comes through a restart of its own server by itself. From another origin's Firefox does not come
// back after a refused connection, so that pages of External channels need the README's lines.
func TestPinRefused(t *testing.T) {
	inWebKitToo(t, func(t *testing.T, in string) {
		tab := newSessionIn(t, in).open("about:blank")
		tab.expect("")
		for _, foreign := range []bool{false, true} {
			t.Run(fmt.Sprintf("foreign=%v", foreign), func(t *testing.T) {
				s := newScript(t, func(x *exchange) {
					x.stream("retry: 1\nid: a\ndata: 1\n\n", "Access-Control-Allow-Origin: *")
					x.hang()
				})
				home := s
				if foreign {
					home = newScript(t, nil)
				}
				tab.t = t
				tab.navigate(home.url)
				eval[any](tab, fmt.Sprintf(`listen(%q)`, s.url+"/stream"))
				tab.until(`log.length === 2`)
				s.refuse()
				s.hangUp()
				if foreign && in == "firefox" {
					tab.until(`source.readyState === 2`)
					return
				}
				tab.until(`log.filter(line => line.startsWith("error")).length > 2`)
				s.listen()
				tab.until(`source.readyState === 1`)
			})
		}
	})
}

// TestPinRefusedAtFirst: the same for a page that is there before its server's event streams.
func TestPinRefusedAtFirst(t *testing.T) {
	inWebKitToo(t, func(t *testing.T, in string) {
		s := newScript(t, func(x *exchange) { x.back() })
		tab := newSessionIn(t, in).open(s.url)
		tab.expect("")
		s.refuse()
		eval[any](tab, `listen()`)
		tab.until(`log.length > 0`)
		s.listen()
		tab.until(`log.at(-1) === 'message "back with none"'`)
	})
}

// TestPinRedirect: after a temporary redirect Chromium comes back to where it was sent, Firefox to where it was told to go,
// and WebKit so after any. So Comet answers event streams itself and never redirects them: the URL holds what is heard.
func TestPinRedirect(t *testing.T) {
	var pins []pin
	for _, line := range []string{"301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"} {
		final := []string{"open", `message "/moved"`, cut, "open", `message "/moved"`}
		again := []string{"open", `message "/moved"`, cut, "open", `message "/stream"`}
		differ := map[string][]string{"firefox": again, "webkit": again}
		if strings.Contains(line, "Permanent") {
			delete(differ, "firefox")
		}
		pins = append(pins, pin{name: line, want: final, differ: differ, answer: func(x *exchange) {
			switch {
			case x.nth == 1:
				x.status(line, "Location: /moved?"+x.URL.RawQuery, "Content-Length: 0")
			case x.nth == 2:
				x.stream("retry: 1\n\ndata: " + x.URL.Path + "\n\n")
			default:
				x.stream("data: " + x.URL.Path + "\n\n")
				x.hang()
			}
		}})
	}
	check(t, pins)
}

// TestPinCookies: a cookie that came with the event stream goes with the reconnect.
func TestPinCookies(t *testing.T) {
	check(t, []pin{{name: "set by the event stream", answer: func(x *exchange) {
		x.stream("retry: 1\n\ndata: "+x.Header.Get("Cookie")+"\n\n", "Set-Cookie: fresh=yes; HttpOnly; SameSite=Lax")
		if x.nth > 1 {
			x.hang()
		}
	}, want: []string{"open", `message "lax=yes"`, cut, "open", `message "lax=yes; fresh=yes"`}}})
}

// TestPinOrigins: what reaches another instance (rule 17). Same-site pages of another origin bring Lax cookies if they ask
// for credentials and are named; cross-site ones bring none; a reconnect needs no preflight for its Last-Event-ID.
func TestPinOrigins(t *testing.T) {
	named := func(origin string) []string {
		return []string{"Access-Control-Allow-Origin: " + origin, "Access-Control-Allow-Credentials: true"}
	}
	const credentials = `{ withCredentials: true }`
	cases := []struct {
		name    string
		site    string // of the page; the stream is at localhost
		options string
		allow   func(origin string) []string
		want    []string
	}{
		{"same site, credentials", "localhost", credentials, named, []string{"open", `message "cookie lax=yes, id "`, cut, "open", `message "cookie lax=yes, id é" #é`}},
		{"same site, no credentials", "localhost", `{}`, named, []string{"open", `message "cookie , id "`, cut, "open", `message "cookie , id é" #é`}},
		{"cross-site, credentials", "127.0.0.1", credentials, named, []string{"open", `message "cookie , id "`, cut, "open", `message "cookie , id é" #é`}},
		{"credentials and any origin", "127.0.0.1", credentials, func(string) []string { return named("*") }, []string{dead}},
		{"any origin", "127.0.0.1", `{}`, func(string) []string { return named("*") }, []string{"open", `message "cookie , id "`, cut, "open", `message "cookie , id é" #é`}},
		{"no origin", "127.0.0.1", `{}`, func(string) []string { return nil }, []string{dead}},
		{"another origin", "127.0.0.1", `{}`, func(string) []string { return named("https://example.com") }, []string{dead}},
	}
	inWebKitToo(t, func(t *testing.T, in string) {
		tab := newSessionIn(t, in).open(strings.Replace(newScript(t, nil).url, "127.0.0.1", "localhost", 1)) // for its cookie
		tab.expect("")
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				s := newScript(t, func(x *exchange) {
					if x.Method != "GET" {
						t.Errorf("the browser asks before, by %s", x.Method)
					}
					x.stream(fmt.Sprintf("retry: 1\n\ndata: cookie %s, id %s\n\nid: é\n", x.Header.Get("Cookie"), x.Header.Get("Last-Event-ID")),
						c.allow(x.Header.Get("Origin"))...)
					if x.nth == 1 {
						x.say("event: unheard\ndata\n\n")
						return
					}
					x.hang()
				})
				home := newScript(t, nil)
				at := func(s *script, host string) string { return strings.Replace(s.url, "127.0.0.1", host, 1) }
				tab.t = t
				tab.navigate(at(home, c.site))
				eval[any](tab, fmt.Sprintf(`listen(%q, %s)`, at(s, "localhost")+"/stream", c.options))
				tab.until(fmt.Sprintf(`log.length >= %d`, len(c.want)))
				if got := eval[[]string](tab, `log`); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("in %s the page heard\n%q, want\n%q", in, got, c.want)
				}
			})
		}
	})
}

// TestPinSixConnections: six event streams take all connections that a browser opens to an origin over HTTP/1.1. The seventh
// waits without an error, and so does every other request. This is why tabs share one (rule 3).
func TestPinSixConnections(t *testing.T) {
	inWebKitToo(t, func(t *testing.T, in string) {
		s := newScript(t, func(x *exchange) {
			x.stream("data: go on\n\n")
			x.hang()
		})
		other := newScript(t, func(x *exchange) { x.back() })
		tab := newSessionIn(t, in).open(s.url)
		tab.expect("")
		eval[any](tab, `(window.sources = [...Array(8).keys()].map(() => new EventSource("/stream")), sources.forEach(s => s.onerror = () => log.push("error")))`)
		open := `sources.filter(s => s.readyState === 1).length`
		tab.until(open + ` === 6`)
		eval[any](tab, `(fetch("/elsewhere").then(() => log.push("fetched")), 0)`)
		// Whoever waits is not held up by the rest of the world: another origin answers meanwhile.
		second := newSessionIn(t, in).open(other.url)
		eval[any](second, `listen()`)
		second.until(`log.length === 2`)
		if n, said := eval[int](tab, open), eval[[]string](tab, `log`); n != 6 || len(said) > 0 || s.asked() != 6 {
			t.Errorf("%d of 8 event streams are open, the server was asked for %d, the page heard %q; want 6 and nothing", n, s.asked(), said)
		}
		eval[any](tab, `(sources.filter(s => s.readyState === 1).slice(0, 3).forEach(s => s.close()), 0)`)
		tab.until(`log[0] === "fetched" && sources.filter(s => s.readyState === 1).length === 5`)
	})
}

// TestPinBackForward: Chromium keeps a page with an open event stream for the way back, and the stream goes on; WebKit keeps
// the page and cuts the stream, which comes back by itself. One that was closed in pagehide is still closed then, and pageshow
// must open it; WebKit opens it again all the same. Firefox does not keep such a page.
func TestPinBackForward(t *testing.T) {
	inEachBrowser(t, func(t *testing.T, in string) {
		s := newScript(t, func(x *exchange) {
			x.stream("retry: 1\n\ndata: 1\n\n")
			x.hang()
		})
		tab := newSessionIn(t, in).open(s.url)
		eval[any](tab, `(listen(), addEventListener("pageshow", e => log.push("persisted " + e.persisted)))`)
		tab.until(`log.length === 2`)
		tab.navigate(s.url + "/elsewhere")
		tab.back()
		if in == "firefox" {
			tab.until(`typeof log === "object" && log.length === 0 && !source`) // the page is a new one
			return
		}
		want, asked := []string{"open", `message "1"`, "persisted true"}, 1
		if in == "webkit" {
			want, asked = append(want, cut, "open", `message "1"`), 2
		}
		tab.until(fmt.Sprintf(`typeof log === "object" && log.length >= %d`, len(want)))
		if got := eval[[]string](tab, `log`); !slices.Equal(got, want) || s.asked() != asked {
			t.Errorf("the kept page heard %q and asked %d times; want %q and %d", got, s.asked(), want, asked)
		}
		eval[any](tab, `addEventListener("pagehide", () => source.close())`)
		tab.navigate(s.url + "/elsewhere")
		tab.back()
		tab.until(`typeof log === "object" && log.filter(line => line === "persisted true").length === 2`)
		if in == "webkit" {
			tab.until(`source.readyState === 1`)
			eval[any](tab, `addEventListener("pagehide", () => source.onerror = source.close)`) // as the README says
			tab.navigate(s.url + "/elsewhere")
			tab.back()
			tab.until(`typeof log === "object" && log.filter(line => line === "persisted true").length === 3 && log.at(-1).startsWith("error")`)
			if state := eval[int](tab, `source.readyState`); state != 2 {
				t.Errorf("a source whose onerror closes it has readyState %d, want 2", state)
			}
		} else if state := eval[int](tab, `source.readyState`); state != 2 {
			t.Errorf("a source that was closed in pagehide has readyState %d in pageshow, want 2", state)
		}
	})
}

// TestPinFrozen: a frozen page (Chromium freezes tabs in the background) hears nothing and keeps its connection; all of it
// comes when it thaws. For the server such a tab is a slow reader (rule 5).
func TestPinFrozen(t *testing.T) {
	inShell(t)
	more, said := make(chan struct{}), make(chan struct{})
	s := newScript(t, func(x *exchange) {
		x.stream("data: 0\n\n")
		<-more
		for i := range 30 {
			x.say(fmt.Sprintf("data: %d\n\n", i+1))
		}
		close(said)
		x.hang()
	})
	tab := newSession(t).open(s.url)
	eval[any](tab, `listen()`)
	tab.until(`log.length === 2`)
	tab.lifecycle("frozen")
	close(more)
	<-said
	time.Sleep(300 * time.Millisecond) // long enough for what must not happen
	if n := eval[int](tab, `log.length`); n != 2 {
		t.Errorf("a frozen page heard %d lines, want the 2 from before", n)
	}
	tab.lifecycle("active")
	tab.until(`log.length === 32 && source.readyState === 1`)
}
