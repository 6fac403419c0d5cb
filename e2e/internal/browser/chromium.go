package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

type chromium struct {
	ctx     context.Context
	cancel  func() // kills the process, and waits for it
	profile string
	version string
}

// quiet switches off what nobody sees here. Every new window prepares three pop-ups of its address bar, each a page of its own:
// that took three times as much of the processor as the page under test. The first two are chromedp's.
const quiet = "Translate,BlinkGenPropertyTrees,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup"

func startChromium(ctx context.Context) (Browser, error) {
	path, err := find("chromium", "chromium", "chromium-browser", "google-chrome", "chrome")
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "comet-chromium-")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-features", quiet))
	allocator, kill := chromedp.NewExecAllocator(context.WithoutCancel(ctx), options...)
	b := &chromium{profile: profile, cancel: func() {
		kill()
		chromedp.FromContext(allocator).Allocator.Wait()
	}}
	b.ctx, _ = chromedp.NewContext(allocator)
	var version cdpbrowser.GetVersionResult
	if err = begin(ctx, b.ctx, b.cancel); err == nil {
		version, err = chromedp.CallBrowser(b.ctx, cdpbrowser.GetVersion, cdp.Empty{})
	}
	if err != nil {
		b.Kill()
		return nil, fmt.Errorf("%s does not start: %w", path, err)
	}
	b.version = version.Product
	return b, nil
}

func (b *chromium) Name() string    { return "chromium" }
func (b *chromium) Version() string { return b.version }

func (b *chromium) Close() {
	_ = chromedp.Cancel(b.ctx) // what did not end well is killed
	b.Kill()
}

func (b *chromium) Kill() {
	b.cancel()
	os.RemoveAll(b.profile)
}

func (b *chromium) NewSession(ctx context.Context) (Session, error) {
	own, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	if err := begin(ctx, own, cancel); err != nil {
		return nil, err
	}
	return &chromiumSession{own, cancel}, nil
}

type chromiumSession struct {
	ctx    context.Context
	cancel func()
}

func (s *chromiumSession) Close() { s.cancel() }

func (s *chromiumSession) Open(ctx context.Context, url string) (Page, error) {
	own, cancel := chromedp.NewContext(s.ctx)
	p := &Chromium{ctx: own, cancel: cancel}
	if err := begin(ctx, own, cancel); err != nil {
		return nil, err
	}
	go p.listen(chromedp.Console(own))
	if err := p.Navigate(ctx, url); err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// Chromium is a Page of Chromium, for what only that can do.
type Chromium struct {
	ctx    context.Context
	cancel func()

	mu     sync.Mutex
	errors []string
}

// Context is the page's for calls of package chromedp.
func (p *Chromium) Context() context.Context { return p.ctx }

func (p *Chromium) listen(console func(func(chromedp.ConsoleMessage, error) bool)) {
	for message, err := range console {
		if err != nil {
			return
		}
		if message.Type == chromedp.ConsoleError || message.Type == chromedp.ConsoleException {
			p.mu.Lock()
			p.errors = append(p.errors, fmt.Sprintf("%s %s (%s:%d)", message.Source, message.Text, message.URL, message.Line))
			p.mu.Unlock()
		}
	}
}

func (p *Chromium) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.errors)
}

func (p *Chromium) Close() { p.cancel() }

// begin makes what chromedp's context own stands for. That then lives as long as own itself: the context of the first call
// is the one that counts.
func begin(ctx, own context.Context, cancel func()) error {
	defer context.AfterFunc(ctx, cancel)()
	err := chromedp.Do(own)
	if err != nil {
		cancel()
	}
	return err
}

// within runs f under chromedp's context own, for as long as ctx lasts.
func within(ctx, own context.Context, f func(context.Context) error) error {
	both, cancel := context.WithCancelCause(own)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	return f(both)
}

func (p *Chromium) do(ctx context.Context, steps ...chromedp.Action[chromedp.Void]) error {
	return within(ctx, p.ctx, func(ctx context.Context) error { return chromedp.Do(ctx, steps...) })
}

func (p *Chromium) Navigate(ctx context.Context, url string) error {
	return p.do(ctx, chromedp.Navigate(url))
}

func (p *Chromium) Reload(ctx context.Context) error { return p.do(ctx, chromedp.Reload()) }

func (p *Chromium) Click(ctx context.Context, selector string) error {
	return p.do(ctx, chromedp.Click(chromedp.CSS(selector)))
}

func (p *Chromium) Type(ctx context.Context, selector, text string) error {
	return p.do(ctx, chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (p *Chromium) Evaluate(ctx context.Context, expression string) (value json.RawMessage, err error) {
	err = within(ctx, p.ctx, func(ctx context.Context) error {
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](asJSON(expression), chromedp.EvalAwaitPromise))
		value = json.RawMessage(text)
		return err
	})
	return value, err
}

func (p *Chromium) Screenshot(ctx context.Context) (picture []byte, err error) {
	err = within(ctx, p.ctx, func(ctx context.Context) error {
		picture, err = chromedp.Run(ctx, chromedp.CaptureScreenshot())
		return err
	})
	return picture, err
}
