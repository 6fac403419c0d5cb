package comettest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// A State is what an EventSource tells as its readyState.
type State int

// The states of a tab's EventSource.
const (
	Closed     State = iota // there is none yet, or it has ended for good
	Connecting              // it connects, or waits before it does so again
	Open                    // it has an answer, and hears events
)

func (s State) String() string { return [...]string{"closed", "connecting", "open"}[s] }

// A Tab is one page in a browser, with one EventSource. All that it hears is kept
// until it is taken, in order. Its methods are for one goroutine, the test's or one that it waits for,
// but for those that only tell: State, URL, Token, LastEventID, Retry, Transcript, Wire. Others may
// make requests (Do, Get, Post, Command) too. What fails calls Fatal, which ends that
// goroutine only, if it is not the test's.
type Tab struct {
	// Page is the page that Browser.Open loaded.
	Page Answer

	t       testing.TB
	browser *Browser
	began   time.Time

	mu      sync.Mutex
	changed chan struct{} // closed, and made again, when anything below changes
	url     string
	fields  []string // of the requests for the event stream
	state   State
	status  int // of the last answer
	header  http.Header
	gzip    bool   // it came in that
	final   string // why it is closed for good
	lastID  string
	retry   time.Duration
	untaken []item
	ignored []string // event names
	log     transcript
	quota   int  // of the event stream's bytes, before it is cut; negative: none
	stalled bool // nothing is read

	asleep bool // it does not come back
	hurry  bool // it comes back at once

	connections int                // that were begun
	hangUp      context.CancelFunc // ends the connection there is; nil between two
	close       context.CancelFunc // ends the EventSource
	closed      chan struct{}      // when it has ended
}

// An item is something that was heard: an event, or the end of a connection.
type item struct {
	event sse.Event
	end   bool
	clean bool // the end was the server's, and said
}

// Open loads a page as a person does, in a new tab, and follows redirects. The
// answer, which is to be a 200, is the tab's Page. Nothing is connected yet:
// where in a page the address stands that comet.Open returned is the app's to
// know. See Tab.Connect.
func (b *Browser) Open(path string, fields ...string) *Tab {
	b.t.Helper()
	page := b.do(nil, http.MethodGet, path, "", join(navigation, fields)).Want(http.StatusOK)
	return b.tab(page)
}

// Listen connects to the event stream at url without a page: as a page would
// that knows it from elsewhere. Fields are headers, as in Tab.Connect.
func (b *Browser) Listen(url string, fields ...string) *Tab {
	b.t.Helper()
	tab := b.tab(Answer{t: b.t, was: "no page"})
	tab.Connect(url, fields...)
	return tab
}

func (b *Browser) tab(page Answer) *Tab {
	return &Tab{
		Page: page, t: b.t, browser: b, began: time.Now(), retry: sse.DefaultRetry,
		changed: make(chan struct{}), quota: -1,
	}
}

// Connect is new EventSource(url), url being what comet.Open returned. It returns
// at once; State, and all that hears, tell what comes of it. Fields alternates
// names and values of headers that are sent besides, at every connection;
// Last-Event-ID there is where it goes on, as if it had heard that. A tab
// connects once.
func (t *Tab) Connect(url string, fields ...string) {
	t.t.Helper()
	if t.close != nil {
		t.t.Fatalf("comettest: Connect: the tab has an EventSource, of %s; open another tab", t.url)
	}
	t.url = url
	for i := 0; i+1 < len(fields); i += 2 {
		if http.CanonicalHeaderKey(fields[i]) == "Last-Event-Id" {
			t.lastID = fields[i+1]
			continue
		}
		t.fields = append(t.fields, fields[i], fields[i+1])
	}
	t.state = Connecting
	ctx, cancel := context.WithCancel(context.Background())
	t.close, t.closed = cancel, make(chan struct{})
	go t.run(ctx)
	t.t.Cleanup(t.Close)
}

// Close is EventSource.close: the tab hears nothing more. What it has heard can
// still be taken.
func (t *Tab) Close() {
	if t.close != nil {
		t.close()
		<-t.closed
	}
}

