package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience bounds every wait for a condition. Nothing here takes that long; only what never happens does.
const patience = 20 * time.Second

// One browser serves all tests. It is started by the first that needs it and ended by TestMain.
var browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	why  string // there is none
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.stop != nil {
		browser.stop()
	}
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

func startBrowser() {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		browser.why = "no Chromium found in PATH; on Debian: apt-get install chromium"
		return
	}
	profile, err := os.MkdirTemp("", "comet-e2e-profile-")
	if err != nil {
		browser.why = err.Error()
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		browser.why = fmt.Sprintf("%s does not start: %v", path, err)
		stop()
		stopAllocator()
		return
	}
	browser.ctx, browser.stop = ctx, func() {
		stop()
		stopAllocator()
		os.RemoveAll(profile)
	}
}

// A session is a person's browser: cookies of its own, any number of tabs.
type session struct {
	t   *testing.T
	ctx context.Context
}

// newSession skips the test where there is no browser, and fails it where one is required.
func newSession(t *testing.T) session {
	t.Helper()
	browser.once.Do(startBrowser)
	if browser.why != "" && os.Getenv("COMET_BROWSER") == "required" {
		t.Fatalf("COMET_BROWSER=required, but %s", browser.why)
	}
	if browser.why != "" {
		t.Skip(browser.why)
	}
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("a new browser session: %v", err)
	}
	return session{t, ctx}
}

// A tab is one page of a session. What it writes to the console as an error fails the test, but for what was announced
// with expect.
type tab struct {
	t      *testing.T
	ctx    context.Context
	cancel func()

	mu       sync.Mutex
	expected []string
	errors   []string
}

// lostStream is what Chromium says of a connection that fails. Every test may see it: servers are killed here.
var lostStream = []string{"net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_EMPTY_RESPONSE"}

func (s session) open(url string) *tab {
	s.t.Helper()
	ctx, cancel := chromedp.NewContext(s.ctx)
	tab := &tab{t: s.t, ctx: ctx, cancel: cancel, expected: lostStream}
	s.t.Cleanup(tab.close)
	if err := chromedp.Do(ctx); err != nil {
		s.t.Fatalf("a new tab: %v", err)
	}
	go tab.listen(chromedp.Console(ctx))
	tab.do(chromedp.Navigate(url))
	return tab
}

func (tab *tab) listen(console func(func(chromedp.ConsoleMessage, error) bool)) {
	for message, err := range console {
		if err != nil {
			return
		}
		if message.Type == chromedp.ConsoleError || message.Type == chromedp.ConsoleException {
			tab.mu.Lock()
			tab.errors = append(tab.errors, fmt.Sprintf("%s %s (%s:%d)", message.Source, message.Text, message.URL, message.Line))
			tab.mu.Unlock()
		}
	}
}

// expect lets the test's page write console errors that contain the text.
func (tab *tab) expect(text string) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.expected = append(tab.expected[:len(tab.expected):len(tab.expected)], text)
}

// close ends the tab as its person does, and judges its console.
func (tab *tab) close() {
	tab.cancel()
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for _, e := range tab.errors {
		if !containsAny(e, tab.expected) {
			tab.t.Errorf("console error: %s", e)
		}
	}
	tab.errors = nil
}

func containsAny(s string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

func (tab *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tab.t.Fatalf("in the browser: %v", err)
	}
}

// eval gives the value of an expression in the page.
func eval[T any](tab *tab, expression string) T {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		tab.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits for an expression to be true in the page, whichever page that is by then: reloads are survived.
func (tab *tab) until(expression string) {
	tab.t.Helper()
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(tab.ctx, 2*time.Second)
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		cancel()
		if err == nil && holds {
			return
		}
		last = err
	}
	page := eval[string](tab, `document.body.innerText`)
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.t.Fatalf("never held: %s\nlast error: %v\nconsole: %q\nthe page:\n%s", expression, last, tab.errors, page)
}
