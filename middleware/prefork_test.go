package middleware_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/middleware"
	"github.com/ocsigo/comet/scope"
)

// shared says that other processes see its logs. They do not, which is no matter for
// whether a child may start.
type shared struct{ *memory.Engine }

func (s shared) Caps() engine.Caps {
	c := s.Engine.Caps()
	c.Shared = true
	return c
}

// preforkServer is an app under Fiber's own Prefork: the master, and its children,
// each in this test's binary.
func preforkServer(address, kind string) {
	var config scope.SiteConfig
	if kind == "shared" {
		config.Engine = shared{memory.New()}
	}
	app := newApp(fiber.Config{Prefork: true})
	app.Use(middleware.New(middleware.Config{Site: scope.NewSite(config)}))
	app.Get("/child", func(c *fiber.Ctx) error { return c.SendString(fmt.Sprint(fiber.IsChild())) })
	app.Get("/end", func(*fiber.Ctx) error { os.Exit(3); return nil }) // a child's end is the master's, which kills the others
	fmt.Println("Listen said:", app.Listen(address))
	os.Exit(4)
}

// TestPrefork runs Fiber's Prefork: with an engine in the memory of one process it
// fails at start, with the remedy; with a shared one it serves.
func TestPrefork(t *testing.T) {
	if address := os.Getenv("COMET_TEST_PREFORK_AT"); address != "" {
		preforkServer(address, os.Getenv("COMET_TEST_PREFORK_ENGINE"))
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	start := func(kind string) (url string, server *exec.Cmd, out *logbook) {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := ln.Addr().String()
		ln.Close() // the children share it by SO_REUSEPORT
		out = new(logbook)
		server = exec.Command(os.Args[0], "-test.run=^TestPrefork$", "-test.timeout=5m")
		server.Env = append(os.Environ(), "COMET_TEST_PREFORK_AT="+address, "COMET_TEST_PREFORK_ENGINE="+kind, "GOMAXPROCS=2")
		server.Stdout, server.Stderr = out, out
		server.WaitDelay = time.Minute
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		return "http://" + address, server, out
	}

	_, server, out := start("memory")
	_ = server.Wait()
	for _, want := range []string{"comet.New: under Prefork", "Prefork to false", "SiteConfig.Engine", "Listen said: exit status"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the server said %s, want %q", out, want)
		}
	}

	url, server, out := start("shared")
	eventually(t, "a child serves", func() bool {
		resp, err := http.Get(url + "/child")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == http.StatusOK && string(body) == "true"
	})
	if resp, err := http.Get(url + "/end"); err == nil {
		resp.Body.Close()
	}
	_ = server.Wait()
	http.DefaultClient.CloseIdleConnections()
	if said := out.String(); strings.Contains(said, "comet.New") || !strings.Contains(said, "Listen said: exit status 3") {
		t.Errorf("the server said %s", said)
	}
}
