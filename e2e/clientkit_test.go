package e2e

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// A room is an app whose pages use comet.js: a site channel chat, and for each tab a private channel mine and an unlimited
// one, count, which tells how often it was read. /public is a page without a client process.
type room struct {
	t     *testing.T
	site  *scope.Site
	app   *fiber.App
	posts *channel.Sender[string]
	more  []scope.Ref // site channels besides, which pages with a client process hear
	addr  string
	ended chan error

	mu   sync.Mutex
	tabs map[string]*roomTab // by token
}

// A roomTab is the server's side of one page.
type roomTab struct {
	process *scope.ClientProcess
	mine    *channel.Sender[string]
	reads   atomic.Int64
}

func newRoom(t *testing.T, config comet.SiteConfig) *room { return newRoomOf(t, config, 20) }

// newRoomOf keeps so many messages.
func newRoomOf(t *testing.T, config comet.SiteConfig, size int) *room {
	t.Helper()
	r := &room{t: t, site: comet.NewSite(config), tabs: map[string]*roomTab{}, ended: make(chan error, 1)}
	posts, stream := channel.Push[string]()
	chat, err := channel.Create(r.site, stream, channel.Config{Name: "chat", Size: size})
	if err != nil {
		t.Fatal(err)
	}
	r.posts = posts
	r.app = fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: readWithin})
	r.app.Use(comet.New(comet.Config{Site: r.site, Retry: 200 * time.Millisecond}))
	r.app.Get("/", func(c *fiber.Ctx) error {
		tab, err := r.tab(c)
		if err != nil {
			return err
		}
		return r.page(c, tab.process.Token(), append([]scope.Ref{chat}, r.more...)...)
	})
	r.app.Get("/public", func(c *fiber.Ctx) error { return r.page(c, "", chat.History(1)) })
	r.app.Get("/blank", func(c *fiber.Ctx) error {
		c.Type("html")
		return c.SendString(`<!doctype html><link rel="icon" href="data:,">`)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = listener.Addr().String()
	go func() { r.ended <- r.app.Listener(listener) }()
	t.Cleanup(r.stop)
	return r
}

// add has the pages that are loaded from now on hear another site channel.
func (r *room) add(stream *channel.Stream[string], config channel.Config) *channel.Channel[string] {
	r.t.Helper()
	added, err := channel.Create(r.site, stream, config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.more = append(r.more, added)
	return added
}

// unlisted makes a site channel that no page's URL names, and which has these values.
func (r *room) unlisted(name string, values ...string) *channel.Sender[string] {
	r.t.Helper()
	sender, stream := channel.Push[string]()
	if _, err := channel.Create(r.site, stream, channel.Config{Name: name}); err != nil {
		r.t.Fatal(err)
	}
	for _, value := range values {
		if err := sender.Send(r.t.Context(), value); err != nil {
			r.t.Fatal(err)
		}
	}
	return sender
}

// stop ends the room in order: its event streams are told to come back.
func (r *room) stop() {
	if r.ended == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.site.Shutdown(ctx); err != nil {
		r.t.Error(err)
	}
	if err := r.app.ShutdownWithContext(ctx); err != nil {
		r.t.Error(err)
	}
	if err := <-r.ended; err != nil {
		r.t.Error(err)
	}
	r.ended = nil
}

func (r *room) tab(c *fiber.Ctx) (*roomTab, error) {
	p, err := comet.ClientProcess(c)
	if err != nil {
		return nil, err
	}
	tab := &roomTab{process: p}
	sender, mine := channel.Push[string]()
	tab.mine = sender
	count := channel.From(func(context.Context) (int64, error) { return tab.reads.Add(1), nil })
	if _, err := channel.Create(p, mine, channel.Config{Name: "mine"}); err != nil {
		return nil, err
	}
	if _, err := channel.CreateUnlimited(p, count, channel.UnlimitedConfig{Name: "count"}); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tabs[p.Token()] = tab
	return tab, nil
}

// page has what a test needs at hand: lib, connect, and what hear heard.
func (r *room) page(c *fiber.Ctx, token string, refs ...scope.Ref) error {
	address, err := comet.Open(c, refs...)
	if err != nil {
		return err
	}
	script, err := comet.Scripts(c)
	if err != nil {
		return err
	}
	if c.Context().QueryArgs().Has("shared") {
		script += "comet-shared.js"
	} else {
		script += "comet.js"
	}
	c.Type("html", "utf-8")
	return c.SendString(fmt.Sprintf(`<!doctype html><link rel="icon" href="data:,"><meta name="comet" content="%s"><meta name="token" content="%s"><script>
		window.sources = []; // every EventSource of the page
		window.EventSource = class extends EventSource { constructor(...args) {
			super(...args);
			sources.push(this);
			this.addEventListener("comet:hello", () => this.helloAt ??= Date.now());
		} };
		addEventListener("pagehide", () => localStorage.leftAt = Date.now());
	</script><script type="module">
		import * as lib from "%s";
		const named = name => document.querySelector("meta[name=" + name + "]").content, url = named("comet");
		Object.assign(window, { lib, url, token: named("token"), heard: {}, failed: {}, states: [] });
		window.begin = (options, ...names) => {
			window.comet = lib.connect(url, { retry: [50, 500], ...options });
			comet.addEventListener("state", e => states.push(e.detail));
			comet.addEventListener("error", e => failed[""] = e.error.name + " " + e.error.reason);
			for (const name of names) hear(name);
		};
		// hear loops over a channel, again after it was full.
		window.hear = async name => {
			heard[name] ??= [];
			try {
				for await (const value of comet.channel(name)) heard[name].push(value);
				failed[name] = "end";
			} catch (e) {
				failed[name] = e.name + " " + e.reason;
				if (e instanceof lib.ChannelFull && e.resume) hear(name);
			}
		};
		// Headless pages are never hidden by themselves.
		window.hide = hidden => {
			Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
			document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
		};
		window.ready = true;
	</script>`, html.EscapeString(address), token, script))
}

func (r *room) say(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if err := r.posts.Send(context.Background(), text); err != nil {
			r.t.Fatal(err)
		}
	}
}

// of returns the server's side of a page.
func (r *room) of(tab *tab) *roomTab {
	r.t.Helper()
	return r.owner(eval[string](tab, `token`))
}

// owner returns it by the page's token.
func (r *room) owner(token string) *roomTab {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tabs[token] == nil {
		r.t.Fatal("the page has no client process")
	}
	return r.tabs[token]
}

func (tab *roomTab) send(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := tab.mine.Send(context.Background(), text); err != nil {
			t.Fatal(err)
		}
	}
}

