package channel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// A page is a tab with an open EventSource, below HTTP: it reads what scope
// puts on the wire.
type page struct {
	site   *scope.Site
	user   string
	query  string
	stream *scope.EventStream
	wake   chan struct{}
	lastID string
	over   bool
}

// open is what comet.Open and the browser's first request come to.
func open(site *scope.Site, p *scope.ClientProcess, refs ...scope.Ref) (*page, error) {
	return openAs(site, "", p, refs...)
}

// openAs is open by whom Config.User names.
func openAs(site *scope.Site, user string, p *scope.ClientProcess, refs ...scope.Ref) (*page, error) {
	link, err := site.Link(context.Background(), p, len("/comet"), refs...)
	if err != nil {
		return nil, err
	}
	pg := &page{site: site, user: user, query: link.Query, wake: make(chan struct{}, 1)}
	return pg, pg.connect()
}

func (pg *page) connect() error {
	stream, err := pg.site.OpenStream(context.Background(), pg.request())
	if err != nil {
		return err
	}
	pg.stream = stream
	stream.Start(func() {
		select {
		case pg.wake <- struct{}{}:
		default:
		}
	})
	return nil
}

func (pg *page) request() scope.Request {
	return scope.Request{
		Query: pg.query, LastEventID: pg.lastID, Reconnect: pg.lastID != "", Reader: scope.Reader{Session: "session", User: pg.user},
	}
}

// ask sends a pull command.
func (pg *page) ask(channel string) error {
	_, err := pg.site.Command(context.Background(), pg.request(), map[string][]string{"pull": {channel}})
	return err
}

// now reads what is pending: "name data" of every event but hello.
func (pg *page) now() (heard []string) {
	var all bytes.Buffer
	for more := true; more && !pg.over; {
		var b sse.Batch
		_, err := pg.stream.Collect(&b, 4096)
		all.Write(b.Bytes())
		pg.over = errors.Is(err, io.EOF)
		more = b.Len() > 0 // asking again says that this was written
	}
	r := sse.NewReader(&all, sse.ReaderConfig{LastEventID: pg.lastID})
	for e, err := r.Next(); err == nil; e, err = r.Next() {
		if e.Name != "comet:hello" && e.Name != "comet:hb" && e.Name != "comet:away" {
			heard = append(heard, strings.TrimSpace(e.Name+" "+string(e.Data)))
		}
	}
	pg.lastID = r.LastEventID()
	return heard
}

// hear waits for n events. It gives up after a while, with fewer.
func (pg *page) hear(n int) (heard []string) {
	late := time.After(time.Minute)
	for {
		if heard = append(heard, pg.now()...); len(heard) >= n || pg.over {
			return heard
		}
		select {
		case <-pg.wake:
		case <-late:
			return heard
		}
	}
}

func (pg *page) leave() { pg.stream.Gone(nil) }

func newSite(t *testing.T, config ...scope.SiteConfig) *scope.Site {
	site := scope.NewSite(config...)
	t.Cleanup(func() { site.Shutdown(context.Background()) })
	return site
}

func newProcess(t *testing.T, site *scope.Site) *scope.ClientProcess {
	t.Helper()
	p, err := site.NewProcess("session")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newPage(t *testing.T, site *scope.Site, p *scope.ClientProcess, refs ...scope.Ref) *page {
	t.Helper()
	pg, err := open(site, p, refs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.leave)
	return pg
}

func (pg *page) want(t *testing.T, want ...string) {
	t.Helper()
	if got := pg.hear(len(want)); !slices.Equal(got, want) {
		t.Fatalf("heard\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func mustBe(t *testing.T, what string, err error, all ...error) {
	t.Helper()
	for _, want := range all {
		if !errors.Is(err, want) {
			t.Fatalf("%s: got %v, want it to be %v", what, err, want)
		}
	}
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(fmt.Sprint("unexpected: ", err))
	}
	return v
}

// ended waits for a channel's end.
func ended(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the channel does not end")
	}
}
