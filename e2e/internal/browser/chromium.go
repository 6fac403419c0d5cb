package browser

import (
	"context"
	"fmt"
	"os"
	"sync"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

type chromium struct {
	name    string
	ctx     context.Context
	cancel  func() // kills the process, and waits for it
	profile string
	version string

	mu      sync.Mutex
	resting []*chromiumSession // that were closed, and are as new
}

// quiet switches off what nobody sees here. Every new window prepares three pop-ups of its address bar, each a page of its own:
// that took three times as much of the processor as the page under test. Every page has a process started for the next one.
// The first two are chromedp's.
const quiet = "Translate,BlinkGenPropertyTrees,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,SpareRendererForSitePerProcess"

// together has all pages of a session in one process, in the shell: a process costs more than most pages do in it. What happens to a
// page as a process happens to all of them then, so that the browser with windows keeps them apart, as its users have it.
var together = []chromedp.ExecAllocatorOption{
	chromedp.Flag("renderer-process-limit", "1"), chromedp.Flag("disable-features", quiet+",IsolateOrigins,site-per-process"),
}

// chromiums are what the browser with windows is called.
var chromiums = []string{"chromium", "chromium-browser", "google-chrome", "chrome"}

// startChromium starts the first of the programs.
func startChromium(ctx context.Context, name string, programs ...string) (Browser, error) {
	path, err := find(name, programs...)
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
	if name == Shell {
		options = append(options, together...)
	}
	allocator, kill := chromedp.NewExecAllocator(context.WithoutCancel(ctx), options...)
	b := &chromium{name: name, profile: profile, cancel: func() {
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

func (b *chromium) Name() string    { return b.name }
func (b *chromium) Version() string { return b.version }

func (b *chromium) Close() {
	_ = chromedp.Cancel(b.ctx) // what did not end well is killed
	b.Kill()
}

func (b *chromium) Kill() {
	b.cancel()
	os.RemoveAll(b.profile)
}

// NewSession takes a session that rests, if there is one: to make a window takes more of the processor than most tests do in it.
func (b *chromium) NewSession(ctx context.Context) (Session, error) {
	if s, rests := take(&b.mu, &b.resting); rests {
		return s, nil
	}
	s := &chromiumSession{b: b}
	return s, within(ctx, b.ctx, func(ctx context.Context) error {
		made, err := chromedp.CallBrowser(ctx, target.CreateBrowserContext, target.CreateBrowserContextParams{})
		s.id = made.BrowserContextID
		return err
	})
}

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
