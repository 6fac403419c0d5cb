package browser

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

type firefoxPage struct {
	b  *firefox
	id string // of the browsing context: its tab, which has one page after the other

	mu     sync.Mutex
	closed bool
	errors []string
}

func (s *firefoxSession) Open(ctx context.Context, url string) (Page, error) {
	tab, err := s.takeTab(ctx)
	if err != nil {
		return nil, err
	}
	p := &firefoxPage{b: s.b, id: tab}
	s.b.mu.Lock()
	s.b.pages[p.id] = p
	s.pages = append(s.pages, p)
	s.b.mu.Unlock()
	if err := p.Navigate(ctx, url); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// seen has all tabs be shown, though only one has its window's surface: a page is told that it is visible and its timers run. A window
// for each would cost six times as much as its tab.
const seen = `for (const tab of gBrowser.tabs) tab.linkedBrowser.docShellIsActive = true`

// takeTab gives a tab of the session that rests, or makes one.
func (s *firefoxSession) takeTab(ctx context.Context) (id string, err error) {
	if tab, rests := take(&s.b.mu, &s.resting); rests {
		return tab, nil
	}
	var made struct{ Context string }
	params := map[string]any{"type": "tab", "background": true, "userContext": s.id}
	if err := s.b.bidi.call(ctx, "browsingContext.create", params, &made); err != nil {
		return "", err
	}
	return made.Context, s.b.inWindow(ctx, seen)
}

// call sends a command about this page.
func (p *firefoxPage) call(ctx context.Context, method string, params map[string]any, result any) error {
	if p.isClosed() {
		return errClosed
	}
	params["context"] = p.id
	return p.b.bidi.call(ctx, method, params, result)
}

func (p *firefoxPage) Navigate(ctx context.Context, url string) error {
	return p.call(ctx, "browsingContext.navigate", map[string]any{"url": url, "wait": "complete"}, nil)
}

func (p *firefoxPage) Reload(ctx context.Context) error {
	return p.call(ctx, "browsingContext.reload", map[string]any{"wait": "complete"}, nil)
}

func (p *firefoxPage) Evaluate(ctx context.Context, expression string) (json.RawMessage, error) {
	params := map[string]any{
		"expression": asJSON(expression), "target": map[string]any{"context": p.id}, "awaitPromise": true, "userActivation": true,
	}
	if p.isClosed() {
		return nil, errClosed
	}
	value, err := p.b.evaluate(ctx, params)
	if err != nil {
		return nil, err
	}
	var text string
	err = json.Unmarshal(value, &text)
	return json.RawMessage(text), err
}

func (p *firefoxPage) Click(ctx context.Context, selector string) error {
	at, err := middle(ctx, p, selector)
	if err != nil {
		return err
	}
	move := map[string]any{"type": "pointerMove", "x": at.X, "y": at.Y}
	down, up := map[string]any{"type": "pointerDown", "button": 0}, map[string]any{"type": "pointerUp", "button": 0}
	return p.perform(ctx, map[string]any{"type": "pointer", "id": "mouse", "actions": []any{move, down, up}})
}

func (p *firefoxPage) Type(ctx context.Context, selector, text string) error {
	if err := focus(ctx, p, selector); err != nil {
		return err
	}
	var keys []any
	for _, r := range text {
		keys = append(keys, map[string]any{"type": "keyDown", "value": string(r)}, map[string]any{"type": "keyUp", "value": string(r)})
	}
	return p.perform(ctx, map[string]any{"type": "key", "id": "keyboard", "actions": keys})
}

func (p *firefoxPage) perform(ctx context.Context, source map[string]any) error {
	return p.call(ctx, "input.performActions", map[string]any{"actions": []any{source}}, nil)
}

func (p *firefoxPage) Screenshot(ctx context.Context) ([]byte, error) {
	var picture struct{ Data []byte }
	err := p.call(ctx, "browsingContext.captureScreenshot", map[string]any{}, &picture)
	return picture.Data, err
}

func (p *firefoxPage) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.errors)
}

func (p *firefoxPage) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// end has the page be closed, once.
func (p *firefoxPage) end() (first bool) {
	p.b.mu.Lock()
	if p.b.pages[p.id] == p { // and not another page in its tab by now
		delete(p.b.pages, p.id)
	}
	p.b.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	first, p.closed = !p.closed, true
	return first
}

// Close closes the page. The browser may be gone already.
func (p *firefoxPage) Close() {
	if !p.end() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = p.b.bidi.call(ctx, "browsingContext.close", map[string]any{"context": p.id}, nil)
}
