package around

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"

	"github.com/ocsigo/comet/sse"
)

// A Page is what a browser has open.
type Page struct {
	app    *App
	client *http.Client
	fields []string // that the browser sends with every request
	stream string   // the event stream's address
	resp   *http.Response
	cancel context.CancelFunc
	events *sse.Reader
}

// Open loads the page, in a browser of its own. fields alternate the names and the
// values of headers that the browser sends besides.
func (a *App) Open(fields ...string) (*Page, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{}
	p := &Page{app: a, client: &http.Client{Jar: jar, Transport: transport}, fields: fields, cancel: func() {}}
	a.t.Cleanup(func() {
		p.Cut()
		transport.CloseIdleConnections()
	})
	return p, p.Load()
}

// Load loads the page, or loads it again.
func (p *Page) Load() error {
	status, body, err := p.do("GET", "/", "", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "none")
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("the page: %d %s %v", status, body, err)
	}
	p.stream = body
	return nil
}

func (p *Page) request(ctx context.Context, method, path, body string, fields []string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.app.origin+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	all := append(append([]string{"Accept-Encoding", "gzip, deflate, br, zstd", "Accept", "*/*"}, p.fields...), fields...)
	for i := 0; i < len(all); i += 2 {
		r.Header.Set(all[i], all[i+1])
	}
	return p.client.Do(r)
}

func (p *Page) do(method, path, body string, fields ...string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if method == "GET" {
		fields = append(fields, "Accept-Encoding", "identity")
	}
	resp, err := p.request(ctx, method, path, body, fields)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// Connect opens the event stream as EventSource does; last is Last-Event-ID.
func (p *Page) Connect(last string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	fields := []string{"Accept", "text/event-stream", "Cache-Control", "no-cache", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin"}
	if last != "" {
		fields = append(fields, "Last-Event-ID", last)
	}
	resp, err := p.request(ctx, "GET", p.stream, "", fields)
	if err != nil {
		cancel()
		return fmt.Errorf("the event stream: %w", err)
	}
	p.resp, p.cancel = resp, cancel
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		return fmt.Errorf("the event stream: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	if got := resp.Header.Get("Content-Encoding"); got != "" {
		return fmt.Errorf("the event stream is in %s", got)
	}
	p.events = sse.NewReader(resp.Body, sse.ReaderConfig{LastEventID: last})
	return nil
}

// Cut ends the connection of the event stream.
func (p *Page) Cut() {
	p.cancel()
	if p.resp != nil {
		p.resp.Body.Close()
	}
}

// Expect reads the next event but hello and heartbeats.
func (p *Page) Expect(name, data string) error {
	for {
		e, err := p.events.Next()
		if err != nil {
			return fmt.Errorf("waiting for %s %s: %w", name, data, err)
		}
		if e.Name == "comet:hello" || e.Name == "comet:hb" {
			continue
		}
		if e.Name != name || !strings.Contains(string(e.Data), data) {
			return fmt.Errorf("heard %s %s, want %s %s", e.Name, e.Data, name, data)
		}
		return nil
	}
}

// Hears puts a value into chat, which has to come before anything else is put.
func (p *Page) Hears(text string) error {
	p.app.put(p.app.chat, text)
	return p.Expect("chat", text)
}

// Command sends one, and wants it done.
func (p *Page) Command(body string, fields ...string) error {
	status, answer, err := p.do("POST", p.stream, body, append([]string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin"}, fields...)...)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("the command %s: %d %s %v", body, status, answer, err)
	}
	return nil
}

// Everything is what a page does: it hears values one by one, of its own channel
// and of the site's, has a command carried out, is cut, and comes back to what it
// missed.
func (p *Page) Everything() error {
	steps := []func() error{
		func() error { return p.Connect("") },
		func() error { return p.Expect("mine", "hello") },
		func() error { return p.Hears("one") },
		func() error { return p.Hears("two") },
		func() error { return p.Command("register=news") },
		func() error { p.app.put(p.app.news, "three"); return p.Expect("news", "three") },
		func() error {
			p.Cut()
			p.app.put(p.app.chat, "four")
			p.app.put(p.app.chat, "five")
			return p.Connect(p.events.LastEventID())
		},
		func() error { return p.Expect("chat", "four") },
		func() error { return p.Expect("chat", "five") },
		func() error { return p.Hears("six") },
		func() error { p.app.put(p.app.news, "seven"); return p.Expect("news", "seven") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