// A gate stands between browsers and the room that it is to lead to, on one address for as long as the test lasts.
type gate struct {
	t        *testing.T
	url      string
	addr     string
	to       atomic.Pointer[room]
	refuse   atomic.Int32 // so many requests for event streams get 503
	refused  atomic.Int32
	deaf     atomic.Int32  // of so many commands the answers are lost, after they were carried out
	silent   atomic.Bool   // nothing is passed on of what the room says
	passed   atomic.Int64  // how often the room has said something on an event stream, passed on or not
	keepable atomic.Bool   // forgets that pages must not be stored, so that the browser keeps them for the way back
	streams  atomic.Int32  // event streams that are open
	most     atomic.Int32  // at once, ever
	hanging  atomic.Bool   // a page is in hang
	letGo    chan struct{} // closed when it is to go on

	mu     sync.Mutex
	server *http.Server
	conns  map[net.Conn]struct{}
}

func newGate(t *testing.T, to *room) *gate {
	t.Helper()
	f := &gate{t: t, conns: map[net.Conn]struct{}{}, letGo: make(chan struct{})}
	f.to.Store(to)
	f.listen(reserve(t))
	t.Cleanup(f.down)
	return f
}

// up listens again, after down.
func (f *gate) up() { f.listen(f.addr) }

func (f *gate) listen(addr string) {
	f.t.Helper()
	listener := listenOn(f.t, addr)
	f.addr = listener.Addr().String()
	f.url = "http://" + f.addr
	server := &http.Server{Handler: f, ConnState: func(c net.Conn, state http.ConnState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch state {
		case http.StateNew:
			f.conns[c] = struct{}{}
		case http.StateClosed, http.StateHijacked:
			delete(f.conns, c)
		}
	}}
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	go func() { _ = server.Serve(listener) }() // it ends by down
}

