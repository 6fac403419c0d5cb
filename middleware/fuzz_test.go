package middleware_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

const friend = "https://friend.example"

// A target is an app that fuzzers write to as strangers do: in memory, through the
// whole of Fiber.
type target struct {
	ln      *fasthttputil.InmemoryListener
	site    *scope.Site
	storage shelf
	token   string // of a page that stands
	cookie  string // its session
	address string // its event stream, with a site channel and an inbox
}

func newTarget(f *testing.F) *target {
	// Who has hung up in memory is missed with the heartbeat: until then it counts.
	site := newSite(f, scope.SiteConfig{
		Heartbeat: time.Second, MaxSessionStreams: 100_000, MaxStreams: 100_000, MaxProcesses: 100_000, MaxSessions: 100_000,
		ConnectWithin: 24 * time.Hour, ReturnWithin: 24 * time.Hour, MaxCommandRate: 1e6, MaxSessionCommandRate: 1e6,
	})
	t := &target{ln: fasthttputil.NewInmemoryListener(), site: site}
	chat, put := channelOf(f, site, "chat")
	put("hello")
	_, err := scope.Receive(site, scope.InboxSpec{Name: "votes", Rate: 1e6, Burst: 1e6, Take: func(_ context.Context, s scope.Sent) (int, error) {
		for _, v := range s.Values {
			if !utf8.Valid(v) {
				panic("an inbox was given what is not UTF-8")
			}
		}
		return len(s.Values), nil
	}})
	if err != nil {
		f.Fatal(err)
	}
	app := newApp(fiber.Config{ErrorHandler: func(c *fiber.Ctx, err error) error {
		var known *fiber.Error
		if !errors.As(err, &known) {
			panic(fmt.Sprintf("a request made the app fail: %v", err))
		}
		return fiber.DefaultErrorHandler(c, err)
	}})
	app.Use(middleware.New(middleware.Config{Site: site, Storage: &t.storage, Origins: []string{friend}}))
	app.Get("/", func(c *fiber.Ctx) error {
		p, err := middleware.ClientProcess(c)
		if err != nil {
			return err
		}
		if _, err := scope.Register(p, scope.Spec{Name: "mine"}); err != nil && !errors.Is(err, scope.ErrNameTaken) {
			return err
		}
		address, err := middleware.Open(c, chat)
		if err != nil {
			return err
		}
		return c.SendString(p.Token() + " " + address)
	})
	app.All("/doctor", middleware.Doctor())
	served := make(chan error, 1)
	go func() { served <- app.Listener(t.ln) }()
	f.Cleanup(func() {
		shutdown(f, site) // first: in memory the app waits for its event streams
		if err := errors.Join(app.ShutdownWithTimeout(patience), <-served); err != nil {
			f.Error(err)
		}
	})
	page, body := t.ask(f, "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n")
	var ok bool
	if t.token, t.address, ok = strings.Cut(body, " "); !ok {
		f.Fatalf("the page: %s", body)
	}
	t.cookie = page.Cookies()[0].Value
	return t
}

// ask writes one request and reads its answer; of an event stream the first event.
func (t *target) ask(f testing.TB, request string) (*http.Response, string) {
	f.Helper()
	conn, err := t.ln.Dial()
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }() // the server may answer before it has read all
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		f.Fatalf("%.200q was answered with what is no response: %v", request, err)
	}
	if resp.Header.Get("Content-Type") == "text/event-stream" && method != "HEAD" {
		return resp, first(f, resp.Body) // which is not closed: that would read on to the end
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatalf("%.200q: reading the answer: %v", request, err)
	}
	return resp, string(body)
}

// first returns an event stream's first event as "NAME DATA", and checks what holds of
// any.
func first(f testing.TB, body io.Reader) string {
	f.Helper()
	e, err := sse.NewReader(body).Next()
	if err == io.EOF {
		return ""
	}
	if err != nil {
		f.Fatalf("the event stream: %v", err)
	}
	if !json.Valid(e.Data) || !utf8.Valid(e.Data) {
		f.Errorf("%s has the data %q", e.Name, e.Data)
	}
	if len(e.ID) > 512 {
		f.Errorf("an id of %d bytes", len(e.ID))
	}
	return e.Name + " " + string(e.Data)
}

