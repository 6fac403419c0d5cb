package doctor

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/sse"
)

// Options say what Check asks, and how.
type Options struct {
	// URL is where comet.Doctor is reached, as a browser would ask for it.
	URL string
	// Header is sent with every request: what the app's authorization wants.
	Header http.Header
	// Idle measures silence, too, which takes two heartbeats of the Site.
	Idle bool
	// Client asks. Its cookies and redirects are its own. Default: one of
	// http.DefaultTransport's settings that follows no redirect.
	Client *http.Client
}

// patience is how much longer than it should take something may take.
const patience = 5 * time.Second

// Check measures. An error means that there is nothing to judge: ctx ended, or the
// URL is no comet.Doctor's.
func Check(ctx context.Context, o Options) (Measured, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Measured{}, fmt.Errorf("%q is no URL: write it whole, such as https://app.example.com/doctor", o.URL)
	}
	c := &checker{o: o, url: u, client: o.Client}
	if c.client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		defer transport.CloseIdleConnections()
		c.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	m := Measured{URL: o.URL}
	if err := c.trip(ctx, &m); err != nil {
		return m, err
	}
	c.ticks(ctx, &m)
	if m.Seen != nil {
		c.first(ctx, &m)
		c.back(ctx, &m)
		c.crowd(ctx, &m)
		c.command(ctx, &m)
		if o.Idle {
			c.idle(ctx, &m)
		}
	}
	return m, ctx.Err()
}

type checker struct {
	o      Options
	url    *url.URL
	client *http.Client
}

// newID names a probe.
func newID() string { return rand.Text() }

// send asks; query and fields alternate names and values.
func (c *checker) send(ctx context.Context, method string, query []string, body []byte, fields ...string) (*http.Response, error) {
	u := *c.url
	q := u.Query()
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, c.o.Header.Clone())
	r.Header.Set("Accept-Encoding", "gzip") // as browsers do; said, so that it stays to be seen
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	return c.client.Do(r)
}

func decoded(resp *http.Response) (io.Reader, error) {
	if resp.Header.Get("Content-Encoding") == "gzip" {
		return gzip.NewReader(resp.Body)
	}
	return resp.Body, nil
}

// ask is for answers in JSON.
func (c *checker) ask(ctx context.Context, method string, query []string, body []byte, answer any, fields ...string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	resp, err := c.send(ctx, method, query, body, fields...)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := decoded(resp)
	if err != nil {
		return resp.StatusCode, err
	}
	data, err := io.ReadAll(io.LimitReader(text, 1<<20))
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(data, answer)
	}
	return resp.StatusCode, err
}

// trip measures how long a request takes, and finds out whether there is a doctor.
func (c *checker) trip(ctx context.Context, m *Measured) error {
	for i := range 4 {
		var seen Seen
		begun := time.Now()
		status, err := c.ask(ctx, "GET", []string{"seen", "1"}, nil, &seen)
		took := since(begun)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case status == 0:
			return fmt.Errorf("%s cannot be reached: %w", c.o.URL, err)
		case status != http.StatusOK:
			return fmt.Errorf("%s answers %d: is comet.Doctor() there, and does it let you in (-H 'Cookie: …')?", c.o.URL, status)
		case err != nil || seen.Heartbeat == 0:
			return fmt.Errorf("%s is no comet.Doctor: its answer is none of it (%v)", c.o.URL, err)
		case i > 0 && (m.Trip == 0 || took < m.Trip): // the first makes the connection
			m.Trip = took
		}
	}
	return nil
}

func since(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }

// A heard event, and when, in milliseconds from the request.
type heard struct {
	sse.Event
	at float64
}

