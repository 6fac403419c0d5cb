package proxies

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/sse"
)

// A client hears a URL as a program of its own, which accepts one coding and writes the text of what it hears.
type client struct {
	name, pkg string
	args      []string // URL and CODING are replaced
	codings   string
}

// clients are curl, and Node's fetch, of which that of Node 20 decodes no zstd.
var clients = []client{
	{"curl", "curl", []string{"-sSN", "--compressed", "-H", "Accept-Encoding: CODING", "http://URL"}, "gzip zstd identity"},
	{"node", "nodejs", []string{"-e", `
		const r = await fetch("http://URL", {headers: {"accept-encoding": "CODING"}});
		for await (const part of r.body) process.stdout.write(part);
	`, "--input-type=module"}, "gzip identity"},
}

// An origin is a server with one channel, whose address is at /.
type origin struct {
	addr  string
	posts *channel.Sender[string]
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	site := comet.NewSite()
	posts, stream := channel.Push[string]()
	chat, err := channel.Create(site, stream, channel.Config{Name: "chat", Size: 200})
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(comet.New(comet.Config{Site: site, Compression: []string{"zstd", "gzip"}}))
	app.Get("/", func(c *fiber.Ctx) error {
		address, err := comet.Open(c, chat.History(200))
		if err != nil {
			return err
		}
		return c.SendString(address)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := site.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := app.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &origin{ln.Addr().String(), posts}
}

func (o *origin) say(t *testing.T, text string) {
	t.Helper()
	if err := o.posts.Send(context.Background(), text); err != nil {
		t.Fatal(err)
	}
}

// TestThroughProxies: whatever stands between, each value is heard before the next is said, large or small, compressed or not,
// and the end as a clean one (rule 2).
func TestThroughProxies(t *testing.T) {
	for _, p := range proxies {
		for _, c := range clients {
			for coding := range strings.FieldsSeq(c.codings) {
				t.Run(p.name+"/"+c.name+"/"+coding, func(t *testing.T) {
					t.Parallel()
					program := need(t, c.name, c.pkg)
					o := newOrigin(t)
					addr := p.before(t, o.addr)
					for range 100 {
						o.say(t, "a small one of the replay")
					}
					url := addr + get(t, "http://"+addr+"/", "identity", "")
					get(t, "http://"+url, coding, coding)
					o.heardBy(t, program, c, url, coding)
				})
			}
		}
	}
}

// get gives the body of a response, or only looks at the coding that it has to be in.
func get(t *testing.T, url, accept, coding string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", accept)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if coding != "" {
		if got := resp.Header.Get("Content-Encoding"); got != coding && (coding != "identity" || got != "") {
			t.Errorf("the response is in %q, want %q", got, coding)
		}
		return ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// heardBy says values that the program has to hear one by one, and then the end.
func (o *origin) heardBy(t *testing.T, program string, c client, url, coding string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fill := strings.NewReplacer("URL", url, "CODING", coding)
	var args []string
	for _, arg := range c.args {
		args = append(args, fill.Replace(arg))
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	events := sse.NewReader(out)
	expect := func(name, data string) {
		t.Helper()
		for {
			e, err := events.Next()
			if err != nil {
				t.Fatalf("waiting for %s %.30q: %v", name, data, err)
			}
			if e.Name == "comet:hello" || e.Name == "comet:hb" {
				continue
			}
			if e.Name != name || !strings.Contains(string(e.Data), data) {
				t.Fatalf("heard %s %.60q, want %s %.30q", e.Name, e.Data, name, data)
			}
			return
		}
	}
	for range 100 {
		expect("chat", "a small one")
	}
	for _, text := range []string{"small", strings.Repeat("large, ", 1000), "small again", strings.Repeat("larger, ", 10000)} {
		o.say(t, text)
		expect("chat", text)
	}
	o.posts.Close()
	expect("comet:end", "end")
	if e, err := events.Next(); err != io.EOF {
		t.Errorf("after the end: %s, %v", e.Name, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
}
