package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"time"
)

// ErrMissing is wrapped, with the remedy, by what Start says of a browser that is not installed.
var ErrMissing = errors.New("not installed")

// Names are the browsers that a person may have.
var Names = []string{"chromium", "firefox", "webkit"}

// Shell is a browser, too: Chromium's build without windows. Its pages, scripts, storage and connections are the same ones, for a third of the
// processor time: those of a session in one process. It has no back-forward cache. Where it is not installed it is Chromium.
const Shell = "chromium-headless-shell"

// A Browser is a running one, with a profile of its own that goes with it. Safe for concurrent use, as all here.
type Browser interface {
	Name() string
	// Version is the browser's own: its name and number.
	Version() string
	// NewSession begins a session without cookies and storage, apart from all others. Windows of closed sessions are used again:
	// a page may have a history of others behind it.
	NewSession(ctx context.Context) (Session, error)
	// Close ends the browser and waits for it.
	Close()
	// Kill is SIGKILL: no page hears of it. It waits until the process is gone.
	Kill()
}

// A Session is a person's browser: cookies and storage of its own, any number of pages.
type Session interface {
	// Open makes a page and waits until url is loaded in it.
	Open(ctx context.Context, url string) (Page, error)
	// Close ends the session and closes its pages.
	Close()
}

// A Page is one tab. Its methods block until the browser has answered, and fail when it does not before ctx ends.
type Page interface {
	// Navigate and Reload wait for the load event, which an open event stream does not hold up.
	Navigate(ctx context.Context, url string) error
	Reload(ctx context.Context) error
	// Evaluate gives the value of a JavaScript expression in the page as JSON, null for undefined. A promise is waited
	// for. What the expression throws is an error.
	Evaluate(ctx context.Context, expression string) (json.RawMessage, error)
	// Click presses the mouse on the middle of the first element that the CSS selector finds, and scrolls there before.
	Click(ctx context.Context, selector string) error
	// Type writes text into the first element that the CSS selector finds, as a keyboard does.
	Type(ctx context.Context, selector, text string) error
	// Screenshot is a PNG of what is seen.
	Screenshot(ctx context.Context) ([]byte, error)
	// Errors are the errors that the page wrote to the console, uncaught exceptions included, oldest first. WebKit's are those
	// after the page was loaded: its driver has no console.
	Errors() []string
	// Close closes the page as its person does.
	Close()
}

// Start starts a browser. The error is an ErrMissing if it is not installed.
func Start(ctx context.Context, name string) (Browser, error) {
	switch name {
	case "chromium":
		return startChromium(ctx, name, chromiums...)
	case Shell:
		return startChromium(ctx, name, append([]string{Shell, "chrome-headless-shell"}, chromiums...)...)
	case "firefox":
		return startFirefox(ctx)
	case "webkit":
		return startWebKit(ctx)
	}
	return nil, fmt.Errorf("no browser is called %q; there are %q and %q", name, Names, Shell)
}

// take gives the last of what rests, if anything does.
func take[T any](mu *sync.Mutex, resting *[]T) (last T, ok bool) {
	mu.Lock()
	defer mu.Unlock()
	if n := len(*resting); n > 0 {
		last, *resting = (*resting)[n-1], (*resting)[:n-1]
		ok = true
	}
	return last, ok
}

var errClosed = errors.New("the page was closed")

// leave makes a tab ready for the page of another session: what its page stored is forgotten, but for cookies, and the page is left.
// It is told so as when its person goes elsewhere.
func leave(ctx context.Context, p Page) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // what is stuck is not worth more
	defer cancel()
	if _, err := p.Evaluate(ctx, `(localStorage.clear(), sessionStorage.clear(), name = "")`); err != nil {
		return err
	}
	port, err := nowhere()
	if err != nil {
		return err
	}
	return p.Navigate(ctx, "http://127.0.0.1:"+port)
}

// nowhere is the port of a page without anything. For a browser it is the site of all pages under test here, so that they come and go
// in one process, as they do not by way of about:blank.
var nowhere = sync.OnceValues(func() (port string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err = net.SplitHostPort(listener.Addr().String())
	go http.Serve(listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return port, err
})

// middle scrolls an element into view, and tells where its middle is then, in whole pixels. The error says so of one that has no extent.
func middle(ctx context.Context, p Page, selector string) (at struct{ X, Y float64 }, err error) {
	value, err := ofElement(ctx, p, selector, `
	  element.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
	  const box = element.getBoundingClientRect();
	  if (!box.width || !box.height) throw new Error("nothing is seen of " + element.outerHTML);
	  return { x: Math.floor(box.x + box.width / 2), y: Math.floor(box.y + box.height / 2) };`)
	if err != nil {
		return at, err
	}
	return at, json.Unmarshal(value, &at)
}

// focus has keys go to an element, to where its caret was last: a click may set it elsewhere.
func focus(ctx context.Context, p Page, selector string) error {
	_, err := ofElement(ctx, p, selector, `element.focus()`)
	return err
}

// ofElement evaluates the body of a function of the first element that the selector finds.
func ofElement(ctx context.Context, p Page, selector, body string) (json.RawMessage, error) {
	name, err := json.Marshal(selector)
	if err != nil {
		return nil, err
	}
	return p.Evaluate(ctx, fmt.Sprintf(`(element => {
	  if (!element) throw new Error("there is no " + %[1]s);
	  %s
	})(document.querySelector(%[1]s))`, name, body))
}

// find gives the path of the first of a program's names that PATH has.
func find(debian string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("none of %q is in PATH: %w; on Debian: apt-get install %s", names, ErrMissing, debian)
}

// asJSON makes any expression one whose value is a string of JSON.
func asJSON(expression string) string {
	return "(async () => JSON.stringify(await (" + expression + "\n)) ?? `null`)()"
}
