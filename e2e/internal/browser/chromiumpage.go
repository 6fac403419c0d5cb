package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// A chromiumSession is a browser context: cookies and storage of its own. Each of its pages has a window of its own, so that
// all are seen.
type chromiumSession struct {
	b  *chromium
	id cdp.BrowserContextID

	mu      sync.Mutex
	pages   []*Chromium       // that were opened
	resting []*chromiumWindow // without a page
}

func (s *chromiumSession) Open(ctx context.Context, url string) (Page, error) {
	window, err := s.takeWindow(ctx)
	if err != nil {
		return nil, err
	}
	p := &Chromium{window: window}
	window.shows(p)
	s.mu.Lock()
	s.pages = append(s.pages, p)
	s.mu.Unlock()
	if err := p.Navigate(ctx, url); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// takeWindow gives a window of the session that rests, or makes one.
func (s *chromiumSession) takeWindow(ctx context.Context) (*chromiumWindow, error) {
	if w, rests := take(&s.mu, &s.resting); rests {
		return w, nil
	}
	own, cancel := chromedp.NewContext(s.b.ctx, chromedp.WithExistingBrowserContext(s.id))
	if err := begin(ctx, own, cancel); err != nil {
		return nil, err
	}
	w := &chromiumWindow{ctx: own, cancel: cancel}
	go w.listen(chromedp.Console(own))
	if err := within(ctx, own, untold); err != nil {
		cancel()
		return nil, err
	}
	return w, nil
}

// untold has the browser not tell what nobody asks here: chromedp is told every change of a page's elements, each event that a page
// hears, and what happens to all other pages.
func untold(ctx context.Context) error {
	for _, disable := range []cdp.Command[cdp.Empty, cdp.Empty]{css.Disable, dom.Disable, network.Disable} {
		if _, err := chromedp.Call(ctx, disable, cdp.Empty{}); err != nil {
			return err
		}
	}
	_, err := chromedp.Call(ctx, target.SetDiscoverTargets, target.SetDiscoverTargetsParams{Discover: false})
	return err
}

// Close leaves the session for the next one, as new. What cannot be made so is ended. The browser may be gone already.
func (s *chromiumSession) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.mu.Lock()
	pages := s.pages
	s.pages = nil
	s.mu.Unlock()
	for _, p := range pages {
		s.rest(ctx, p)
	}
	if within(ctx, s.b.ctx, func(ctx context.Context) error {
		_, err := chromedp.CallBrowser(ctx, storage.ClearCookies, storage.ClearCookiesParams{BrowserContextID: s.id})
		return err
	}) != nil {
		s.dispose(ctx)
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.resting = append(s.b.resting, s)
}

// rest ends a page, and keeps its window for another one, unless it may have been made to behave otherwise.
func (s *chromiumSession) rest(ctx context.Context, p *Chromium) {
	if p.wasHandled() || leave(ctx, p) != nil {
		p.Close()
		return
	}
	if p.end() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resting = append(s.resting, p.window)
	}
}

func (s *chromiumSession) dispose(ctx context.Context) {
	_ = within(ctx, s.b.ctx, func(ctx context.Context) error {
		_, err := chromedp.CallBrowser(ctx, target.DisposeBrowserContext, target.DisposeBrowserContextParams{BrowserContextID: s.id})
		return err
	})
	for _, w := range s.resting {
		w.cancel()
	}
}

// A chromiumWindow has one page after the other.
type chromiumWindow struct {
	ctx    context.Context
	cancel func() // closes it

	mu   sync.Mutex
	page *Chromium // that is shown, or was last
}

func (w *chromiumWindow) shows(p *Chromium) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.page = p
}

func (w *chromiumWindow) listen(console func(func(chromedp.ConsoleMessage, error) bool)) {
	for message, err := range console {
		if err != nil {
			return
		}
		if message.Type == chromedp.ConsoleError || message.Type == chromedp.ConsoleException {
			w.mu.Lock()
			p := w.page
			w.mu.Unlock()
			p.mu.Lock()
			p.errors = append(p.errors, fmt.Sprintf("%s %s (%s:%d)", message.Source, message.Text, message.URL, message.Line))
			p.mu.Unlock()
		}
	}
}

// Chromium is a Page of Chromium, for what only that can do.
type Chromium struct {
	window *chromiumWindow

	mu      sync.Mutex
	handled bool // by calls of its own
	closed  bool
	errors  []string
}

// Close closes the window. It, or the browser, may be gone already.
func (p *Chromium) Close() {
	if p.end() {
		p.window.cancel()
	}
}

// end has the page be closed, once.
func (p *Chromium) end() (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, p.closed = !p.closed, true
	return first
}

// Context is the page's for calls of package chromedp.
func (p *Chromium) Context() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handled = true
	return p.window.ctx
}

func (p *Chromium) wasHandled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handled
}

// in does something to the page for as long as ctx lasts.
func (p *Chromium) in(ctx context.Context, f func(context.Context) error) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return errClosed
	}
	return within(ctx, p.window.ctx, f)
}

func (p *Chromium) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.errors)
}

func (p *Chromium) do(ctx context.Context, steps ...chromedp.Action[chromedp.Void]) error {
	return p.in(ctx, func(ctx context.Context) error { return chromedp.Do(ctx, steps...) })
}

func (p *Chromium) Navigate(ctx context.Context, url string) error {
	return p.do(ctx, chromedp.Navigate(url))
}

func (p *Chromium) Reload(ctx context.Context) error { return p.do(ctx, chromedp.Reload()) }

func (p *Chromium) Click(ctx context.Context, selector string) error {
	at, err := middle(ctx, p, selector)
	if err != nil {
		return err
	}
	return p.do(ctx, chromedp.MouseClickXY(at.X, at.Y))
}

func (p *Chromium) Type(ctx context.Context, selector, text string) error {
	if err := focus(ctx, p, selector); err != nil {
		return err
	}
	return p.do(ctx, chromedp.KeyEvent(text))
}

func (p *Chromium) Evaluate(ctx context.Context, expression string) (value json.RawMessage, err error) {
	err = p.in(ctx, func(ctx context.Context) error {
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](asJSON(expression), chromedp.EvalAwaitPromise))
		value = json.RawMessage(text)
		return err
	})
	return value, err
}

func (p *Chromium) Screenshot(ctx context.Context) (picture []byte, err error) {
	err = p.in(ctx, func(ctx context.Context) error {
		picture, err = chromedp.Run(ctx, chromedp.CaptureScreenshot())
		return err
	})
	return picture, err
}
