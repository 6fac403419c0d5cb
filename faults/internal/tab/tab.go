// Package tab is a browser's tab as the tests need it: it opens a page, hears its
// event stream as an EventSource does, and comes back to any node that a balancer
// may choose. What it heard it keeps.
package tab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/faults/internal/ledger"
	"github.com/ocsigo/comet/sse"
)

// A Balancer gives the address, host:port, of some node that may serve now.
type Balancer func() string

// Config says what a tab is.
type Config struct {
	Balance  Balancer
	Channels []string // the site channels that its page hears
	Mine     bool     // and a private channel
	// Cut is the mean time after which its connection is cut, and it comes back; 0 for
	// never.
	Cut time.Duration
	// Random is the tab's own.
	Random *rand.Rand
}

// A Tab is safe for concurrent use.
type Tab struct {
	config Config
	client *http.Client

	mu      sync.Mutex
	url     string // of the event stream, without host
	process string
	node    string // that made the page
	last    string // the last event ID
	over    bool   // 204: nothing is left to hear
	opened  int    // event streams
	gone    int    // comet:gone heard
	heard   map[string][]ledger.Heard
	epoch   map[string]int
	faults  []error
	changed chan struct{} // closed and made anew with everything that is heard
}

// Open loads the page.
func Open(ctx context.Context, c Config) (*Tab, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	t := &Tab{
		config: c, heard: map[string][]ledger.Heard{}, epoch: map[string]int{}, changed: make(chan struct{}),
		// No proxy, no kept connections: each request goes where the balancer says.
		client: &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	return t, t.load(ctx)
}

// load gets a page of some node; on a failure it is the caller's to try again.
func (t *Tab) load(ctx context.Context) error {
	query := url.Values{"c": t.config.Channels}
	if t.config.Mine {
		query.Set("mine", "true")
	}
	node := t.config.Balance()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := t.get(ctx, "http://"+node+"/page?"+query.Encode())
	if err != nil {
		return err
	}
	var page struct{ URL, Process string }
	if err := json.Unmarshal(body, &page); err != nil {
		return fmt.Errorf("tab: the page: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.url, t.process, t.node, t.last, t.over = page.URL, page.Process, node, "", false
	return nil
}

func (t *Tab) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("tab: %s: %s: %s", url, resp.Status, body)
	}
	return body, err
}

// Listen hears the event stream, and comes back whenever it ends, until ctx ends or
// nothing is left to hear.
func (t *Tab) Listen(ctx context.Context) {
	for ctx.Err() == nil && !t.Over() {
		retry := t.connect(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// connect is one connection. It returns how long to wait before the next.
func (t *Tab) connect(ctx context.Context) (retry time.Duration) {
	const refused = 200 * time.Millisecond
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	t.mu.Lock()
	target, last := t.url, t.last
	if t.config.Cut > 0 {
		timer := time.AfterFunc(time.Duration(float64(t.config.Cut)*t.config.Random.ExpFloat64()), cut)
		defer timer.Stop()
	}
	t.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.config.Balance()+target, nil)
	if err != nil {
		t.fault(err)
		return refused
	}
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return refused
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNoContent:
		t.mu.Lock()
		t.over = true
		t.mu.Unlock()
		t.tell()
		return 0
	case http.StatusOK:
	default:
		body, _ := io.ReadAll(resp.Body)
		t.fault(fmt.Errorf("tab: an EventSource dies of %s: %s", resp.Status, body))
		return refused
	}
	t.mu.Lock()
	t.opened++
	t.mu.Unlock()
	return t.read(resp.Body, last)
}

func (t *Tab) read(body io.Reader, last string) (retry time.Duration) {
	r := sse.NewReader(body, sse.ReaderConfig{LastEventID: last, Retry: 100 * time.Millisecond})
	for {
		e, err := r.Next()
		if err != nil {
			return min(r.Retry(), time.Second)
		}
		t.take(e)
	}
}

// take notes one event.
func (t *Tab) take(e sse.Event) {
	t.mu.Lock()
	t.last = e.ID
	switch {
	case e.Name == "comet:full" || e.Name == "comet:end" || e.Name == "comet:closed":
		var notice struct{ Channel, Reason string }
		if err := json.Unmarshal([]byte(e.Data), &notice); err != nil {
			t.faults = append(t.faults, fmt.Errorf("tab: %s: %w", e.Name, err))
		}
		if notice.Reason == "reset" {
			t.epoch[notice.Channel]++
		}
		t.note(notice.Channel, ledger.Heard{Hole: notice.Reason})
	case e.Name == "comet:gone":
		t.gone++
		t.note("mine", ledger.Heard{Hole: "gone"})
	case !strings.HasPrefix(e.Name, "comet:"):
		var text string
		err := json.Unmarshal([]byte(e.Data), &text)
		v, bad := ledger.Parse(text)
		if err = errors.Join(err, bad); err != nil {
			t.faults = append(t.faults, fmt.Errorf("tab: %s: %w", e.Name, err))
		}
		t.note(e.Name, ledger.Heard{Value: v})
	}
	t.mu.Unlock()
	t.tell()
}

// note needs t.mu.
func (t *Tab) note(channel string, h ledger.Heard) {
	h.Epoch, h.At = t.epoch[channel], time.Now()
	t.heard[channel] = append(t.heard[channel], h)
}

func (t *Tab) tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *Tab) fault(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, err)
}

// Until waits until holds is true, which is asked after everything that is heard, or
// for ctx.
func (t *Tab) Until(ctx context.Context, holds func() bool) error {
	for {
		t.mu.Lock()
		changed := t.changed
		t.mu.Unlock()
		if holds() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Heard is what was heard of a channel so far.
func (t *Tab) Heard(channel string) []ledger.Heard {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]ledger.Heard(nil), t.heard[channel]...)
}

// Has reports whether a value was heard of a channel, or a hole as the last of it.
func (t *Tab) Has(channel string, v ledger.Value) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	heard := t.heard[channel]
	for i := len(heard) - 1; i >= 0; i-- {
		if heard[i].Value == v || i == len(heard)-1 && heard[i].Hole != "" {
			return true
		}
	}
	return false
}

// Over reports whether the server said that nothing is left to hear.
func (t *Tab) Over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// Gone is how often the tab was told that its process is gone.
func (t *Tab) Gone() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}

// Opened is how many event streams there were.
func (t *Tab) Opened() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opened
}

// Process and Node are those of the page.
func (t *Tab) Process() (token, node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.process, t.node
}

// Faults are what no tab should see: answers that kill an EventSource, and events that
// cannot be read.
func (t *Tab) Faults() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.faults...)
}
