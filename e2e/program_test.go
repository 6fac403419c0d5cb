package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The examples are built once, for all tests.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func buildPrograms() {
	programs.dir, programs.err = os.MkdirTemp("", "comet-e2e-")
	if programs.err != nil {
		return
	}
	build := exec.Command("go", "build", "-o", programs.dir+string(filepath.Separator), "./examples/chat", "./examples/mailcount")
	build.Dir = ".." // the module that this one tests
	if output, err := build.CombinedOutput(); err != nil {
		programs.err = fmt.Errorf("%w\n%s", err, output)
	}
}

// A program is one of the examples, running as a process on a loopback port.
type program struct {
	t    *testing.T
	name string
	args []string
	url  string
	cmd  *exec.Cmd
}

func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	programs.once.Do(buildPrograms)
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	p := &program{t: t, name: name, args: args}
	p.run("127.0.0.1:0")
	t.Cleanup(p.kill)
	return p
}

var printedURL = regexp.MustCompile(`http://\S+`)

// run starts the process and waits for the line in which it says where it listens.
func (p *program) run(addr string) {
	p.t.Helper()
	p.cmd = exec.Command(filepath.Join(programs.dir, p.name), append([]string{"-addr", addr}, p.args...)...)
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if p.url = printedURL.FindString(line); err != nil || p.url == "" {
		p.t.Fatalf("%s printed %q, %v: want the URL to open", p.name, line, err)
	}
}

// kill is SIGKILL: no farewell to anybody.
func (p *program) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// restart starts a killed program again, on the same port.
func (p *program) restart() {
	p.t.Helper()
	p.run(strings.TrimPrefix(p.url, "http://"))
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
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}
