// Package tab is a browser's tab that has everything happen to it, and holds all that it
// hears against the rules.
package tab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ocsigo/comet/soak/internal/app"
	"github.com/ocsigo/comet/soak/internal/oracle"
	"github.com/ocsigo/comet/sse"
)

// Counts is what all tabs did and heard together.
type Counts struct {
	Pages, Streams, Values, Holes, Ends, Gone, Superseded, Over     atomic.Int64
	Cut, Reset, Stalled, HalfOpen, Duplicated, Lost, Logouts, Burst atomic.Int64
	Commands, Refused, Failed                                       atomic.Int64
}

// A World is what tabs live in.
type World struct {
	Addr   func() string
	Client *http.Client // for pages and commands
	Lives  *oracle.Lives
	// Disturbed reports whether the server was killed or stopped since then.
	Disturbed func(since time.Time) bool
	// Calm is closed when nothing more is to happen; Newest is set before, to what every
	// reader has to hear yet.
	Calm                 chan struct{}
	Newest               map[string]oracle.Value
	Broken               func(error)   // takes a rule that was broken
	Patience             time.Duration // how long a server that lives may be silent on this machine
	Counts               Counts
	Queues, News, Mortal int
}

func (w *World) calm() bool {
	select {
	case <-w.Calm:
		return true
	default:
		return false
	}
}

// A Tab is one of them.
type Tab struct {
	*World
	Number int
	Random *rand.Rand

	cookie string
	page   *oracle.Page
	url    string
	pulls  uint64
	sends  uint64
	others []string // tokens of the session's other pages, which may be attached
	log    []string // what happened lately
}

// Run is the tab's life, until everything is calm and it has heard all, or ctx ends.
func (t *Tab) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if t.page == nil || t.page.Over() && (t.calm() || t.Random.IntN(2) == 0) { // the others hear 204
			if t.calm() {
				return
			}
			if !t.load(ctx) {
				pause(ctx, t.jitter(time.Second))
				continue
			}
		}
		calm := t.calm()
		over, err := t.connect(ctx, calm)
		switch {
		case err != nil:
			t.broken(err)
			return
		case over && calm:
			return
		case over:
			t.page = nil
		}
		t.happen(ctx)
		pause(ctx, t.jitter(500*time.Millisecond))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (t *Tab) jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(t.Random.Int64N(int64(d)))
}

func (t *Tab) note(format string, args ...any) {
	t.log = append(t.log, fmt.Sprintf(format, args...))
	if len(t.log) > 30 {
		t.log = t.log[10:]
	}
}

func (t *Tab) broken(err error) {
	t.Broken(fmt.Errorf("tab %d: %w\n\tpage %s\n\tafter id %q\n\thears %v\n\tbefore that: %s", t.Number, err, t.url, t.page.LastID(), t.page.Names(), strings.Join(t.log, " | ")))
}

// private reports whether the tab has a process of its own.
func (t *Tab) private() bool { return t.Number%4 != 0 }

// shares reports whether its event stream carries several processes.
func (t *Tab) shares() bool { return t.Number%4 == 3 }

// load loads a page, and in a tab that shares two more.
func (t *Tab) load(ctx context.Context) bool {
	q := url.Values{}
	if !t.private() || t.Random.IntN(4) > 0 {
		q.Add("c", "q"+strconv.Itoa(t.Random.IntN(t.Queues)))
	}
	if t.Random.IntN(2) == 0 {
		q.Add("c", "n"+strconv.Itoa(t.Random.IntN(t.News)))
	}
	if t.Random.IntN(2) == 0 {
		q.Add("c", "m"+strconv.Itoa(t.Random.IntN(t.Mortal)))
	}
	if t.private() {
		q.Set("private", "true")
	}
	p, ok := t.fetch(ctx, q)
	if !ok {
		return false
	}
	t.url, t.pulls, t.sends, t.others = p.URL, 0, 0, nil
	if t.Random.IntN(3) == 0 && t.private() {
		t.url += "&pull=ask"
	}
	var err error
	if t.page, err = oracle.NewPage(t.Lives, t.url, p.Channels); err != nil {
		t.Broken(err)
		return false
	}
	t.page.Others = map[string]map[string]oracle.Begin{}
	for range 2 {
		if !t.shares() {
			break
		}
		if o, ok := t.fetch(ctx, url.Values{"private": {"true"}}); ok {
			t.others = append(t.others, o.Token)
			t.page.Others[o.Token] = o.Channels
		}
	}
	t.note("page")
	return true
}