// cut breaks every connection of the browsers.
func (f *gate) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
}

// down has the browsers' connections cut, and new ones refused.
func (f *gate) down() {
	f.server.Close()
	f.cut()
}

// perRequest leaves no idle connections behind, for which an app would wait when it is shut down.
var perRequest = &http.Transport{DisableKeepAlives: true}

// hang has nothing run in the page until it is let go: it asks for something and does nothing else meanwhile.
func (f *gate) hang(tab *tab) (letGo func()) {
	f.t.Helper()
	eval[bool](tab, `setTimeout(() => {
	  const request = new XMLHttpRequest();
	  request.open("GET", "/hang", false);
	  request.send();
	  window.awake = true;
	}), true`)
	waitFor(f.t, "the page hangs", f.hanging.Load)
	return func() { close(f.letGo) }
}

func (f *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hang" {
		f.hanging.Store(true)
		select {
		case <-f.letGo:
		case <-r.Context().Done():
		}
		return
	}
	stream := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	if stream && f.refuse.Add(-1) >= 0 {
		f.refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if stream {
		if n := f.streams.Add(1); n > f.most.Load() {
			f.most.Store(n)
		}
		defer f.streams.Add(-1)
	}
	to := &url.URL{Scheme: "http", Host: f.to.Load().addr}
	if r.Method == http.MethodPost && f.deaf.Add(-1) >= 0 {
		f.swallow(r, to)
		panic(http.ErrAbortHandler) // the browser sees a broken connection
	}
	forward := &httputil.ReverseProxy{
		Transport:      perRequest,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		FlushInterval:  -1,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ModifyResponse: func(answer *http.Response) error { f.mute(answer); return nil },
	}
	forward.ServeHTTP(w, r)
}

// swallow has a command carried out whose answer nobody gets.
func (f *gate) swallow(r *http.Request, to *url.URL) {
	out := r.Clone(context.WithoutCancel(r.Context()))
	out.URL.Scheme, out.URL.Host, out.RequestURI = to.Scheme, to.Host, ""
	answer, err := perRequest.RoundTrip(out)
	if err != nil {
		f.t.Error(err)
		return
	}
	answer.Body.Close()
}

// mute lets an event stream stall while the gate is silent: its connection stays, and nothing comes.
func (f *gate) mute(answer *http.Response) {
	if f.keepable.Load() {
		answer.Header.Del("Cache-Control")
	}
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return
	}
	from, reader := answer.Body, bufio.NewReader(answer.Body)
	answer.Body = struct {
		io.Reader
		io.Closer
	}{readerFunc(func(b []byte) (int, error) {
		n, err := reader.Read(b)
		f.passed.Add(1)
		for f.silent.Load() {
			select {
			case <-answer.Request.Context().Done():
				return 0, io.ErrUnexpectedEOF
			case <-time.After(5 * time.Millisecond):
			}
		}
		return n, err
	}), from}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// load opens a page of the room.
func (f *gate) load(s session, path string) *tab {
	f.t.Helper()
	tab := s.open(f.url + path)
	for _, status := range []string{"502", "503", "409", "403", "ERR_SOCKET_NOT_CONNECTED"} {
		tab.expect(status)
	}
	tab.until(`window.ready`)
	return tab
}

// page opens one, and starts comet.js there.
func (f *gate) page(s session, path, options string, names ...string) *tab {
	f.t.Helper()
	tab := f.load(s, path)
	quoted := ""
	for _, name := range names {
		quoted += fmt.Sprintf(", %q", name)
	}
	eval[bool](tab, `begin({`+options+`}`+quoted+`), true`)
	return tab
}

// wantHeard waits until the page has heard exactly these values of a channel.
func (tab *tab) wantHeard(name string, want ...string) {
	tab.t.Helper()
	tab.until(fmt.Sprintf(`heard[%q].length >= %d`, name, len(want)))
	if got := strings.Join(eval[[]string](tab, fmt.Sprintf(`heard[%q].map(String)`, name)), " "); got != strings.Join(want, " ") {
		tab.t.Fatalf("%s: heard %s, want %s", name, got, strings.Join(want, " "))
	}
}
