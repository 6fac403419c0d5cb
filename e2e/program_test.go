package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocsigo/comet/e2e/internal/browser"
)

// The examples are built once, for all tests, in the module that they belong to.
var builds = map[string]*build{
	"chat":      {module: "..", path: "./examples/chat"},
	"mailcount": {module: "..", path: "./examples/mailcount"},
	"cluster":   {module: "../examples/cluster", path: "."},
}

type build struct {
	module, path string
	once         sync.Once
	err          error
}

// programs is where they are left, for the next run: go build links again only what has changed.
func programs() (dir string, err error) { return filepath.Abs(filepath.Join("artifacts", "programs")) }

// goBuild leaves the programs of a module's packages in programs.
func goBuild(module string, args ...string) error {
	dir, err := programs()
	if err != nil {
		return err
	}
	build := exec.Command("go", append([]string{"build", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}, args...)...)
	build.Dir = module
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %q in %s: %w\n%s", args, module, err, output)
	}
	return nil
}

// program gives the file of the example's program.
func (b *build) program(name string) (string, error) {
	b.once.Do(func() { b.err = goBuild(b.module, b.path) })
	if b.err != nil {
		return "", b.err
	}
	dir, err := programs()
	return filepath.Join(dir, name), err
}

// TestPrograms: all that the browsers are to open can be built, and their profiles begun. Run by itself it is what a machine has to do once.
func TestPrograms(t *testing.T) {
	t.Parallel()
	for name, build := range builds {
		if _, err := build.program(name); err != nil {
			t.Error(err)
		}
	}
	if err := buildHypermedia(); err != nil {
		t.Error(err)
	}
	if err := browser.Prepare(t.Context()); err != nil && !errors.Is(err, browser.ErrMissing) {
		t.Error(err)
	}
}

// servers are the pages' servers that are no examples. Each runs as a process of its own, which is this test program called
// again; a file that has one adds it in its init. The function serves until it is killed.
var servers = map[string]func(listener net.Listener, args []string) error{}

const serveVariable = "COMET_E2E_SERVE"

// served is true in a process that was called to be a server, when that has ended.
func served() bool {
	name := os.Getenv(serveVariable)
	if name == "" {
		return false
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err == nil {
		fmt.Printf("http://%s\n", listener.Addr())
		err = servers[name](listener, os.Args[2:])
	}
	fmt.Fprintf(os.Stderr, "server %s ended: %v\n", name, err)
	os.Exit(1)
	return true
}

// A program is a page's server running as a process, on a loopback port that stays its own while it does not run.
type program struct {
	t    *testing.T
	name string
	addr string
	url  string
	make func() *exec.Cmd
	cmd  *exec.Cmd
}

// start runs one of the examples.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	program, err := builds[name].program(name)
	if err != nil {
		t.Fatal(err)
	}
	addr := reserve(t)
	return run(t, name, addr, func() *exec.Cmd {
		return exec.Command(program, append([]string{"-addr", addr}, args...)...)
	})
}

// serve runs one of the servers.
func serve(t *testing.T, name string, args ...string) *program {
	t.Helper()
	if servers[name] == nil {
		t.Fatalf("no server is called %q", name)
	}
	addr := reserve(t)
	return run(t, name, addr, func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], append([]string{addr}, args...)...)
		cmd.Env = append(os.Environ(), serveVariable+"="+name)
		return cmd
	})
}

func run(t *testing.T, name, addr string, make func() *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, name: name, addr: addr, url: "http://" + addr, make: make}
	p.restart()
	t.Cleanup(p.kill)
	return p
}

// restart starts the process, or starts a killed one again, on the same port. It waits for the line in which the process
// says where it listens.
func (p *program) restart() {
	p.t.Helper()
	p.cmd = p.make()
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.Contains(line, p.url) {
		p.t.Fatalf("%s printed %q, %v: want %s, the URL to open", p.name, line, err, p.url)
	}
}

// kill is SIGKILL: no farewell to anybody.
func (p *program) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// get and post speak to the program from outside of the browser.
func (p *program) get(path string) string {
	p.t.Helper()
	return p.answer(http.Get(p.url + path))
}

func (p *program) post(path string, form url.Values) {
	p.t.Helper()
	p.answer(http.PostForm(p.url+path, form))
}

func (p *program) say(text string) {
	p.t.Helper()
	p.post("/messages", url.Values{"text": {text}})
}

func (p *program) answer(response *http.Response, err error) string {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 400 {
		p.t.Fatalf("%s %s: %s %s, %v", response.Request.Method, response.Request.URL, response.Status, body, err)
	}
	return string(body)
}

// waitFor waits for a condition outside of the browser.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	wait := 2 * time.Millisecond
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(wait) {
		if condition() {
			return
		}
		wait = min(wait*3/2, 60*time.Millisecond) // many of them ask a browser
	}
	t.Fatalf("never happened: %s", what)
}
