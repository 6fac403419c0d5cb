package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// A webkitSession is a driver and its MiniBrowser. Its windows share cookies and storage; each command is about the current
// one, so that pages take turns: while one waits for a promise the others of its session wait, too.
type webkitSession struct {
	b       *webkit
	cmd     *exec.Cmd // the driver
	ended   chan struct{}
	driver  *webDriver
	version string

	blank string // the window that was there first, and stays: with its last window a session ends

	turn        sync.Mutex
	current     string        // window
	pages       []*webkitPage // that were opened
	resting     []string      // windows without a page, at 127.0.0.1
	atLocalhost bool          // blank is
}

// Close leaves the session for the next one, as new. What cannot be made so is ended.
func (s *webkitSession) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.rest(ctx) != nil {
		s.quit()
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if !s.b.killed {
		s.b.resting = append(s.b.resting, s)
	}
}

// rest leaves the session's pages, whose windows are for those of the next session: a new window is a new process, and takes a
// second of the processor.
func (s *webkitSession) rest(ctx context.Context) error {
	s.turn.Lock()
	pages := s.pages
	s.pages = nil
	s.turn.Unlock()
	for _, p := range pages {
		if leave(ctx, p) != nil {
			p.Close()
		} else if p.end() {
			s.resting = append(s.resting, p.window)
		}
	}
	return s.forget(ctx)
}

// forget deletes the cookies of both names that this machine has for pages, each in a page of that name: one that rests, and the window
// that was there first. They stay where they are: to go from one site to another takes a new process.
func (s *webkitSession) forget(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	port, err := nowhere()
	if err != nil {
		return err
	}
	forget := func(window, at string) error {
		if err := s.focus(ctx, window); err != nil {
			return err
		}
		if at != "" {
			if err := s.driver.post(ctx, "/url", map[string]any{"url": "http://" + at + ":" + port}, nil); err != nil {
				return err
			}
		}
		return s.driver.delete(ctx, "/cookie")
	}
	if n := len(s.resting); n > 0 {
		err = forget(s.resting[n-1], "")
	} else {
		s.atLocalhost = false
		err = forget(s.blank, "127.0.0.1")
	}
	if err != nil {
		return err
	}
	if s.atLocalhost {
		return forget(s.blank, "")
	}
	s.atLocalhost = true
	return forget(s.blank, "localhost")
}

// quit ends MiniBrowser in order, and kills what does not end.
func (s *webkitSession) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.driver.delete(ctx, "") // what did not end well is killed
	s.kill()
}

// kill ends the driver, and with it MiniBrowser, and waits until both are gone.
func (s *webkitSession) kill() {
	s.cmd.Process.Kill()
	<-s.ended
	s.b.mu.Lock()
	delete(s.b.sessions, s)
	s.b.mu.Unlock()
}

func (s *webkitSession) Open(ctx context.Context, url string) (Page, error) {
	p := &webkitPage{s: s}
	if err := p.make(ctx); err != nil {
		return nil, err
	}
	if err := p.Navigate(ctx, url); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

type webkitPage struct {
	s      *webkitSession
	window string

	mu     sync.Mutex
	closed bool
	errors []string
}

// make takes a window that rests, or opens one, from the blank one: the current one may be closed.
func (p *webkitPage) make(ctx context.Context) error {
	p.s.turn.Lock()
	defer p.s.turn.Unlock()
	p.s.pages = append(p.s.pages, p)
	if n := len(p.s.resting); n > 0 {
		p.window, p.s.resting = p.s.resting[n-1], p.s.resting[:n-1]
		return nil
	}
	if err := p.s.focus(ctx, p.s.blank); err != nil {
		return err
	}
	var made struct{ Handle string }
	err := p.s.driver.post(ctx, "/window/new", map[string]any{"type": "window"}, &made)
	p.window = made.Handle
	return err
}

// in does something to the page, when it is its turn.
func (p *webkitPage) in(ctx context.Context, do func(d *webDriver) error) error {
	p.s.turn.Lock()
	defer p.s.turn.Unlock()
	if err := p.focus(ctx); err != nil {
		return err
	}
	return do(p.s.driver)
}

func (p *webkitPage) focus(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return errClosed
	}
	return p.s.focus(ctx, p.window)
}