func (t *Tab) fetch(ctx context.Context, q url.Values) (p app.Page, ok bool) {
	body, status, cookie := t.do(ctx, "GET", "/page?"+q.Encode(), "", "Sec-Fetch-Mode", "navigate")
	if status != http.StatusOK || json.Unmarshal(body, &p) != nil {
		return p, false
	}
	if cookie != "" {
		t.cookie = cookie
	}
	t.Counts.Pages.Add(1)
	return p, true
}

// do is a request of the page. status is 0 when there was no answer.
func (t *Tab) do(ctx context.Context, method, target, form string, fields ...string) (body []byte, status int, cookie string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+t.Addr()+target, strings.NewReader(form))
	if err != nil {
		t.Broken(err)
		return nil, 0, ""
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	if t.cookie != "" {
		req.AddCookie(&http.Cookie{Name: "comet", Value: t.cookie})
	}
	resp, err := t.Client.Do(req)
	if err != nil {
		t.Counts.Failed.Add(1)
		return nil, 0, ""
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, ""
	}
	for _, c := range resp.Cookies() {
		cookie = c.Value
	}
	return body, resp.StatusCode, cookie
}

// open connects. resp is nil where nobody answers.
func (t *Tab) open(ctx context.Context, l *line) (*http.Response, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp4", t.Addr())
	if err != nil {
		t.Counts.Failed.Add(1)
		return nil, nil
	}
	l.Conn, l.heard, l.next, l.quiet = conn, time.Now(), time.Now().Add(t.jitter(4*time.Second)), t.Patience
	t.note("connect %q", t.page.LastID())
	resp, err := get(conn, l, t.url, t.cookie, t.page.LastID())
	if errors.Is(err, errQuiet) && !t.excused() {
		return nil, fmt.Errorf("rule 12: no answer in %v", t.Patience)
	}
	if err != nil {
		conn.Close()
		return nil, nil
	}
	switch resp.StatusCode {
	case http.StatusOK:
		t.Counts.Streams.Add(1)
		t.page.Connect()
	case http.StatusNoContent:
		conn.Close()
		t.Counts.Over.Add(1)
		if !t.page.Over() {
			return nil, fmt.Errorf("rule 12: 204, and not all that the page hears was said to be final")
		}
	default:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		conn.Close()
		return nil, fmt.Errorf("rule 12: an EventSource dies of %s: %s", resp.Status, body)
	}
	return resp, nil
}

// connect is one connection, of which something becomes.
func (t *Tab) connect(ctx context.Context, calm bool) (over bool, err error) {
	l := &line{left: -1, until: time.Now().Add(time.Duration((1 + t.Random.ExpFloat64()*20) * float64(time.Second)))}
	end := "close"
	var second *duplicate
	switch dice := t.Random.IntN(100); {
	case calm:
		l.until = time.Now().Add(t.Patience)
	case dice < 35:
		l.left, end = int(t.Random.ExpFloat64()*3000), "cut"
	case dice < 45:
		end = "reset"
	case dice < 55:
		l.turn = func() { t.stall(ctx, l) }
	case dice < 63:
		end = "half open"
	case dice < 75 && t.page.Carries():
		l.turn = func() { second = t.duplicate(ctx, l) }
	}
	l.tick = func() time.Duration { return t.meanwhile(ctx, l, calm) }
	resp, err := t.open(ctx, l)
	if err != nil || resp == nil {
		return false, err
	}
	if resp.StatusCode != http.StatusOK {
		return true, nil
	}
	stop := context.AfterFunc(ctx, func() { l.Conn.Close() })
	r := sse.NewReader(resp.Body, sse.ReaderConfig{LastEventID: t.page.LastID()})
	done, err := t.hear(r, func() bool {
		if calm {
			return t.page.Behind(t.Newest) == ""
		}
		return second != nil && (!second.carries || !t.page.Carries() || second.isOlder(t.page))
	})
	t.note("%s (%v)", end, err)
	defer stop()
	if second != nil {
		defer t.becomes(second)
	}
	switch {
	case end == "half open" && errors.Is(err, errLeft):
		t.halfOpen(ctx, l.Conn)
		return false, nil
	case end == "reset" && errors.Is(err, errLeft):
		t.Counts.Reset.Add(1)
		reset(l.Conn)
		return false, nil
	case end == "cut" && errors.Is(err, errLeft):
		t.Counts.Cut.Add(1)
	}
	l.Close()
	var broken brokenRule
	switch {
	case done, err == nil:
		return calm, nil
	case errors.As(err, &broken):
		return false, err
	case t.excused():
		return false, nil
	case errors.Is(err, errQuiet):
		return false, fmt.Errorf("rule 15: %w in %v", err, t.Patience)
	case second != nil && errors.Is(err, errLeft):
		return false, fmt.Errorf("rule 11: of generation %d, and not told in %v that an event stream of generation %d has the process",
			t.page.Generation, t.Patience, second.page.Generation)
	case calm && errors.Is(err, errLeft):
		return false, fmt.Errorf("rule 1: at the end, after %v, %s", t.Patience, t.page.Behind(t.Newest))
	}
	if !errors.Is(err, errLeft) && second == nil && !l.stalled && !t.page.Over() && !t.page.SentAway() && ctx.Err() == nil {
		return false, fmt.Errorf("rule 12: the event stream ended (%w), and not all was said to be final", err)
	}
	return false, nil
}

