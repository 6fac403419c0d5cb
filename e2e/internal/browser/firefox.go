package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

type firefox struct {
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
	profile string
	own     bool // the profile
	version string
	bidi    *bidi

	window   string // the context of the browser's own script in it: all tabs are in one window
	mu       sync.Mutex
	pages    map[string]*firefoxPage // by browsing context
	sessions []*firefoxSession       // that were closed, and are as new
}

func startFirefox(ctx context.Context) (Browser, error) {
	path, err := findFirefox()
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "comet-firefox-")
	if err != nil {
		return nil, err
	}
	if err := fillProfile(path, profile); err != nil {
		os.RemoveAll(profile)
		return nil, err
	}
	return startFirefoxWith(ctx, path, profile, true)
}

func findFirefox() (path string, err error) { return find("firefox-esr", "firefox-esr", "firefox") }

// startFirefoxWith removes a profile that is its own when the browser has ended.
func startFirefoxWith(ctx context.Context, path, profile string, own bool) (*firefox, error) {
	b := &firefox{profile: profile, own: own, ended: make(chan struct{}), pages: map[string]*firefoxPage{}}
	endpoint, err := b.run(path)
	if err != nil {
		b.removeProfile()
		return nil, fmt.Errorf("%s does not start: %w", path, err)
	}
	if err := b.connect(ctx, endpoint); err != nil {
		b.Kill()
		return nil, fmt.Errorf("%s does not answer: %w", path, err)
	}
	return b, nil
}

// run starts the process and gives the address at which it wants to be driven.
func (b *firefox) run(path string) (endpoint string, err error) {
	b.cmd = exec.Command(path, "--headless", "--no-remote", "--profile", b.profile, "--remote-debugging-port=0",
		"--remote-allow-system-access") // for inWindow
	b.cmd.Env = append(os.Environ(), "MOZ_CRASHREPORTER_DISABLE=1")
	dieWithParent(b.cmd)
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := b.cmd.Start(); err != nil {
		return "", err
	}
	addresses, said := make(chan string, 1), make(chan string, 1)
	go func() {
		defer close(b.ended)
		said <- readAddress(bufio.NewScanner(stderr), addresses)
		b.cmd.Wait()
	}()
	select {
	case endpoint = <-addresses:
		return endpoint, nil
	case output := <-said:
		return "", fmt.Errorf("it ended and said:\n%s", output)
	case <-time.After(time.Minute):
		b.cmd.Process.Kill()
		return "", errors.New("it named no address within a minute")
	}
}

// readAddress reads all that Firefox says, hands on the address and gives the last of the rest.
func readAddress(lines *bufio.Scanner, addresses chan<- string) string {
	var said []string
	for lines.Scan() {
		if _, address, found := strings.Cut(lines.Text(), "WebDriver BiDi listening on "); found {
			addresses <- strings.TrimSpace(address)
		}
		said = append(said[max(0, len(said)-20):], lines.Text())
	}
	return strings.Join(said, "\n")
}

func (b *firefox) connect(ctx context.Context, endpoint string) (err error) {
	if b.bidi, err = dialBiDi(ctx, endpoint+"/session", b.event); err != nil {
		return err
	}
	var session struct {
		Capabilities struct{ BrowserName, BrowserVersion string }
	}
	wanted := map[string]any{"alwaysMatch": map[string]any{"acceptInsecureCerts": true}}
	if err := b.bidi.call(ctx, "session.new", map[string]any{"capabilities": wanted}, &session); err != nil {
		return err
	}
	b.version = "Firefox/" + session.Capabilities.BrowserVersion
	var own struct{ Contexts []struct{ Context string } }
	if err := b.bidi.call(ctx, "browsingContext.getTree", map[string]any{"moz:scope": "chrome"}, &own); err != nil {
		return err
	}
	if len(own.Contexts) != 1 {
		return fmt.Errorf("it has %d windows, want one", len(own.Contexts))
	}
	b.window = own.Contexts[0].Context
	return b.bidi.call(ctx, "session.subscribe", map[string]any{"events": []string{"log.entryAdded"}}, nil)
}

