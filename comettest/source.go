package comettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/ocsigo/comet/sse"
)

// run is the EventSource, as section 9.2 of the HTML standard has it: it connects,
// dispatches, and after a network error or the end of an answer waits and
// connects again; any answer that is not 200 and text/event-stream ends it for
// good.
func (t *Tab) run(ctx context.Context) {
	defer close(t.closed)
	for {
		final, err := t.connection(ctx)
		if ctx.Err() != nil {
			final = "closed by the test"
		}
		if final != "" {
			t.set(func() {
				t.state, t.hangUp, t.final = Closed, nil, final
				t.note("closed for good: %s", final)
			})
			return
		}
		t.ended(err)
		t.pause(ctx)
	}
}

// connection is one connection, from its request to its end, which err tells.
// Final is why no other is to follow.
func (t *Tab) connection(ctx context.Context) (final string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	response, err := t.browser.send(ctx, t.isForeign(), nil, http.MethodGet, t.url, "", t.begin(cancel))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	final = t.refusal(response)
	t.set(func() {
		t.status, t.header, t.gzip = response.StatusCode, response.Header, response.Uncompressed
		t.note("%s %s", response.Status, response.Header.Get("Content-Type"))
		if final == "" {
			t.state = Open
		}
	})
	if final != "" {
		return final, nil
	}
	return "", t.read(&body{tab: t, src: response.Body, ctx: ctx})
}

// refusal says why an EventSource takes the answer for no event stream of its
// page's; "" if it does not.
func (t *Tab) refusal(r *http.Response) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.StatusCode != http.StatusOK || kind != "text/event-stream" {
		return fmt.Sprintf("the answer was %s %s", r.Status, kind)
	}
	origin := r.Header.Get("Access-Control-Allow-Origin")
	if t.isForeign() && origin != "*" && origin != t.browser.app.origin {
		return fmt.Sprintf("the answer is not for pages of %s: its Access-Control-Allow-Origin is %q", t.browser.app.origin, origin)
	}
	return ""
}

// isForeign tells whether the event stream is of another origin than the page.
func (t *Tab) isForeign() bool { return !t.browser.isOwn(t.url) }

// begin notes that a connection begins, and returns what its request says.
func (t *Tab) begin(hangUp context.CancelFunc) (fields []string) {
	t.set(func() {
		t.hangUp, t.hurry = hangUp, false
		t.connections++
		t.status, t.header = 0, nil
		fields = append(t.cors(t.url), "Accept", "text/event-stream", "Cache-Control", "no-cache")
		if t.isForeign() {
			fields = append(fields, "Origin", t.browser.app.origin)
		}
		if t.lastID == "" {
			t.note("GET %s", t.url)
		} else {
			t.note("GET %s with Last-Event-ID: %s", t.url, t.lastID)
			fields = append(fields, "Last-Event-ID", t.lastID)
		}
	})
	return append(fields, t.fields...)
}

// read dispatches what body says, and returns how it ended.
func (t *Tab) read(body *body) error {
	r := sse.NewReader(body, sse.ReaderConfig{LastEventID: t.LastEventID(), Retry: t.Retry()})
	for {
		e, err := r.Next()
		t.set(func() {
			t.lastID, t.retry = r.LastEventID(), r.Retry()
			if err != nil {
				return
			}
			t.note("%s", describe(e))
			if !slices.Contains(t.ignored, e.Name) {
				t.untaken = append(t.untaken, item{event: e})
			}
		})
		if err != nil {
			return err
		}
	}
}

// ended notes the end of a connection that another is to follow.
func (t *Tab) ended(err error) {
	t.set(func() {
		t.untaken = append(t.untaken, item{end: true, clean: err == io.EOF})
		t.state, t.hangUp = Connecting, nil
		if err == io.EOF {
			t.note("the server ended the answer; back in %v", t.retry)
		} else {
			t.note("cut: %v; back in %v", err, t.retry)
		}
	})
}

// pause waits until the tab is to come back.
func (t *Tab) pause(ctx context.Context) {
	retry := time.NewTimer(t.Retry())
	defer retry.Stop()
	for {
		t.mu.Lock()
		asleep, hurry, changed := t.asleep, t.hurry, t.changed
		t.mu.Unlock()
		due := retry.C
		if asleep {
			due = nil
		} else if hurry {
			return
		}
		select {
		case <-changed:
		case <-due:
			return
		case <-ctx.Done():
			return
		}
	}
}

