package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/ocsigo/comet/e2e/internal/browser"
)

// patience bounds every wait for a condition. Nothing here takes that long; only what never happens does.
const patience = 90 * time.Second

// The browsers are shared by all tests. Each is started by the first that needs it and ended by TestMain.
var browsers = map[string]*sharedBrowser{}

type sharedBrowser struct {
	once    sync.Once
	running browser.Browser
	err     error
	places  chan struct{} // of the tests that it serves at once

	mu    sync.Mutex
	tests int           // that had a place
	took  time.Duration // all of them together
}

// places is how many tests a browser serves at once. Each browser has its own, as many as it has of the tests, so that all of
// them work from the first test to the last. More of them cost more processor time: with one more in Firefox three runs of
// the suite took 212 s of it on average, in place of 190, on two cores of which the speed changes as much.
var places = map[string]int{"chromium": 1, browser.Shell: 3, "firefox": 3, "webkit": 2}

// all are the browsers that tests run in.
var all = append(browser.Names[:len(browser.Names):len(browser.Names)], browser.Shell)

// place gives the test a place in the browser until it ends.
func (b *sharedBrowser) place(t *testing.T) {
	b.places <- struct{}{}
	began := time.Now()
	t.Cleanup(func() {
		b.mu.Lock()
		b.tests++
		b.took += time.Since(began)
		b.mu.Unlock()
		<-b.places
	})
}

func TestMain(m *testing.M) {
	if served() {
		return
	}
	dir, err := programs()
	if err != nil {
		panic(err)
	}
	browser.Profiles = dir
	for _, name := range all {
		browsers[name] = &sharedBrowser{places: make(chan struct{}, places[name])}
	}
	// It is the browsers' places that bound what runs at once. The command line's -parallel comes later, and wins.
	if err = flag.Set("test.parallel", "1000"); err != nil {
		panic(err)
	}
	debug.SetGCPercent(400) // the browsers need the processor
	began := time.Now()
	code := m.Run()
	var closing sync.WaitGroup
	var open atomic.Bool
	for _, name := range all {
		if shared := browsers[name]; shared.running != nil {
			fmt.Printf("ran with %s: %d tests, %.1f s of tests, %d at once\n", shared.running.Version(), shared.tests, shared.took.Seconds(), places[name])
			closing.Go(func() {
				if shared.running.Close(); opens(shared.running) {
					fmt.Printf("%s has a page after it was closed\n", name)
					open.Store(true)
				}
			})
		}
	}
	if closing.Wait(); open.Load() {
		code = 1
	}
	fmt.Printf("all tests of this package took %.1f s\n", time.Since(began).Seconds())
	os.Exit(code)
}

// inEachEngine runs a test in Chromium's engine and in Firefox at once, as subtests of their names. It is for what Comet's own scripts
// ask of an engine: connections, locks, storage and requests. What they decide by themselves is inShell's.
func inEachEngine(t *testing.T, test func(t *testing.T, in string)) {
	inBrowsers(t, test, browser.Shell, "firefox")
}

// inWebKitToo runs it in WebKit besides; what would say the same again is left out. What Comet relies on in browsers is pinned so: what
// Chromium's windows are made of has no say in it.
func inWebKitToo(t *testing.T, test func(t *testing.T, in string)) {
	inBrowsers(t, test, browser.Shell, "firefox", "webkit")
}

// inEachBrowser runs it in the browsers that people have, windows and back-forward cache included.
func inEachBrowser(t *testing.T, test func(t *testing.T, in string)) {
	inBrowsers(t, test, browser.Names...)
}

func inBrowsers(t *testing.T, test func(t *testing.T, in string), names ...string) {
	sideBySide(t, func(t *testing.T, in string) {
		browsers[in].place(t)
		test(t, in)
	}, names...)
}

// besides is inEachEngine for a test that waits for most of its time: it takes nobody's place, and begins at once.
func besides(t *testing.T, test func(t *testing.T, in string)) {
	sideBySide(t, test, browser.Shell, "firefox")
}

func sideBySide(t *testing.T, test func(t *testing.T, in string), names ...string) {
	t.Parallel()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, name)
		})
	}
}

// inChromium is for tests of what a person sees, and of Chromium's back-forward cache.
func inChromium(t *testing.T) {
	t.Parallel()
	browsers["chromium"].place(t)
}

// inShell is for tests of what does not depend on the browser, which the scripts of most pages do not.
func inShell(t *testing.T) {
	t.Parallel()
	browsers[browser.Shell].place(t)
}

// A session is a person's browser: cookies of its own, any number of tabs.
type session struct {
	t  *testing.T
	in browser.Session
}

// newSession is one of Chromium without windows.
func newSession(t *testing.T) session {
	t.Helper()
	return newSessionIn(t, browser.Shell)
}

// newSessionIn skips the test where the browser is not installed, and fails it where browsers are required.
func newSessionIn(t *testing.T, name string) session {
	t.Helper()
	shared := browsers[name]
	shared.once.Do(func() { shared.running, shared.err = browser.Start(context.Background(), name) })
	if errors.Is(shared.err, browser.ErrMissing) && os.Getenv("COMET_BROWSER") != "required" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, err := shared.running.NewSession(ctx)
	if err != nil {
		t.Fatalf("a new session of %s: %v", name, err)
	}
	t.Cleanup(in.Close)
	return session{t, in}
}

// A tab is one page of a session. What it writes to the console as an error fails the test, but for what was announced
// with expect.
type tab struct {
	t        *testing.T
	page     browser.Page
	expected []string
	read     bool // its console
	closed   bool
}