// field makes a header line of a value; what a client could not write is left out.
var controls = regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f]`)

func field(name, value string) string {
	if value == "" || controls.MatchString(value) { // newer versions of fasthttp refuse them before Comet sees anything
		return ""
	}
	return name + ": " + value + "\r\n"
}

// target is a request's: a path and query that a client could write.
func targetOf(path, query string) string {
	return path + "?" + regexp.MustCompile(`[\x00-\x20\x7f#]`).ReplaceAllStringFunc(query, url.QueryEscape)
}

// said are the header names that an answer may have.
var said = []string{
	"Access-Control-Allow-Credentials", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin",
	"Access-Control-Max-Age", "Allow", "Cache-Control", "Connection", "Content-Length", "Content-Type", "Date", "Retry-After", "Set-Cookie",
	"Transfer-Encoding", "Vary", "X-Accel-Buffering",
}

// checkAnswer checks what holds of every answer of the endpoint.
func (t *target) checkAnswer(f *testing.T, method, origin, query, cookie string, resp *http.Response, body string) {
	f.Helper()
	documented := map[string][]int{
		"GET": {200, 204}, "HEAD": {200}, "OPTIONS": {204},
		"POST": {200, 400, 403, 409, 410, 413, 422, 429, 503},
	}[method]
	if documented == nil {
		documented = []int{404, 405}
		if resp.StatusCode == 400 && body == "Invalid http method" {
			return // Fiber's own, before any handler
		}
	}
	if !slices.Contains(documented, resp.StatusCode) {
		f.Errorf("%s is answered %d %s", method, resp.StatusCode, body)
	}
	for name := range resp.Header {
		if !slices.Contains(said, name) {
			f.Errorf("the answer has a header %s", name)
		}
	}
	if allowed := resp.Header.Get("Access-Control-Allow-Origin"); allowed != "" && (allowed != friend || origin != friend) {
		f.Errorf("origin %q is told that %q may read", origin, allowed)
	}
	if cookies := resp.Cookies(); len(cookies) > 0 && (cookies[0].Name != "comet" || !cookies[0].HttpOnly || cookies[0].Value != t.cookie) {
		f.Errorf("a cookie was set: %v", cookies)
	}
	switch {
	case method == "POST":
		var reply struct{ State, Error string }
		if err := json.Unmarshal([]byte(body), &reply); err != nil || (reply.State == "") == (reply.Error == "") || len(body) > 4096 {
			f.Errorf("a command is answered %.200q: %v", body, err)
		}
		if (reply.Error == "") != (resp.StatusCode == 200) || resp.Header.Get("Cache-Control") != "no-store" ||
			resp.Header.Get("Content-Type") != "application/json" {
			f.Errorf("a command is answered %d %v %s", resp.StatusCode, resp.Header, body)
		}
	case method == "GET" && resp.StatusCode == 200:
		name, data, _ := strings.Cut(body, " ")
		if body != "" && !slices.Contains([]string{"comet:hello", "comet:end"}, name) {
			f.Errorf("an event stream begins with %s", body)
		}
		if strings.Contains(data, t.token) && cookie != t.cookie {
			f.Errorf("a process was told to whom it is not: %s", body)
		}
	}
}

