package browser

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// webkit is WebKitGTK's MiniBrowser. A driver has one session, and a session has a MiniBrowser of its own: so sessions are
// processes here, and what they share is a display.
type webkit struct {
	driver  string // WebKitWebDriver
	mini    string // MiniBrowser
	setpriv string
	display *display
	version string

	mu       sync.Mutex
	sessions map[*webkitSession]bool
	resting  []*webkitSession // of them, that were closed, and are as new
	killed   bool
}

func startWebKit(ctx context.Context) (Browser, error) {
	const packages = "webkit2gtk-driver xvfb"
	b := &webkit{sessions: map[*webkitSession]bool{}}
	var err error
	if b.driver, err = find(packages, "WebKitWebDriver"); err != nil {
		return nil, err
	}
	if b.setpriv, err = find("util-linux", "setpriv"); err != nil {
		return nil, err
	}
	const beside = "/usr/lib/*/webkit*gtk-*/MiniBrowser" // it is in no PATH
	found, err := filepath.Glob(beside)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no %s: %w; on Debian: apt-get install %s", beside, ErrMissing, packages)
	}
	b.mini = found[len(found)-1]
	xvfb, err := find(packages, "Xvfb")
	if err != nil {
		return nil, err
	}
	if b.display, err = startDisplay(xvfb); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", xvfb, err)
	}
	// The version is known by a session. Nothing else says that the parts fit together.
	first, err := b.NewSession(ctx)
	if err != nil {
		b.Kill()
		return nil, err
	}
	b.version = first.(*webkitSession).version
	first.Close()
	return b, nil
}

func (b *webkit) Name() string    { return "webkit" }
func (b *webkit) Version() string { return "WebKitGTK/" + b.version }

func (b *webkit) Close() { b.end((*webkitSession).quit) }
func (b *webkit) Kill()  { b.end((*webkitSession).kill) }

func (b *webkit) end(each func(*webkitSession)) {
	b.mu.Lock()
	b.killed = true
	sessions := b.sessions
	b.sessions, b.resting = map[*webkitSession]bool{}, nil
	b.mu.Unlock()
	var ending sync.WaitGroup
	for s := range sessions {
		ending.Go(func() { each(s) })
	}
	ending.Wait()
	b.display.kill()
}

// NewSession takes a session that rests, if there is one: to start a driver, which starts a MiniBrowser, takes more than a
// second of the processor.
func (b *webkit) NewSession(ctx context.Context) (Session, error) {
	if s, rests := take(&b.mu, &b.resting); rests {
		return s, nil
	}
	return b.begin(ctx)
}

// begin starts a driver, which starts a MiniBrowser.
func (b *webkit) begin(ctx context.Context) (Session, error) {
	s := &webkitSession{b: b, ended: make(chan struct{})}
	address, err := s.run()
	if err != nil {
		return nil, fmt.Errorf("%s does not start: %w", b.driver, err)
	}
	b.mu.Lock()
	killed := b.killed
	b.sessions[s] = true
	b.mu.Unlock()
	if killed {
		s.kill()
		return nil, errors.New("the browser was closed")
	}
	// The driver kills no MiniBrowser when it is killed itself; the system does so for setpriv.
	options := map[string]any{"binary": b.setpriv, "args": []string{"--pdeathsig", "KILL", b.mini, "--automation"}}
	capabilities := map[string]any{
		"acceptInsecureCerts":      true,
		"webkitgtk:browserOptions": options,
		"timeouts":                 map[string]any{"script": (10 * time.Minute).Milliseconds()}, // contexts end sooner
	}
	if s.driver, s.version, err = newWebDriver(ctx, "http://"+address, capabilities); err == nil {
		err = s.driver.get(ctx, "/window", &s.blank)
	}
	if err != nil {
		s.kill()
		return nil, fmt.Errorf("%s does not begin a session: %w", b.driver, err)
	}
	return s, nil
}

// port gives one that nobody listens at, below those that the system gives to whoever asks for any: of these one might go to
// somebody else before the driver listens.
func port() (address string, err error) {
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000)))
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
	}
	return "", errors.New("none of 100 ports is free")
}

// run starts the driver on a port of its own.
func (s *webkitSession) run() (address string, err error) {
	if address, err = port(); err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	s.cmd = exec.Command(s.b.driver, "--host=127.0.0.1", "--port="+port)
	s.cmd.Env = append(os.Environ(), "DISPLAY="+s.b.display.name, "GTK_A11Y=none", "NO_AT_BRIDGE=1",
		"WEBKIT_DISABLE_COMPOSITING_MODE=1") // there is no graphics processor, and to imitate one takes a quarter of all that is done
	dieWithParent(s.cmd)
	said, err := s.cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := s.cmd.Start(); err != nil {
		return "", err
	}
	var output strings.Builder
	go func() {
		defer close(s.ended)
		io.Copy(&output, io.LimitReader(said, 4<<10))
		io.Copy(io.Discard, said) // MiniBrowser has it, too: its end is the end of all
		s.cmd.Wait()
	}()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return address, nil
		}
		select {
		case <-s.ended:
			return "", fmt.Errorf("it ended and said:\n%s", output.String())
		default:
		}
	}
	s.kill()
	return "", errors.New("it did not listen within a minute")
}

// A display is what windows are drawn on, where there is no screen.
type display struct {
	cmd  *exec.Cmd
	name string // as in DISPLAY
}

func startDisplay(xvfb string) (*display, error) {
	number, its, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer number.Close()
	cmd := exec.Command(xvfb, "-displayfd", "3", "-screen", "0", "1280x1024x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{its}
	dieWithParent(cmd)
	err = cmd.Start()
	its.Close()
	if err != nil {
		return nil, err
	}
	d := &display{cmd: cmd}
	// It takes a number that is free, and says which when it is ready.
	line, err := bufio.NewReader(number).ReadString('\n')
	if err != nil {
		d.kill()
		return nil, errors.New("it ended and named no display")
	}
	d.name = ":" + strings.TrimSpace(line)
	return d, nil
}

func (d *display) kill() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
}
