package comettest

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A Browser is one person's: its tabs share cookies, and so a session. It has an
// address of its own, 192.0.2.x (in memory; on a port all are 127.0.0.1).
type Browser struct {
	app *App
	t   testing.TB
	ip  net.IP
	jar http.CookieJar

	transport *http.Transport
	mu        sync.Mutex
	routes    map[string]string // host and port, as asked: where it goes
}

var lastIP atomic.Int64

// Browser returns a browser without cookies, whose addresses begin at the app.
func (a *App) Browser() *Browser {
	b := &Browser{app: a, t: a.t, ip: net.IPv4(192, 0, 2, byte(2+lastIP.Add(1)%250)), routes: map[string]string{}}
	b.transport = &http.Transport{DialContext: b.dial}
	b.Forget()
	a.t.Cleanup(b.transport.CloseIdleConnections)
	return b
}

func (b *Browser) dial(ctx context.Context, network, address string) (net.Conn, error) {
	b.mu.Lock()
	if to, ok := b.routes[address]; ok {
		address = to
	}
	b.mu.Unlock()
	if host, _, _ := net.SplitHostPort(address); strings.HasSuffix(host, ".test") {
		return dial(ctx, address, b.ip)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Route has what the browser asks of the app arrive at another one from its next
// connection on, as a load balancer sends a tab to another node: the page's
// origin and its cookies stay. Event streams that are open stay where they are;
// Cut them. Route to the browser's own app takes it back.
func (b *Browser) Route(to *App) {
	b.mu.Lock()
	b.routes[b.app.hostport()] = to.hostport()
	b.mu.Unlock()
	b.transport.CloseIdleConnections()
}

func (a *App) hostport() string {
	host := strings.TrimPrefix(a.origin, "http://")
	if a.memory {
		host += ":80"
	}
	return host
}

// App returns the app that the browser's paths are of.
func (b *Browser) App() *App { return b.app }

// Cookies returns the cookies that the app has set and not taken back.
func (b *Browser) Cookies() []*http.Cookie {
	u, _ := url.Parse(b.app.origin)
	return b.jar.Cookies(u)
}

// Forget clears all cookies.
func (b *Browser) Forget() { b.jar, _ = cookiejar.New(nil) }

// An Answer is what a request got, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   string

	// Uncompressed says that it came in gzip, which was undone.
	Uncompressed bool

	t   testing.TB
	was string // what was asked
}

// Want fails the test unless the answer has that status.
func (a Answer) Want(status int) Answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("comettest: %s: got %d %s, want %d; the answer:\n%s", a.was, a.Status, http.StatusText(a.Status), status, a.Body)
	}
	return a
}

// Cookie returns the cookie of that name that the answer sets, or nil.
func (a Answer) Cookie(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Find returns what the first group of the regular expression matches in the
// answer, as HTML: &amp; is &. It fails the test if there is no match.
//
//	tab.Connect(tab.Page.Find(`<meta name="comet" content="([^"]*)">`))
func (a Answer) Find(expression string) string {
	a.t.Helper()
	found := regexp.MustCompile(expression).FindStringSubmatch(a.Body)
	if len(found) < 2 {
		a.t.Fatalf("comettest: %s: the answer has nothing of %s:\n%s", a.was, expression, a.Body)
	}
	return html.UnescapeString(found[1])
}

// JSON decodes the answer into v. It fails the test if that is not possible.
func (a Answer) JSON(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.Body), v); err != nil {
		a.t.Fatalf("comettest: %s: %v in the answer:\n%s", a.was, err, a.Body)
	}
}

// Do sends a request and reads the answer. It follows no redirect. A path is the app's;
// fields alternates names and values of headers, Host among them. It fails the
// test if there is no answer.
func (b *Browser) Do(method, path, body string, fields ...string) Answer {
	b.t.Helper()
	return b.do(http.ErrUseLastResponse, method, path, body, fields)
}

func (b *Browser) do(redirect error, method, path, body string, fields []string) Answer {
	b.t.Helper()
	was := method + " " + path
	r, err := b.send(context.Background(), false, redirect, method, path, body, fields)
	if err != nil {
		b.t.Fatalf("comettest: %s: %v", was, err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatalf("comettest: %s: reading the answer: %v, after %q", was, err, data)
	}
	return Answer{r.StatusCode, r.Header, string(data), r.Uncompressed, b.t, was}
}

// send asks; anonymous is without cookies, and redirect what is said to one, nil
// for following it.
func (b *Browser) send(ctx context.Context, anonymous bool, redirect error, method, path, body string, fields []string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.absolute(path), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if http.CanonicalHeaderKey(fields[i]) == "Host" {
			r.Host = fields[i+1]
		}
		r.Header.Set(fields[i], fields[i+1])
	}
	client := http.Client{Transport: b.transport}
	if !anonymous {
		client.Jar = b.jar
	}
	if redirect != nil {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return redirect }
	}
	return client.Do(r)
}

// isOwn tells whether path is of the origin of the browser's pages.
func (b *Browser) isOwn(path string) bool {
	return strings.HasPrefix(b.absolute(path), b.app.origin+"/")
}

func (b *Browser) absolute(path string) string {
	if strings.HasPrefix(path, "/") {
		return b.app.origin + path
	}
	return path
}

// navigation is what a browser says when a person opens a page.
var navigation = []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none"}

// Get is a navigation, of which no tab is kept: see Open. It follows no redirect.
func (b *Browser) Get(path string, fields ...string) Answer {
	b.t.Helper()
	return b.Do(http.MethodGet, path, "", join(navigation, fields)...)
}

// Post submits a form as a page of the app would that has no client process: see
// Tab.Post.
func (b *Browser) Post(path string, form url.Values, fields ...string) Answer {
	b.t.Helper()
	return b.Do(http.MethodPost, path, form.Encode(), join([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Origin", b.app.origin,
		"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin",
	}, fields)...)
}

func join(a, b []string) []string { return append(a[:len(a):len(a)], b...) }