// FuzzRequest: whatever a request says, its answer is one of those that the docs name,
// in the form that they have there; it repeats nothing into a header, and tells nobody's
// process to another.
func FuzzRequest(f *testing.F) {
	t := newTarget(f)
	_, own, _ := strings.Cut(t.address, "?")
	f.Add("GET", own, t.cookie, "", "", "", "")
	f.Add("GET", own+"&wait=no", "", "_abc~0.1", "", "same-origin", "")
	f.Add("GET", "v=1&c=chat@-3&after=!", "x", "!", friend, "cross-site", "")
	f.Add("GET", "v=2&v=1", t.cookie, "~~*", "https://evil.example", "cross-site", "")
	f.Add("POST", own, t.cookie, "", "", "same-origin", "register=chat@-1")
	f.Add("POST", own, t.cookie, "", "https://evil.example", "", "close=chat")
	f.Add("POST", own, t.cookie, "", "", "", "send=votes&value=1&value=2&n=1")
	f.Add("POST", own, t.cookie, "", "", "", "attach="+t.token+".0&comet="+t.token)
	f.Add("OPTIONS", "", "", "", friend, "", "")
	f.Add("HEAD", own, "", "", "", "", "")
	f.Add("PUT", own, "", "", "", "", "x")
	f.Fuzz(func(tt *testing.T, method, query, cookie, last, origin, site, body string) {
		if !regexp.MustCompile(`^[A-Z]{1,10}$`).MatchString(method) || method == "CONNECT" || method == "TRACE" {
			return
		}
		headers := "Host: app.example\r\n" + field("Cookie", "comet="+cookie) + field("Last-Event-ID", last) + field("Origin", origin) + field("Sec-Fetch-Site", site)
		if method != "GET" && method != "HEAD" {
			headers += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		} else {
			body = ""
		}
		line := method + " " + targetOf("/comet", query) + " HTTP/1.1\r\n"
		if len(line)+len(headers) > 4000 || len(body) > 100<<10 { // Fiber's own bound, answered by fasthttp
			return
		}
		resp, answer := t.ask(tt, line+headers+"\r\n"+body)
		origin, cookie = strings.Trim(origin, " \t"), strings.Trim(cookie, " \t")
		if cookie, _, _ = strings.Cut(cookie, ";"); strings.Trim(cookie, ` "`) == t.cookie {
			cookie = t.cookie
		}
		t.checkAnswer(tt, method, origin, query, cookie, resp, answer)
	})
}

// FuzzCommand: whatever the body of a command says, it is done or refused in JSON, and
// never the server's fault.
func FuzzCommand(f *testing.F) {
	t := newTarget(f)
	for _, body := range []string{
		"register=chat", "register=mine@-1", "register=chat@k2x9.1z", "close=mine", "close=nothing", "pull=mine", "pull=chat&n=1", "pull=x&n=18446744073709551615",
		"send=votes&value=1", "send=votes&value=%22a%22&n=1", "send=votes", "send=votes&value=%ff", "send=nothing&value=1", "attach=" + t.token,
		"attach=" + t.token + ".0", "attach=abcdefghijklmnopqrstuv.zz", "detach=" + t.token, "register=a&close=b", "comet=" + t.token, "",
		"register=chat&comet=" + t.token, "register=chat&comet=x", "%zz", "a;b", "send=votes&value=" + strings.Repeat("1", 17<<10),
	} {
		f.Add(body, "application/x-www-form-urlencoded")
	}
	f.Add("--x\r\n\r\n--x--", "multipart/form-data; boundary=x")
	f.Fuzz(func(tt *testing.T, body, kind string) {
		if len(kind) > 500 {
			return
		}
		resp, answer := t.ask(tt, "POST "+t.address+" HTTP/1.1\r\nHost: app.example\r\nCookie: comet="+t.cookie+"\r\n"+
			field("Content-Type", kind)+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))+body)
		if resp.StatusCode == 400 && strings.HasPrefix(answer, "cannot read multipart/form-data body") {
			return // Fiber's own, before any handler
		}
		t.checkAnswer(tt, "POST", "", "", t.cookie, resp, answer)
		form, err := url.ParseQuery(body)
		if resp.StatusCode == 200 && (err != nil || len(body) > 64<<10) {
			tt.Errorf("done, and is no command: %q", body)
		}
		if n := len(form["send"]) + len(form["attach"]) + len(form["detach"]) + len(form["register"]) + len(form["close"]) + len(form["pull"]); resp.StatusCode == 200 && n != 1 {
			tt.Errorf("done, with %d commands: %q", n, body)
		}
	})
}

