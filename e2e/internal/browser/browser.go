package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
)

// ErrMissing is wrapped, with the remedy, by what Start says of a browser that is not installed.
var ErrMissing = errors.New("not installed")

// Names are those that Start takes.
var Names = []string{"chromium", "firefox", "webkit"}

// A Browser is a running one, with a profile of its own that goes with it. Safe for concurrent use, as all here.
type Browser interface {
	Name() string
	// Version is the browser's own: its name and number.
	Version() string
	// NewSession begins a session without cookies, apart from all others.
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
		return startChromium(ctx)
	case "firefox":
		return startFirefox(ctx)
	case "webkit":
		return startWebKit(ctx)
	}
	return nil, fmt.Errorf("no browser is called %q; there are %q", name, Names)
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