// lostStream is what browsers say of a connection that fails. Every test may see it: servers are killed here.
var lostStream = []string{
	"The connection to http", "can’t establish a connection", // Firefox
	"net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_CONTENT_LENGTH_MISMATCH",
	"net::ERR_EMPTY_RESPONSE",
}

func (s session) open(url string) *tab {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	page, err := s.in.Open(ctx, url)
	if err != nil {
		s.t.Fatalf("a new tab of %s: %v", url, err)
	}
	tab := &tab{t: s.t, page: page, expected: lostStream}
	s.t.Cleanup(tab.readConsole) // the session closes it
	return tab
}

// expect lets the test's page write console errors that contain the text.
func (tab *tab) expect(text string) {
	tab.expected = append(tab.expected[:len(tab.expected):len(tab.expected)], text)
}

// close ends the tab as its person does, and judges its console.
func (tab *tab) close() {
	tab.closed = true
	tab.page.Close()
	tab.readConsole()
}

// readConsole fails the test for what the tab wrote to its console that was not announced.
func (tab *tab) readConsole() {
	if tab.read {
		return
	}
	tab.read = true
	for _, e := range tab.page.Errors() {
		if !containsAny(e, tab.expected) {
			tab.t.Errorf("console error: %s", e)
		}
	}
}

func containsAny(s string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// act fails the test if something that is done to the page cannot be.
func (tab *tab) act(what string, action func(context.Context) error) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := action(ctx); err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
}

func (tab *tab) navigate(url string) {
	tab.t.Helper()
	tab.act("go to "+url, func(ctx context.Context) error { return tab.page.Navigate(ctx, url) })
}

func (tab *tab) reload() {
	tab.t.Helper()
	tab.act("reload", tab.page.Reload)
}

// back presses the browser's button, once the page has answered: one that is left gives no answers.
func (tab *tab) back() {
	tab.t.Helper()
	eval[bool](tab, `(setTimeout(() => history.back()), true)`)
}

// still waits until an element stands where it stood a moment ago: a click is aimed before it is made, and misses what a value
// that arrives has moved meanwhile.
const still = `new Promise(tell => {
  let last, times = 0;
  (function look() {
    const box = document.querySelector(%q)?.getBoundingClientRect(), now = box && box.x + " " + box.y;
    if (now && now === last && ++times === 3) return tell(true);
    if (now !== last) times = 0;
    last = now;
    setTimeout(look, 20);
  })();
})`

func (tab *tab) click(selector string) {
	tab.t.Helper()
	eval[bool](tab, fmt.Sprintf(still, selector))
	tab.act("click "+selector, func(ctx context.Context) error { return tab.page.Click(ctx, selector) })
}

func (tab *tab) write(selector, text string) {
	tab.t.Helper()
	tab.act("write into "+selector, func(ctx context.Context) error { return tab.page.Type(ctx, selector, text) })
}

// chromium is the context for what only Chromium can do.
func (tab *tab) chromium() context.Context {
	tab.t.Helper()
	page, is := tab.page.(*browser.Chromium)
	if !is {
		tab.t.Fatalf("this test does what only Chromium can, and runs in %T", tab.page)
	}
	return page.Context()
}

// do is for what only Chromium can do.
func (tab *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.chromium(), patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tab.t.Fatalf("in the browser: %v", err)
	}
}

// lifecycle has Chromium freeze the page, or thaw it, and returns when the page has heard of it: the browser says so before.
func (tab *tab) lifecycle(state page.SetWebLifecycleStateState) {
	tab.t.Helper()
	eval[bool](tab, `(document.onfreeze = () => lifecycle = "frozen", document.onresume = () => lifecycle = "active", lifecycle = "", true)`)
	tab.act(string(state), func(context.Context) error {
		_, err := chromedp.Call(tab.chromium(), page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
		return err
	})
	waitFor(tab.t, "the page is "+string(state), func() bool { return eval[string](tab, `lifecycle`) == string(state) })
}

// eval gives the value of an expression in the page; a promise is waited for.
func eval[T any](tab *tab, expression string) (value T) {
	tab.t.Helper()
	tab.act(expression, func(ctx context.Context) error {
		raw, err := tab.page.Evaluate(ctx, expression)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &value)
	})
	return value
}

// inPage looks at a condition in the page itself, which costs a hundredth of asking for it each time, and more and more seldom. It
// tells after a moment what there is to tell, in case that the page is left meanwhile: one that the browser keeps for the way back
// never answers.
const inPage = `new Promise((tell, fail) => {
  const end = performance.now() + 500;
  let wait = %d;
  (function look() {
    try {
      if (%s) return tell(true);
      if (performance.now() > end) return tell(false);
    } catch (e) {
      if (performance.now() > end) return fail(e);
    }
    setTimeout(look, wait = Math.min(wait * 1.5, 150));
  })();
})`

// until waits for an expression to be true in the page, whichever page that is by then: reloads are survived.
func (tab *tab) until(expression string) {
	tab.t.Helper()
	var last error
	answer := 1500 * time.Millisecond // more each time, for a machine that is busy
	wait := 5
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(context.Background(), answer)
		holds, err := tab.page.Evaluate(ctx, fmt.Sprintf(inPage, wait, expression))
		if err == nil && string(holds) == "true" {
			cancel()
			return
		}
		if ctx.Err() != nil {
			answer = min(2*answer, 10*time.Second)
		} else if err != nil {
			time.Sleep(20 * time.Millisecond) // between two pages
		}
		cancel()
		last, wait = err, 100 // what did not hold at once may take its time
	}
	page := eval[string](tab, `document.body.innerText`)
	tab.t.Fatalf("never held: %s\nlast error: %v\nconsole: %q\nthe page:\n%s", expression, last, tab.page.Errors(), page)
}