// FuzzCookie: whatever cookies a page is asked for with, it is given; its session is one
// that Comet names, and nothing that a stranger wrote is a key in the storage.
func FuzzCookie(f *testing.F) {
	t := newTarget(f)
	f.Add("comet=" + t.cookie)
	f.Add("comet=; comet=" + t.cookie)
	f.Add(`a=b; comet="` + t.cookie + `"`)
	f.Add("comet=AAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("comet=../../etc/passwd; =; ;;")
	key := regexp.MustCompile(`^comet:comet:[A-Za-z0-9_-]{22}$`)
	f.Fuzz(func(tt *testing.T, cookies string) {
		if len(cookies) > 3000 {
			return
		}
		resp, body := t.ask(tt, "GET / HTTP/1.1\r\nHost: app.example\r\n"+field("Cookie", cookies)+"\r\n")
		if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" {
			tt.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
		}
		set := resp.Cookies()
		if len(set) > 1 {
			tt.Fatalf("cookies: %v", set)
		}
		for _, c := range set {
			raw, err := base64.RawURLEncoding.DecodeString(c.Value)
			if c.Name != "comet" || err != nil || len(raw) != 16 || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
				tt.Errorf("cookie %v", c)
			}
			name, _, _ := strings.Cut(body, " ")
			_, address, _ := strings.Cut(body, " ")
			_, hello := t.ask(tt, "GET "+address+" HTTP/1.1\r\nHost: app.example\r\nCookie: comet="+c.Value+"\r\n\r\n")
			if !strings.Contains(hello, name) {
				tt.Errorf("its own session does not hear the process %s: %s", name, hello)
			}
		}
		for _, k := range t.storage.keys() {
			if !key.MatchString(k) {
				tt.Errorf("the storage has the key %q", k)
			}
			_ = t.storage.Delete(k) // the next cookie is a stranger's, too
		}
		for session := range t.site.Sessions() {
			t.site.EndSession(session)
		}
	})
}

