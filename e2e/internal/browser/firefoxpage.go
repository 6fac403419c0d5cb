package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A firefoxTab has one page after the other.
type firefoxTab struct {
	id     string // of the browsing context
	window string // the resting tab of its window
}

type firefoxPage struct {
	firefoxTab
	b *firefox

	mu     sync.Mutex
	closed bool
	errors []string
}

func (s *firefoxSession) Open(ctx context.Context, url string) (Page, error) {
	tab, err := s.takeTab(ctx)
	if err != nil {
		return nil, err
	}
	p := &firefoxPage{b: s.b, firefoxTab: tab}
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

// takeTab gives a tab of the session that rests, or makes one in a window that rests, or in a new one. A tab that is not its
// window's only one beside the resting tab would be hidden behind the next one, and its timers slowed.
func (s *firefoxSession) takeTab(ctx context.Context) (tab firefoxTab, err error) {
	if tab, rests := take(&s.b.mu, &s.resting); rests {
		return tab, nil
	}
	if tab.window, err = s.b.takeWindow(ctx); err != nil {
		return tab, err
	}
	var made struct{ Context string }
	params := map[string]any{"type": "tab", "referenceContext": tab.window, "userContext": s.id}
	err = s.b.bidi.call(ctx, "browsingContext.create", params, &made)
	tab.id = made.Context
	return tab, err
}

// takeWindow gives the resting tab of a window that has no page. A window costs ten times as much as a tab in it, so that they
// are used again: one whose page has closed rests, showing an empty tab of no session.
func (b *firefox) takeWindow(ctx context.Context) (restingTab string, err error) {
	if restingTab, rests := take(&b.mu, &b.resting); rests {
		return restingTab, nil
	}
	var made struct{ Context string }
	err = b.bidi.call(ctx, "browsingContext.create", map[string]any{"type": "window"}, &made)
	return made.Context, err
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
	var answer struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	params := map[string]any{
		"expression": asJSON(expression), "target": map[string]any{"context": p.id}, "awaitPromise": true, "userActivation": true,
	}
	if p.isClosed() {
		return nil, errClosed
	}
	if err := p.b.bidi.call(ctx, "script.evaluate", params, &answer); err != nil {
		return nil, err
	}
	if answer.Type != "success" {
		return nil, errors.New(answer.ExceptionDetails.Text)
	}
	return json.RawMessage(answer.Result.Value), nil
}

// into gives the middle of an element, scrolled into view.
const into = `(() => {
  const element = document.querySelector(%s);
  if (!element) throw new Error("there is no " + %[1]s);
  element.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
  const box = element.getBoundingClientRect();
  return { x: Math.floor(box.x + box.width / 2), y: Math.floor(box.y + box.height / 2) };
})()`

func (p *firefoxPage) Click(ctx context.Context, selector string) error {
	name, err := json.Marshal(selector)
	if err != nil {
		return err
	}
	value, err := p.Evaluate(ctx, fmt.Sprintf(into, name))
	if err != nil {
		return err
	}
	move := map[string]any{"type": "pointerMove"}
	if err := json.Unmarshal(value, &move); err != nil {
		return err
	}
	down, up := map[string]any{"type": "pointerDown", "button": 0}, map[string]any{"type": "pointerUp", "button": 0}
	return p.perform(ctx, map[string]any{"type": "pointer", "id": "mouse", "actions": []any{move, down, up}})
}

func (p *firefoxPage) Type(ctx context.Context, selector, text string) error {
	if err := p.Click(ctx, selector); err != nil {
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
	if p.b.bidi.call(ctx, "browsingContext.close", map[string]any{"context": p.id}, nil) == nil { // or its window still shows it
		p.b.mu.Lock()
		p.b.resting = append(p.b.resting, p.window)
		p.b.mu.Unlock()
	}
}