// A body is an event stream's bytes on their way to the tab, which may be cut or
// stopped there.
type body struct {
	tab *Tab
	src io.Reader
	ctx context.Context
}

var errCut = errors.New("by CutAfter")

func (b *body) Read(p []byte) (int, error) {
	if err := b.flow(); err != nil {
		return 0, err
	}
	n, err := b.src.Read(p)
	if n, cut := b.tab.received(p[:n]); cut {
		return n, errCut
	}
	return n, err
}

// flow waits while the tab is stalled.
func (b *body) flow() error {
	for {
		b.tab.mu.Lock()
		stalled, changed := b.tab.stalled, b.tab.changed
		b.tab.mu.Unlock()
		if !stalled {
			return nil
		}
		select {
		case <-changed:
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
}

// received counts data in. Cut tells that no more than n of it are to be heard.
func (t *Tab) received(data []byte) (n int, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n = len(data)
	if t.quota >= 0 {
		n = min(n, t.quota)
		t.quota -= n
	}
	t.log.wire = append(t.log.wire, data[:n]...)
	if t.quota == 0 {
		t.quota = -1
		t.hangUp()
		return n, true
	}
	return n, false
}

// set changes t, and tells those who wait for it.
func (t *Tab) set(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}

// Cut breaks the tab's connection, and returns when it is broken. The server
// finds that out as it does with any peer. The tab comes back by itself, when
// Retry has passed; or see Reconnect. One that has no connection is as before.
func (t *Tab) Cut() {
	t.t.Helper()
	t.await("an answer to cut off", func() bool { return t.state != Connecting || t.hangUp == nil })
	t.mu.Lock()
	hangUp, of := t.hangUp, t.connections
	t.mu.Unlock()
	if hangUp == nil {
		return
	}
	hangUp()
	t.await("the cut", func() bool { return t.hangUp == nil || t.connections > of })
}

// CutAfter breaks a connection when n more bytes of its event stream have come,
// and no more than these are heard. For a cut at an exact byte say it
// before Connect or Reconnect: what comes while it is said may or may not count.
func (t *Tab) CutAfter(n int) {
	t.t.Helper()
	if n < 1 {
		t.t.Fatalf("comettest: CutAfter(%d): at least one byte has to come; use Cut", n)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quota = n
}

// Reconnect has the tab come back at once, instead of when Retry has passed, and
// returns when it has begun to. A connection that is open is cut first.
func (t *Tab) Reconnect() {
	t.t.Helper()
	t.mu.Lock()
	before := t.connections
	t.mu.Unlock()
	t.Cut()
	t.set(func() { t.hurry = t.hangUp == nil })
	began := false // and may have been answered with the end of all by now
	t.await("a request of the reconnect", func() bool {
		began = t.connections > before
		return began || t.state == Closed
	})
	if !began {
		t.fail("Reconnect: the EventSource is closed; open another tab")
	}
}

// Idle is a computer that is shut and opened again after d: the connection
// breaks, nothing happens in the tab for d, and then it comes back at once. In
// a bubble d is fake time.
func (t *Tab) Idle(d time.Duration) {
	t.t.Helper()
	t.Offline()
	time.Sleep(d)
	t.Online()
}

// Offline breaks the connection, as Cut does, and has the tab not come back
// before Online.
func (t *Tab) Offline() {
	t.t.Helper()
	t.set(func() { t.asleep = true })
	t.Cut()
}

// Online ends Offline: the tab comes back at once.
func (t *Tab) Online() {
	t.set(func() { t.asleep, t.hurry = false, t.hangUp == nil })
}

// Stall has the tab read nothing more from its connection, as one that a browser
// has frozen. What is on its way, some kilobytes, may still be heard. In memory
// nothing else takes what the server writes; on a port the system's buffers do.
func (t *Tab) Stall() { t.set(func() { t.stalled = true }) }

// Resume ends a Stall.
func (t *Tab) Resume() { t.set(func() { t.stalled = false }) }