// FuzzOrigin: a command is refused exactly when a page of another origin sent it.
func FuzzOrigin(f *testing.F) {
	t := newTarget(f)
	for _, origin := range []string{"", "null", friend, friend + ".evil.example", "https://app.example", "http://APP.example", "https://evil.example", "app.example", "://app.example", "https://app.example:443"} {
		for _, site := range []string{"", "same-origin", "same-site", "cross-site", "none", "Same-Origin"} {
			f.Add(origin, site, "app.example")
		}
	}
	f.Fuzz(func(tt *testing.T, origin, site, host string) {
		host = strings.Trim(host, " \t")
		if !regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]{1,5})?$`).MatchString(host) || strings.Contains(origin+site, "\t") || controls.MatchString(origin+site) || len(origin)+len(site)+len(host) > 2000 {
			return
		}
		resp, answer := t.ask(tt, "POST "+t.address+" HTTP/1.1\r\nHost: "+host+"\r\nCookie: comet="+t.cookie+"\r\n"+
			field("Origin", origin)+field("Sec-Fetch-Site", site)+"Content-Length: 13\r\n\r\nregister=chat")
		t.checkAnswer(tt, "POST", strings.Trim(origin, " \t"), "", t.cookie, resp, answer)
		origin, site = strings.Trim(origin, " \t"), strings.Trim(site, " \t")
		_, of, absolute := strings.Cut(origin, "://")
		own := site == "same-origin" || site == "none" || site == "" && (origin == "" || absolute && strings.EqualFold(of, host))
		if trusted := own || origin == friend; trusted == (resp.StatusCode == 403) {
			tt.Errorf("origin %q, Sec-Fetch-Site %q, host %q: %d %s", origin, site, host, resp.StatusCode, answer)
		}
	})
}

// FuzzToken: no token but the page's own reaches its process, and every other is
// answered as one that never was.
func FuzzToken(f *testing.F) {
	t := newTarget(f)
	f.Add(t.token)
	f.Add(t.token + ".1")
	f.Add(t.token[:21] + "A")
	f.Add(strings.ToUpper(t.token))
	f.Add("abcdefghijklmnopqrstuv")
	f.Fuzz(func(tt *testing.T, token string) {
		if len(token) > 1000 {
			return
		}
		own, number, placed := strings.Cut(token, ".")
		own, is := url.QueryEscape(token), own == t.token
		_, hello := t.ask(tt, "GET /comet?v=1&p="+own+"&c=chat HTTP/1.1\r\nHost: app.example\r\nCookie: comet="+t.cookie+"\r\n\r\n")
		if told := strings.HasPrefix(hello, "comet:hello") && strings.Contains(hello, t.token); told && !is {
			tt.Errorf("token %q hears %s", token, hello)
		}
		resp, answer := t.ask(tt, "POST /comet?v=1&p="+own+" HTTP/1.1\r\nHost: app.example\r\nCookie: comet="+t.cookie+"\r\nContent-Length: 12\r\n\r\nclose=nobody")
		t.checkAnswer(tt, "POST", "", "", t.cookie, resp, answer)
		if gone := strings.Contains(answer, "no such client process"); resp.StatusCode == 410 && gone == is {
			tt.Errorf("token %q (place %q %v): %s", token, number, placed, answer)
		}
		if resp.StatusCode == 200 {
			tt.Errorf("token %q closed what is not there: %s", token, answer)
		}
	})
}

// FuzzDoctor: whatever the doctor is asked or told, it answers, and repeats nothing as
// markup.
func FuzzDoctor(f *testing.F) {
	t := newTarget(f)
	f.Add("", "", "")
	f.Add("probe=a&phase=ticks", "", "x")
	f.Add("probe=a&phase=none", "", "")
	f.Add("seen=1", "", "<script>")
	f.Add("left=x", "", "")
	f.Add("", `{"status":200,"header":{"Content-Type":"text/event-stream"},"seen":{"heartbeat":1},"ticks":[{"sent":1e308,"heard":-1e308}],"idle":{}}`, "")
	f.Add("command=1", "pull=x", "")
	f.Fuzz(func(tt *testing.T, query, body, via string) {
		if len(query)+len(via) > 2500 || len(body) > 100<<10 {
			return
		}
		method := "GET"
		if body != "" {
			method = "POST"
		}
		resp, answer := t.ask(tt, method+" "+targetOf("/doctor", query)+" HTTP/1.1\r\nHost: app.example\r\n"+field("Via", via)+field("Last-Event-ID", via)+
			fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))+body)
		if !slices.Contains([]int{200, 400, 503}, resp.StatusCode) {
			tt.Fatalf("%d %s", resp.StatusCode, answer)
		}
		switch kind := resp.Header.Get("Content-Type"); {
		case kind == "application/json" && !json.Valid([]byte(answer)):
			tt.Errorf("no JSON: %q", answer)
		case strings.HasPrefix(kind, "text/html") && (method == "POST" || !strings.HasPrefix(answer, "<!doctype html>") || via != "" && len(via) > 20 && strings.Contains(answer, via)):
			tt.Errorf("a page that is not the doctor's: %.200q", answer)
		}
	})
}

// FuzzWire: bytes that may be no request at all end in an answer below 500, or in none;
// and the server goes on.
func FuzzWire(f *testing.F) {
	t := newTarget(f)
	f.Add([]byte("GET " + t.address + " HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("GET " + t.address + " HTTP/1.0\r\n\r\n"))
	f.Add([]byte("POST " + t.address + " HTTP/1.1\r\nHost: a\r\nCookie: comet=" + t.cookie + "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nclose\r\n3\r\n=xy\r\n0\r\n\r\n"))
	f.Add([]byte("GET /comet?v=1&c=chat HTTP/1.1\r\nHost: a\r\nLast-Event-ID: \xff\r\nAccept-Encoding: gzip, zstd;q=0\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(tt *testing.T, data []byte) {
		conn, err := t.ln.Dial()
		if err != nil {
			tt.Fatal(err)
		}
		defer conn.Close()
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = conn.Write(data)
			if half, ok := conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		}()
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // a request that is not whole is waited for
		got := make([]byte, 12)
		n, err := io.ReadFull(conn, got)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() || n == 0 {
			return
		}
		if !bytes.HasPrefix(got, []byte("HTTP/1.")) || got[9] > '4' {
			tt.Errorf("%q is answered %q", data, got[:n])
		}
	})
}
