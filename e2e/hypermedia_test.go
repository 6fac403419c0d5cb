package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ocsigo/comet/e2e/internal/browser"
)

// frame makes a program of the Go and the HTML of a page of docs/hypermedia. Its heartbeat is short, so that the clients
// hear some.
const frame = `package main

import (
	_ "embed"
	"flag"
	"fmt"
	"html"
	"html/template"
	"io"
	"log"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

const page = %q

type views struct{ *template.Template }

func (v views) Load() error { return nil }
func (v views) Render(w io.Writer, _ string, values any, _ ...string) error { return v.Execute(w, values) }

func serve(app *fiber.App, site *scope.Site) error {
%s
	return nil
}

func main() {
	addr := flag.String("addr", "", "")
	npm := flag.String("npm", "", "")
	flag.Parse()
	site := comet.NewSite(comet.SiteConfig{Heartbeat: time.Second})
	app := fiber.New(fiber.Config{DisableStartupMessage: true, Views: views{template.Must(template.New("page").Parse(page))}})
	app.Use(comet.New(comet.Config{Site: site}))
	app.Static("/npm", *npm)
	if err := serve(app, site); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%%s\n", listener.Addr())
	log.Fatal(app.Listener(listener))
}
`

var hypermedia = []string{"datastar", "htmx2", "htmx4", "turbo"}

// block gives the code of a language in a page: exactly one.
func block(page, language string) (string, error) {
	parts := strings.Split(page, "```"+language+"\n")
	if len(parts) != 2 {
		return "", fmt.Errorf("%d blocks of %s, want 1", len(parts)-1, language)
	}
	code, _, ended := strings.Cut(parts[1], "```\n")
	if !ended {
		return "", fmt.Errorf("the block of %s does not end", language)
	}
	return code, nil
}

// buildHypermedia lays the programs over this module, which has their imports, and builds them there, once.
var buildHypermedia = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "comet-hypermedia-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	laid := map[string]string{}
	build := []string{"-overlay", filepath.Join(dir, "overlay.json")}
	for _, name := range hypermedia {
		program, err := documented(name)
		if err != nil {
			return fmt.Errorf("%s.md: %w", name, err)
		}
		main := filepath.Join(dir, name+".go")
		if err := os.WriteFile(main, program, 0o600); err != nil {
			return err
		}
		laid[filepath.Join(here, "internal", "hypermedia", name, "main.go")] = main
		build = append(build, "./internal/hypermedia/"+name)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": laid})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return err
	}
	return goBuild(".", build...)
})

// documented gives the program of a page of docs/hypermedia.
func documented(name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "hypermedia", name+".md"))
	if err != nil {
		return nil, err
	}
	code, err := block(string(text), "go")
	if err != nil {
		return nil, err
	}
	markup, err := block(string(text), "html")
	if err != nil {
		return nil, err
	}
	markup = "<!doctype html><meta charset=utf-8><title>" + name + "</title><link rel=icon href=data:,>\n" + markup
	return fmt.Appendf(nil, frame, markup, code), nil
}

// TestHypermedia: the pages of docs/hypermedia, as they stand there, with the clients from npm. A client that knows nothing
// of Comet hears every value once over a lost connection (rules 1 to 3), and the control events do it no harm (rule 15).
func TestHypermedia(t *testing.T) {
	t.Parallel()
	npm, err := filepath.Abs(filepath.Join("npm", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(npm); err != nil {
		if os.Getenv("COMET_BROWSER") == "required" {
			t.Fatalf("the hypermedia clients are not installed: cd e2e/npm && npm ci (%v)", err)
		}
		t.Skip("the hypermedia clients are not installed: cd e2e/npm && npm ci")
	}
	if err := buildHypermedia(); err != nil {
		t.Fatal(err)
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range hypermedia {
		t.Run(name, func(t *testing.T) {
			engines := []string{browser.Shell, "firefox"}
			if strings.HasPrefix(name, "htmx") { // it listens with EventSource or with fetch, as Turbo and Datastar do
				engines = engines[:1]
			}
			inBrowsers(t, func(t *testing.T, in string) {
				addr := reserve(t)
				p := run(t, name, addr, func() *exec.Cmd {
					return exec.Command(filepath.Join(dir, name), "-addr", addr, "-npm", npm)
				})
				checkHypermedia(t, newSessionIn(t, in), p)
			}, engines...)
		})
	}
}

func checkHypermedia(t *testing.T, s session, p *program) {
	shows := func(tab *tab, want ...string) {
		t.Helper()
		const texts = `[...document.querySelectorAll("#log p")].map(p => p.textContent)`
		tab.until(fmt.Sprintf(`%s.includes(%q)`, texts, want[len(want)-1]))
		if got := eval[[]string](tab, texts); !slices.Equal(got, want) {
			t.Fatalf("the page shows %q, want %q", got, want)
		}
	}
	between := newFront(t, p.url)
	p.say("before the page")
	tab := s.open(between.url)
	for _, lost := range []string{"htmx:sse:error", "[object Event]", "network error", "Error in input stream", "Datastar failed to reach", "etch"} { // what htmx 4, htmx 2 and Datastar say of it
		tab.expect(lost)
	}
	shows(tab, "before the page")
	p.say("<b>live</b>")
	shows(tab, "before the page", "<b>live</b>")
	between.refuse()
	between.cut()
	p.say("missed 1")
	p.say("missed 2")
	between.listen()
	shows(tab, "before the page", "<b>live</b>", "missed 1", "missed 2")
	// A heartbeat comes after a second of silence.
	tab.until(`performance.now() > (window.quiet ??= performance.now() + 1500)`)
	p.say("after")
	shows(tab, "before the page", "<b>live</b>", "missed 1", "missed 2", "after")
}