// Duplicate is the browser's "duplicate tab": the same page with the same event
// stream's address, which begins where the page does.
func (t *Tab) Duplicate() *Tab {
	t.t.Helper()
	twin := t.browser.tab(t.Page)
	twin.Connect(t.URL(), t.fields...)
	return twin
}

// URL is the address that the tab connected to; "" before.
func (t *Tab) URL() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.url
}

// Token names the tab's client process, by its event stream's address; "" if
// that has none.
func (t *Tab) Token() string {
	u, err := url.Parse(t.URL())
	if err != nil {
		return ""
	}
	token, _, _ := strings.Cut(u.Query().Get("p"), ".")
	return token
}

// State tells what the tab's EventSource is doing.
func (t *Tab) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// LastEventID is what the tab would say if it came back now: the id of the last
// event that it received, taken or not.
func (t *Tab) LastEventID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lastID
}

// Retry is how long the tab waits before it comes back, as the server asked.
func (t *Tab) Retry() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.retry
}

// Answer waits for an answer to the tab's last request for its event stream, and
// returns its status and headers.
func (t *Tab) Answer() Answer {
	t.t.Helper()
	t.await("an answer", func() bool { return t.status != 0 || t.final != "" })
	t.mu.Lock()
	defer t.mu.Unlock()
	return Answer{t.status, t.header, "", t.gzip, t.t, "GET " + t.url}
}

// Do sends a request as a script of the page does: it says which client process
// it is of (Comet-Process), where it comes from, and that it is no navigation.
// Fields go before that.
func (t *Tab) Do(method, path, body string, fields ...string) Answer {
	t.t.Helper()
	own := append(t.cors(path), "Origin", t.browser.app.origin)
	if token := t.Token(); token != "" {
		own = append(own, "Comet-Process", token)
	}
	return t.browser.Do(method, path, body, append(own, fields...)...)
}

// cors is what a browser says of a script's request for path.
func (t *Tab) cors(path string) []string {
	site := "cross-site"
	if t.browser.isOwn(path) {
		site = "same-origin"
	}
	return []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", site}
}

// Get and Post are what the page's scripts ask of the app; see Do.
func (t *Tab) Get(path string, fields ...string) Answer {
	t.t.Helper()
	return t.Do(http.MethodGet, path, "", fields...)
}

// Post submits a form: see Do.
func (t *Tab) Post(path string, form url.Values, fields ...string) Answer {
	t.t.Helper()
	return t.Do(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, fields...)...)
}

// Command sends a command to the tab's event stream, as docs/commands.md has
// them, and returns the answer, whatever its status.
func (t *Tab) Command(form url.Values) Answer {
	t.t.Helper()
	if t.URL() == "" {
		t.t.Fatal("comettest: a command before Connect: it goes to the event stream's address")
	}
	return t.Post(t.URL(), form)
}

// Pull asks for one value of an unlimited channel. The test fails unless that is
// granted; the value is heard as others are.
func (t *Tab) Pull(channel string) scope.Reply {
	t.t.Helper()
	return t.done(url.Values{"pull": {channel}})
}

// Register has a channel heard that is not; the test fails unless it is granted.
func (t *Tab) Register(channel string) scope.Reply {
	t.t.Helper()
	return t.done(url.Values{"register": {channel}})
}

// Send sends values to an inbox, each as JSON, in one command. The test fails
// unless they are taken; where a refusal is what is tested, use Command.
func (t *Tab) Send(inbox string, values ...any) scope.Reply {
	t.t.Helper()
	form := url.Values{"send": {inbox}}
	for _, v := range values {
		data, err := json.Marshal(v)
		if err != nil {
			t.t.Fatalf("comettest: Send to %s: %v", inbox, err)
		}
		form.Add("value", string(data))
	}
	return t.done(form)
}

func (t *Tab) done(form url.Values) (reply scope.Reply) {
	t.t.Helper()
	answer := t.Command(form)
	if answer.Status != http.StatusOK {
		t.fail(fmt.Sprintf("the command %s got %d %s", form.Encode(), answer.Status, answer.Body))
	}
	answer.JSON(&reply)
	return reply
}
