package proxies

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds what must happen but has no moment of its own.
const patience = 30 * time.Second

// A proxy is a program that stands before a server: its configuration is a file in a directory of its own.
type proxy struct {
	name, program, pkg string
	config             string // LISTEN, ORIGIN and DIR are replaced
	args               []string
}

var proxies = []proxy{
	{name: "none"},
	{name: "nginx, HTTP 1.0", program: "nginx", pkg: "nginx-light", config: nginx("1.0"), args: nginxArgs},
	{name: "nginx, HTTP 1.1", program: "nginx", pkg: "nginx-light", config: nginx("1.1"), args: nginxArgs},
	{name: "HAProxy", program: "haproxy", pkg: "haproxy", args: []string{"-db", "-f", "DIR/config"}, config: `
		defaults
			mode http
			timeout connect 5s
			timeout client 60s
			timeout server 60s
			option http-no-delay
			compression algo gzip
			compression type text/event-stream
		listen here
			bind LISTEN
			server origin ORIGIN
	`},
	{name: "Caddy", program: "caddy", pkg: "caddy", args: []string{"run", "--adapter", "caddyfile", "--config", "DIR/config"}, config: `
		{
			admin off
			auto_https off
		}
		http://LISTEN {
			encode zstd gzip
			reverse_proxy ORIGIN
		}
	`},
}

var nginxArgs = []string{"-p", "DIR", "-c", "DIR/config", "-e", "DIR/error.log"}

// nginx speaks that version of HTTP to the origin; 1.0 is its default.
func nginx(version string) string {
	return `
		daemon off;
		master_process off;
		pid DIR/pid;
		events {}
		http {
			access_log off;
			client_body_temp_path DIR/body;
			proxy_temp_path DIR/proxy;
			fastcgi_temp_path DIR/fastcgi;
			uwsgi_temp_path DIR/uwsgi;
			scgi_temp_path DIR/scgi;
			gzip on;
			gzip_types text/event-stream;
			gzip_min_length 1;
			gzip_proxied any;
			server {
				listen LISTEN;
				location / {
					proxy_pass http://ORIGIN;
					proxy_http_version ` + version + `;
				}
			}
		}
	`
}

// need is the path of a program, without which the test is skipped or, where it is required, fails.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("COMET_PROXIES") == "required" {
		t.Fatalf("COMET_PROXIES=required, but %s is not installed: on Debian, apt-get install %s", program, pkg)
	}
	if err != nil {
		t.Skipf("%s is not installed: on Debian, apt-get install %s", program, pkg)
	}
	return path
}

// before starts the proxy before origin, and gives the address to ask instead.
func (p proxy) before(t *testing.T, origin string) string {
	t.Helper()
	if p.program == "" {
		return origin
	}
	path, dir, listen := need(t, p.program, p.pkg), t.TempDir(), freePort(t)
	fill := strings.NewReplacer("LISTEN", listen, "ORIGIN", origin, "DIR", dir)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(fill.Replace(p.config)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, arg := range p.args {
		args = append(args, fill.Replace(arg))
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // nginx's workers outlive a master that is killed
	said := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", p.name, said)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			c.Close()
			return listen
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %v", p.name, err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fmt.Sprint(ln.Addr())
}