// listen opens a probe and calls f with each event until f returns false, the end,
// or within. The error is io.EOF for a clean end.
func (c *checker) listen(ctx context.Context, id, phase string, within time.Duration, began func(*http.Response), f func(heard) bool, fields ...string) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	begun := time.Now()
	resp, err := c.send(ctx, "GET", []string{"probe", id, "phase", phase}, nil, append([]string{"Accept", "text/event-stream", "Cache-Control", "no-cache"}, fields...)...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if began != nil {
		began(resp)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	text, err := decoded(resp)
	if err != nil {
		return err
	}
	events := sse.NewReader(text)
	for {
		e, err := events.Next()
		if err != nil {
			return err
		}
		e.Data, e.Name = bytes.Clone(e.Data), strings.Clone(e.Name)
		if !f(heard{e, since(begun)}) {
			return nil
		}
	}
}

func (c *checker) ticks(ctx context.Context, m *Measured) {
	m.End = "never"
	begun := time.Now()
	err := c.listen(ctx, newID(), PhaseTicks, Ticks*Every+patience, func(resp *http.Response) {
		m.Opened = since(begun)
		m.Status, m.Protocol, m.Header = resp.StatusCode, resp.Proto, map[string]string{}
		for name := range resp.Header {
			m.Header[name] = resp.Header.Get(name)
		}
	}, func(e heard) bool {
		var sent Sent
		switch e.Name {
		case EventHello:
			m.Seen = new(Seen)
			if json.Unmarshal(e.Data, m.Seen) != nil {
				m.Seen = nil
			}
		case EventTick:
			if json.Unmarshal(e.Data, &sent) == nil {
				m.Ticks = append(m.Ticks, Tick{sent.At, e.at})
			}
		}
		return true
	})
	switch {
	case err == io.EOF:
		m.End = "clean"
	case m.Status == 0:
		m.Error = err.Error()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil { // reached before, and now not even a header
			m.Status, m.Header = http.StatusOK, map[string]string{"Content-Type": "text/event-stream"}
		}
	case !errors.Is(err, context.DeadlineExceeded):
		m.End = "cut"
	}
}

// first measures when the first event of an event stream comes, at best.
func (c *checker) first(ctx context.Context, m *Measured) {
	for range 3 {
		_ = c.listen(ctx, newID(), PhaseOpen, patience, nil, func(e heard) bool {
			if m.First == 0 || e.at < m.First {
				m.First = e.at
			}
			return false
		})
	}
}

// back comes back with a Last-Event-ID, and leaves.
func (c *checker) back(ctx context.Context, m *Measured) {
	id, said := newID(), "12,"+newID()
	_ = c.listen(ctx, id, PhaseOpen, patience, nil, func(e heard) bool {
		var seen Seen
		if e.Name == EventHello && json.Unmarshal(e.Data, &seen) == nil {
			m.Returned = &Returned{said, seen.LastEventID}
		}
		return false
	}, "Last-Event-ID", said)
	if m.Returned == nil {
		return
	}
	m.Left = new(Left)
	for end := time.Now().Add(patience); !m.Left.Left && time.Now().Before(end) && ctx.Err() == nil; {
		if _, err := c.ask(ctx, "GET", []string{"left", id}, nil, m.Left); err != nil {
			m.Left = nil
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// crowd opens event streams and holds each until all are answered, or patience
// ends.
func (c *checker) crowd(ctx context.Context, m *Measured) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		answered    atomic.Int32
		mu          sync.Mutex
		connections = map[string]bool{}
		all         sync.WaitGroup
	)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		mu.Lock()
		defer mu.Unlock()
		connections[i.Conn.LocalAddr().String()] = true
	}})
	for range AtOnce {
		all.Go(func() {
			_ = c.listen(traced, newID(), PhaseOpen, patience, nil, func(e heard) bool {
				if e.Name == EventHello && answered.Add(1) == AtOnce {
					cancel()
				}
				return true
			})
		})
	}
	all.Wait()
	m.AtOnce = &Crowd{int(answered.Load()), len(connections)}
}

// command sends a POST as a page of this origin does in a browser that sends no
// Sec-Fetch-Site.
func (c *checker) command(ctx context.Context, m *Measured) {
	seen := new(Seen)
	status, err := c.ask(ctx, "POST", []string{"command", "1"}, []byte("pull=x"), seen,
		"Origin", c.url.Scheme+"://"+c.url.Host, "Content-Type", "application/x-www-form-urlencoded")
	if err != nil {
		seen = nil
	}
	m.Command = &Command{status, seen}
}

func (c *checker) idle(ctx context.Context, m *Measured) {
	heartbeat := time.Duration(m.Seen.Heartbeat) * time.Millisecond
	m.Idle = new(Idle)
	last := time.Now()
	err := c.listen(ctx, newID(), PhaseIdle, 2*heartbeat+2*patience, nil, func(e heard) bool {
		last = time.Now()
		if e.Name == EventBeat {
			m.Idle.Beats++
		}
		return true
	})
	m.Idle.Silence = since(last)
	m.Idle.Finished = err == io.EOF
}
