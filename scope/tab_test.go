package scope_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// A tab is a page with an EventSource, as the WHATWG rules have it, on a
// connection that the test drives.
type tab struct {
	t      *testing.T
	site   *scope.Site
	query  string
	path   int // how long the URL is before it
	reader scope.Reader
	lastID string
	stream *scope.EventStream
	dead   bool // 204: it never comes back
	batch  sse.Batch
	wakes  chan struct{}
	ended  bool
}

// heard is one event.
type heard struct{ name, data, id string }

func newTab(t *testing.T, site *scope.Site, session string, p *scope.ClientProcess, refs ...scope.Ref) *tab {
	t.Helper()
	return newTabAt(t, site, len("/comet"), session, p, refs...)
}

// newTabAt is newTab below a path of that length.
func newTabAt(t *testing.T, site *scope.Site, path int, session string, p *scope.ClientProcess, refs ...scope.Ref) *tab {
	t.Helper()
	link, err := site.Link(context.Background(), p, path, refs...)
	if err != nil {
		t.Fatal("Link:", err)
	}
	return &tab{t: t, site: site, query: link.Query, path: path, reader: scope.Reader{Session: session}, wakes: make(chan struct{}, 1)}
}

// duplicate is another tab with the same page, which has heard nothing yet.
func (tb *tab) duplicate() *tab {
	return &tab{t: tb.t, site: tb.site, query: tb.query, path: tb.path, reader: tb.reader, wakes: make(chan struct{}, 1)}
}

// connect opens the event stream, with what the tab last heard.
func (tb *tab) connect() *tab {
	tb.t.Helper()
	s, err := tb.site.OpenStream(context.Background(), scope.Request{
		Query: tb.query, LastEventID: tb.lastID, Reconnect: tb.lastID != "", Reader: tb.reader, Path: tb.path,
	})
	if errors.Is(err, scope.ErrOver) {
		tb.dead, tb.stream = true, nil
		return tb
	}
	if err != nil {
		tb.t.Fatal("OpenStream:", err)
	}
	tb.t.Cleanup(func() { s.Gone(nil) })
	tb.stream, tb.ended = s, false
	s.Start(func() {
		select {
		case tb.wakes <- struct{}{}:
		default:
		}
	})
	return tb
}

// cut drops the connection as the server sees it.
func (tb *tab) cut() *tab {
	if tb.stream != nil {
		tb.stream.Gone(errors.New("cut"))
		tb.stream = nil
	}
	return tb
}

// bytes collects all that is pending now.
func (tb *tab) bytes() []byte {
	var all []byte
	for !tb.ended && tb.stream != nil {
		tb.batch.Reset()
		more, err := tb.stream.Collect(&tb.batch, 4096)
		all = append(all, tb.batch.Bytes()...)
		if err != nil && !errors.Is(err, io.EOF) {
			tb.t.Fatal("Collect:", err)
		}
		if err != nil {
			tb.ended = true
			tb.stream.Gone(nil)
		}
		if tb.batch.Len() == 0 && !more {
			break
		}
	}
	return all
}

// take has the tab hear wire, and returns the events.
func (tb *tab) take(wire []byte) []heard {
	tb.t.Helper()
	r := sse.NewReader(bytes.NewReader(wire), sse.ReaderConfig{LastEventID: tb.lastID})
	var events []heard
	for {
		e, err := r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				tb.t.Fatal("reading the wire:", err)
			}
			break
		}
		events = append(events, heard{e.Name, string(e.Data), e.ID})
	}
	tb.lastID = r.LastEventID()
	return events
}

// hear returns everything that is pending.
func (tb *tab) hear() []heard { return tb.take(tb.bytes()) }

// of keeps the data of the events of one name.
func of(events []heard, name string) []string {
	var data []string
	for _, e := range events {
		if e.name == name {
			data = append(data, e.data)
		}
	}
	return data
}

func (tb *tab) want(name string, want ...string) []heard {
	tb.t.Helper()
	events := tb.hear()
	if got := of(events, name); fmt.Sprint(got) != fmt.Sprint(want) {
		tb.t.Fatalf("heard %s %q, want %q; all: %v", name, got, want, events)
	}
	return events
}

// notice is a control event's data.
type notice struct {
	Channel, Process, Reason, Resume string
	Final                            bool
}

func (tb *tab) wantNotice(event string, want notice) []heard {
	tb.t.Helper()
	events := tb.hear()
	for _, data := range of(events, "comet:"+event) {
		var got notice
		if err := json.Unmarshal([]byte(data), &got); err != nil {
			tb.t.Fatal(err)
		}
		if want.Resume == "*" && got.Resume != "" {
			got.Resume = "*"
		}
		if got == want {
			return events
		}
		tb.t.Fatalf("heard comet:%s %+v, want %+v", event, got, want)
	}
	tb.t.Fatalf("heard no comet:%s %+v, but %v", event, want, events)
	return nil
}

func (tb *tab) command(pairs ...string) (scope.Reply, error) {
	form := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		form[pairs[i]] = append(form[pairs[i]], pairs[i+1])
	}
	return tb.site.Command(context.Background(), scope.Request{Query: tb.query, Reader: tb.reader}, form)
}

// a test's pieces, failing it where they cannot be made.
type kit struct {
	t    *testing.T
	site *scope.Site
}

func newKit(t *testing.T, config ...scope.SiteConfig) kit {
	k := kit{t, scope.NewSite(config...)}
	t.Cleanup(func() {
		if err := k.site.Shutdown(context.Background()); err != nil {
			t.Error("Shutdown:", err)
		}
	})
	return k
}

// channel makes a site channel, and holds it for as long as the test runs.
func (k kit) channel(spec scope.Spec) *scope.Handle {
	k.t.Helper()
	h := k.unheld(spec)
	k.t.Cleanup(func() { runtime.KeepAlive(h) })
	return h
}

// unheld makes a site channel that is collected once the test lets go of it.
func (k kit) unheld(spec scope.Spec) *scope.Handle {
	k.t.Helper()
	h, err := scope.Register(k.site, spec)
	if err != nil {
		k.t.Fatal("Register:", err)
	}
	return h
}

func (k kit) private(p *scope.ClientProcess, spec scope.Spec) *scope.Handle {
	k.t.Helper()
	h, err := scope.Register(p, spec)
	if err != nil {
		k.t.Fatal("Register:", err)
	}
	return h
}

func (k kit) process(session string) *scope.ClientProcess {
	k.t.Helper()
	p, err := k.site.NewProcess(session)
	if err != nil {
		k.t.Fatal("NewProcess:", err)
	}
	return p
}

func (k kit) put(h *scope.Handle, values ...string) {
	k.t.Helper()
	feed := h.Feed()
	for _, v := range values {
		if err := feed.Put(context.Background(), []byte(v)); err != nil {
			k.t.Fatalf("Put %q: %v", v, err)
		}
	}
}

func numbers(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func wire(events []heard) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s %s\n", e.id, e.name, e.data)
	}
	return b.String()
}

// tag is how every cursor of an address begins.
func tag(t *testing.T, query string) string {
	t.Helper()
	address, err := cursor.ParseAddress(query)
	if err != nil {
		t.Fatal(err)
	}
	own := address.Tag()
	return "_" + string(own[:]) + "~"
}

// untagged is wire without what the cursors have of their address.
func untagged(events []heard) string {
	return regexp.MustCompile(`(?m)^_...~?`).ReplaceAllString(wire(events), "")
}
