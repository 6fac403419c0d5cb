package proxies

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocsigo/comet/doctor"
	"github.com/ocsigo/comet/sse"
)

// A deployment is the blocks of docs/production.md, by their languages, at addresses of the test.
type deployment struct {
	t                *testing.T
	of               map[string]string
	public, operator string // the app's addresses
	process          *exec.Cmd
	said             bytes.Buffer
}

// newDeployment reads the page. What is done to its blocks is only this: two addresses are others.
func newDeployment(t *testing.T) *deployment {
	t.Helper()
	text, err := os.ReadFile("../../docs/production.md")
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{t: t, of: map[string]string{}, public: freePort(t), operator: freePort(t)}
	move := strings.NewReplacer("127.0.0.1:3000", d.public, "127.0.0.1:3001", d.operator)
	for i, part := range strings.Split(string(text), "```") {
		if language, block, ok := strings.Cut(part, "\n"); i%2 == 1 && ok {
			d.of[language] += move.Replace(block)
		}
	}
	for _, language := range []string{"go", "ini", "nginx", "yaml", "sh"} {
		if d.of[language] == "" {
			t.Fatalf("docs/production.md has no block of %s", language)
		}
	}
	return d
}

// build makes the program as a module of its own, as the reader of the page does, of this tree.
func (d *deployment) build() (program string) {
	d.t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		d.t.Fatal(err)
	}
	dir := d.t.TempDir()
	module := fmt.Sprintf(`module app

go 1.25

require (
	github.com/ocsigo/comet v0.0.0
	github.com/ocsigo/comet/metrics/prometheus v0.0.0
)

replace github.com/ocsigo/comet => %s

replace github.com/ocsigo/comet/metrics/prometheus => %s/metrics/prometheus
`, root, root)
	var sums []byte
	for _, of := range []string{"", "metrics/prometheus"} {
		sum, err := os.ReadFile(filepath.Join(root, of, "go.sum"))
		if err != nil {
			d.t.Fatal(err)
		}
		sums = append(sums, sum...)
	}
	for name, text := range map[string]string{"main.go": d.of["go"], "go.mod": module, "go.sum": string(sums)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-mod=mod", "-o", "app", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		d.t.Fatalf("the program of docs/production.md: %v\n%s", err, output)
	}
	return filepath.Join(dir, "app")
}

// setting is a line of the unit.
func (d *deployment) setting(name string) string {
	d.t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + `=(.+)$`).FindStringSubmatch(d.of["ini"])
	if found == nil {
		d.t.Fatalf("the unit has no %s", name)
	}
	return found[1]
}

// start runs the program within the unit's limits, in its environment.
func (d *deployment) start(program string) {
	d.t.Helper()
	d.process = exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, d.files()), program)
	d.process.Env = append(os.Environ(), d.setting("Environment"))
	d.process.Stderr = &d.said
	if err := d.process.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = d.process.Process.Kill()
		_ = d.process.Wait()
		if d.t.Failed() {
			d.t.Logf("the program said:\n%s", &d.said)
		}
	})
}

// files is how many the unit allows, or this machine.
func (d *deployment) files() uint64 {
	d.t.Helper()
	files, err := strconv.ParseUint(d.setting("LimitNOFILE"), 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	var here syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &here); err != nil {
		d.t.Fatal(err)
	}
	return min(files, here.Max)
}

// stop ends it as the unit says, and waits as long as that does.
func (d *deployment) stop() {
	d.t.Helper()
	if got := d.setting("KillSignal"); got != "SIGTERM" {
		d.t.Fatalf("the unit stops by %s", got)
	}
	seconds, err := strconv.Atoi(d.setting("TimeoutStopSec"))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.process.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	late := time.AfterFunc(time.Duration(seconds)*time.Second, func() { _ = d.process.Process.Kill() })
	defer late.Stop()
	if err := d.process.Wait(); err != nil {
		d.t.Errorf("the program ended with %v", err)
	}
}

func (d *deployment) get(address, path string) (status int, body string) {
	d.t.Helper()
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

// TestProduction: who copies each block of docs/production.md as it stands has an app that is heard through its proxy, its figures,
// its limits, and a drain.
func TestProduction(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	configuration := strings.NewReplacer("listen 80;", "listen LISTEN;", "http {",
		"daemon off;\npid DIR/pid;\nhttp {\naccess_log off;\nclient_body_temp_path DIR/body;\nproxy_temp_path DIR/proxy;\nfastcgi_temp_path DIR/fastcgi;\nuwsgi_temp_path DIR/uwsgi;\nscgi_temp_path DIR/scgi;\n",
	).Replace(d.of["nginx"])
	need(t, "nginx", "nginx-light")
	d.start(d.build())
	for _, line := range strings.Split(d.of["sh"], "\n") {
		if strings.HasPrefix(line, "curl ") { // waits until it is ready
			if output, err := exec.Command("/bin/sh", "-c", line).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, output)
			}
		}
	}
	web := proxy{name: "nginx", program: "nginx", pkg: "nginx-light", args: nginxArgs, config: configuration}.before(t, d.public)

	status, body := d.get(web, "/")
	var page struct{ URL string }
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
		t.Fatalf("the page: %d, %v: %s", status, err, body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+web+page.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := sse.NewReader(resp.Body)
	next := func(name string) sse.Event {
		t.Helper()
		for {
			e, err := events.Next()
			if err != nil {
				t.Fatalf("waiting for %s: %v", name, err)
			}
			if e.Name == name {
				return e
			}
		}
	}
	next("comet:hello")
	said, err := http.PostForm("http://"+web+"/messages", url.Values{"text": {"good morning"}})
	if err != nil || said.StatusCode != http.StatusOK {
		t.Fatalf("saying something: %v, %v", said, err)
	}
	said.Body.Close()
	if e := next("chat"); string(e.Data) != `"good morning"` {
		t.Errorf("heard %s", e.Data)
	}

	target := regexp.MustCompile(`targets: \["([^"]+)"\]`).FindStringSubmatch(d.of["yaml"])
	if target == nil {
		t.Fatal("prometheus.yml has no target")
	}
	_, figures := d.get(target[1], "/metrics")
	for _, want := range []string{"comet_streams 1\n", `comet_channel_values_delivered_total{channel="chat"`, "process_max_fds "} {
		if !strings.Contains(figures, want) {
			t.Errorf("the figures lack %q", want)
		}
	}
	if fds := regexp.MustCompile(`(?m)^process_max_fds (\S+)`).FindStringSubmatch(figures); fds == nil || number(t, fds[1]) != float64(d.files()) {
		t.Errorf("process_max_fds is %v, want %d", fds, d.files())
	}
	if status, body := d.get(d.operator, "/inspect"); status != http.StatusOK || !strings.Contains(body, "inspect.js") {
		t.Errorf("inspect: %d, %.100s", status, body)
	}
	if status, _ := d.get(web, "/metrics"); status != http.StatusNotFound {
		t.Errorf("the figures are public: %d", status)
	}
	if m, found := examine(t, web, false, false); !doctor.Healthy(found) {
		t.Errorf("the doctor found %+v in %+v", found, m)
	}

	stopped := make(chan struct{})
	go func() { defer close(stopped); d.stop() }()
	next("comet:away")
	if _, err := events.Next(); err != io.EOF {
		t.Errorf("after comet:away: %v", err)
	}
	<-stopped
	if status, body := d.get(web, page.URL); status != http.StatusOK || body != "retry: 3000\n\n" {
		t.Errorf("while nobody listens: %d, %q", status, body)
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