// inWindow runs a script of the browser's own.
func (b *firefox) inWindow(ctx context.Context, expression string) error {
	_, err := b.evaluate(ctx, map[string]any{"expression": expression, "target": map[string]any{"context": b.window}, "awaitPromise": true})
	return err
}

// evaluate runs a script. Its exception is an error.
func (b *firefox) evaluate(ctx context.Context, params map[string]any) (value json.RawMessage, err error) {
	var answer struct {
		Type             string
		Result           struct{ Value json.RawMessage }
		ExceptionDetails struct{ Text string }
	}
	if err := b.bidi.call(ctx, "script.evaluate", params, &answer); err != nil {
		return nil, err
	}
	if answer.Type != "success" {
		return nil, errors.New(answer.ExceptionDetails.Text)
	}
	return answer.Result.Value, nil
}

func (b *firefox) Name() string    { return "firefox" }
func (b *firefox) Version() string { return b.version }

// Close asks Firefox to end, and kills it if it does not.
func (b *firefox) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if b.bidi.call(ctx, "browser.close", map[string]any{}, nil) == nil {
		select {
		case <-b.ended:
		case <-ctx.Done():
		}
	}
	b.Kill()
}

func (b *firefox) Kill() {
	b.cmd.Process.Kill()
	<-b.ended
	if b.bidi != nil {
		b.bidi.conn.CloseNow()
	}
	b.removeProfile()
}

func (b *firefox) removeProfile() {
	if b.own {
		os.RemoveAll(b.profile)
	}
}

// event hears what pages write to their consoles.
func (b *firefox) event(method string, params json.RawMessage) {
	var entry struct {
		Level, Text string
		Source      struct{ Context string }
		StackTrace  struct {
			CallFrames []struct {
				URL        string
				LineNumber int
			}
		}
	}
	if method != "log.entryAdded" || json.Unmarshal(params, &entry) != nil || entry.Level != "error" {
		return
	}
	b.mu.Lock()
	page := b.pages[entry.Source.Context]
	b.mu.Unlock()
	if page == nil {
		return
	}
	for _, frame := range entry.StackTrace.CallFrames {
		entry.Text += fmt.Sprintf(" (%s:%d)", frame.URL, frame.LineNumber)
	}
	page.mu.Lock()
	page.errors = append(page.errors, entry.Text)
	page.mu.Unlock()
}

// NewSession takes the session with the most tabs that rest, if there is one: to make a tab takes more of the processor than most
// tests do in it.
func (b *firefox) NewSession(ctx context.Context) (Session, error) {
	if s, rests := take(&b.mu, &b.sessions); rests {
		return s, nil
	}
	var made struct{ UserContext string }
	if err := b.bidi.call(ctx, "browser.createUserContext", map[string]any{}, &made); err != nil {
		return nil, err
	}
	return &firefoxSession{b: b, id: made.UserContext}, nil
}

type firefoxSession struct {
	b       *firefox
	id      string // of the user context
	pages   []*firefoxPage
	resting []string // tabs, by browsing context
}

// Close leaves the session for the next one, as new. What cannot be made so is ended. The browser may be gone already.
func (s *firefoxSession) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.b.mu.Lock()
	pages := s.pages
	s.pages = nil
	s.b.mu.Unlock()
	for _, p := range pages {
		s.rest(ctx, p)
	}
	params := map[string]any{"partition": map[string]any{"type": "storageKey", "userContext": s.id}}
	if s.b.bidi.call(ctx, "storage.deleteCookies", params, nil) != nil {
		_ = s.b.bidi.call(ctx, "browser.removeUserContext", map[string]any{"userContext": s.id}, nil)
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.sessions = append(s.b.sessions, s)
	slices.SortStableFunc(s.b.sessions, func(a, b *firefoxSession) int { return len(a.resting) - len(b.resting) })
}

// rest ends a page, and keeps its tab for another one.
func (s *firefoxSession) rest(ctx context.Context, p *firefoxPage) {
	if leave(ctx, p) != nil {
		p.Close()
		return
	}
	p.end()
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.resting = append(s.resting, p.id)
}