// excused reports whether the server was killed or stopped so lately that what is late
// may yet come.
func (t *Tab) excused() bool { return t.Disturbed(time.Now().Add(-t.Patience)) }

// A brokenRule is an error of the oracle.
type brokenRule struct{ error }

func (b brokenRule) Unwrap() error { return b.error }

// hear hears until the connection ends, or enough says that it is.
func (t *Tab) hear(r *sse.Reader, enough func() bool) (done bool, err error) {
	p := t.page
	for {
		if enough() {
			return true, nil
		}
		e, err := r.Next()
		if err != nil {
			return false, err
		}
		was := *p
		if e.Name != "comet:hb" {
			t.note("%s %s", e.Name, e.Data)
		}
		if err := p.Hear(e); err != nil {
			return false, brokenRule{fmt.Errorf("%w\n\tevent %s %s id %q", err, e.Name, e.Data, e.ID)}
		}
		t.Counts.Values.Add(int64(p.Values - was.Values))
		t.Counts.Holes.Add(int64(p.Holes - was.Holes))
		t.Counts.Ends.Add(int64(p.Ends - was.Ends))
		t.Counts.Gone.Add(int64(p.Gone - was.Gone))
		t.Counts.Superseded.Add(int64(p.Left - was.Left))
	}
}

// halfOpen leaves a connection that nobody reads, without a word.
func (t *Tab) halfOpen(ctx context.Context, conn net.Conn) {
	t.Counts.HalfOpen.Add(1)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	time.AfterFunc(t.jitter(20*time.Second), func() {
		conn.Close()
		stop()
	})
}

// stall reads nothing for some time, and then a little more.
func (t *Tab) stall(ctx context.Context, l *line) {
	t.Counts.Stalled.Add(1)
	t.note("stall")
	l.stalled = true
	pause(ctx, t.jitter(8*time.Second))
	l.until = time.Now().Add(3 * time.Second)
}

// A duplicate is a duplicated tab, which has taken the page's process.
type duplicate struct {
	page    *oracle.Page
	conn    net.Conn
	carries bool // hello said that it has the process
}

// isOlder reports whether the first one's request came to its process after the
// duplicate's, although it was sent before: then it is the duplicate that is told.
func (d *duplicate) isOlder(first *oracle.Page) bool { return first.Generation > d.page.Generation }

// duplicate opens the page's URL once more, nil if the page has no process by now. What was
// heard by the first one goes on until it is told that it has the process no more.
func (t *Tab) duplicate(ctx context.Context, l *line) *duplicate {
	if !t.page.Carries() {
		return nil
	}
	l.until = time.Now().Add(t.Patience)
	t.Counts.Duplicated.Add(1)
	t.note("duplicate")
	other := *t
	other.page = t.page.Again()
	d := &duplicate{page: other.page}
	m := &line{left: -1, until: time.Now().Add(t.Patience), tick: func() time.Duration { return time.Minute }}
	resp, err := other.open(ctx, m)
	if err != nil {
		t.broken(err)
	}
	if err != nil || resp == nil || resp.StatusCode != http.StatusOK {
		return d
	}
	d.conn = m.Conn
	e, err := sse.NewReader(resp.Body).Next()
	if err != nil {
		return d
	}
	if err := d.page.Hear(e); err != nil {
		t.broken(fmt.Errorf("%w\n\tof a duplicated tab: %s %s id %q", err, e.Name, e.Data, e.ID))
	}
	d.carries = strings.Contains(string(e.Data), d.page.Token())
	l.tick = func() time.Duration { return time.Minute }
	return d
}

// becomes goes on as the duplicate.
func (t *Tab) becomes(d *duplicate) {
	if d.conn != nil {
		d.conn.Close()
	}
	if t.page == nil || d.carries && d.isOlder(t.page) {
		return
	}
	t.page = d.page
	t.note("the duplicate goes on")
}