func (s *webkitSession) focus(ctx context.Context, window string) error {
	if s.current == window {
		return nil
	}
	err := s.driver.post(ctx, "/window", map[string]any{"handle": window}, nil)
	if err == nil {
		s.current = window
	}
	return err
}

// collect has the page keep its errors from now on, for the next evaluation: the driver has no console. What a page wrote
// while it was being loaded came before, and is not seen; neither is what the browser itself writes.
const collect = `const errors = window[Symbol.for("comet errors")] ??= (() => {
  const errors = [], write = console.error;
  console.error = (...parts) => { errors.push(parts.join(" ")); write.apply(console, parts); };
  addEventListener("error", e => errors.push(e.message + " (" + e.filename + ":" + e.lineno + ")"));
  addEventListener("unhandledrejection", e => errors.push("unhandled rejection: " + e.reason));
  return errors;
})();
`

// evaluated is the page's answer.
type evaluated struct {
	Value, Failure string
	Errors         []string
}

func (p *webkitPage) evaluate(ctx context.Context, d *webDriver, expression string) (answer evaluated, err error) {
	script := collect + `const [done] = arguments, answer = a => done({ ...a, errors: errors.splice(0) });
		` + asJSON(expression) + `.then(value => answer({ value }), e => answer({ failure: String(e) || "an exception" }));`
	err = d.post(ctx, "/execute/async", map[string]any{"script": script, "args": []any{}}, &answer)
	p.mu.Lock()
	p.errors = append(p.errors, answer.Errors...)
	p.mu.Unlock()
	if err == nil && answer.Failure != "" {
		err = errors.New(answer.Failure)
	}
	return answer, err
}

func (p *webkitPage) Evaluate(ctx context.Context, expression string) (value json.RawMessage, err error) {
	err = p.in(ctx, func(d *webDriver) error {
		answer, err := p.evaluate(ctx, d, expression)
		value = json.RawMessage(answer.Value)
		return err
	})
	return value, err
}

// load goes to another document, and begins to collect there.
func (p *webkitPage) load(ctx context.Context, command string, params map[string]any) error {
	return p.in(ctx, func(d *webDriver) error {
		if _, err := p.evaluate(ctx, d, "0"); err != nil {
			return err
		}
		if err := d.post(ctx, command, params, nil); err != nil {
			return err
		}
		_, err := p.evaluate(ctx, d, "0")
		return err
	})
}

func (p *webkitPage) Navigate(ctx context.Context, url string) error {
	return p.load(ctx, "/url", map[string]any{"url": url})
}

func (p *webkitPage) Reload(ctx context.Context) error { return p.load(ctx, "/refresh", nil) }

func (p *webkitPage) Click(ctx context.Context, selector string) error {
	return p.withElement(ctx, selector, "/click", nil)
}

func (p *webkitPage) Type(ctx context.Context, selector, text string) error {
	return p.withElement(ctx, selector, "/value", map[string]any{"text": text})
}

func (p *webkitPage) withElement(ctx context.Context, selector, command string, params map[string]any) error {
	return p.in(ctx, func(d *webDriver) error {
		var found map[string]string
		if err := d.post(ctx, "/element", map[string]any{"using": "css selector", "value": selector}, &found); err != nil {
			return fmt.Errorf("%s: %w", selector, err)
		}
		return d.post(ctx, "/element/"+found[elementKey]+command, params, nil)
	})
}

func (p *webkitPage) Screenshot(ctx context.Context) (picture []byte, err error) {
	err = p.in(ctx, func(d *webDriver) error { return d.get(ctx, "/screenshot", &picture) })
	return picture, err
}

// Errors asks a page that is open for what it wrote since it was asked last.
func (p *webkitPage) Errors() []string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = p.Evaluate(ctx, "0") // what cannot answer has nothing more to say
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.errors)
}

// Close closes the page. The browser may be gone already.
func (p *webkitPage) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	p.s.turn.Lock()
	defer p.s.turn.Unlock()
	if p.focus(ctx) != nil {
		return
	}
	_, _ = p.evaluate(ctx, p.s.driver, "0")
	_ = p.s.driver.delete(ctx, "/window")
	p.s.current = ""
	p.end()
}

// end has the page be closed, once.
func (p *webkitPage) end() (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, p.closed = !p.closed, true
	return first
}
