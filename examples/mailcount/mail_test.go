package main

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/sse"
)

// serve runs an office on a loopback port until the test ends. No mails arrive by themselves.
func serve(t *testing.T) (o *office, base string) {
	t.Helper()
	o, err := newOffice()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app, served := o.app(), make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(o.site.Shutdown(ctx), app.ShutdownWithContext(ctx), <-served); err != nil {
			t.Error("shutdown:", err)
		}
	})
	return o, "http://" + listener.Addr().String()
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

func read(t *testing.T, response *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s, %v", response.Request.Method, response.Request.URL.Path, response.Status, body, err)
	}
	return string(body)
}

var meta = regexp.MustCompile(`<meta name="comet" content="([^"]*)">`)

func open(t *testing.T, client *http.Client, base string) (stream string) {
	t.Helper()
	response, err := client.Get(base + "/")
	page := read(t, response, err)
	found := meta.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page names no event stream:\n%s", page)
	}
	return base + html.UnescapeString(found[1])
}

// listen gives the counts that the stream brings, one at a call.
func listen(t *testing.T, client *http.Client, stream string) (hear func() Count, hangUp func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, stream, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	next, stop := iter.Pull2(sse.Read(response.Body))
	hangUp = func() {
		stop()
		response.Body.Close()
		cancel()
	}
	t.Cleanup(hangUp)
	return func() (count Count) {
		t.Helper()
		for {
			event, err, ok := next()
			if err != nil || !ok {
				t.Fatalf("the stream ended before a count: %v", err)
			}
			if event.Name == "unread" {
				if err := json.Unmarshal(event.Data, &count); err != nil {
					t.Fatalf("%q: %v", event.Data, err)
				}
				return count
			}
		}
	}, hangUp
}

// Rule 9: one count when the tab connects, one for each time it asks, none for anything else.
func TestCountedWhenAsked(t *testing.T) {
	o, base := serve(t)
	client := newClient(t)
	o.arrive(3)
	stream := open(t, client, base)
	o.arrive(2)
	if n := o.count(Tally{}).Counted; n != 0 {
		t.Fatalf("counted %d times before anybody connected", n)
	}
	hear, hangUp := listen(t, client, stream)
	if got := hear(); got.Unread != 5 || got.Arrived != 5 {
		t.Errorf("heard %+v at first, want 5 unread of 5", got)
	}
	o.arrive(4)
	ask := func() {
		t.Helper()
		response, err := client.Post(stream, "text/plain;charset=UTF-8", strings.NewReader("pull=unread"))
		read(t, response, err)
	}
	ask()
	if got := hear(); got.Unread != 9 {
		t.Errorf("heard %+v when it asked, want 9 unread", got)
	}
	response, err := client.Post(base+"/read", "", nil)
	read(t, response, err)
	o.arrive(1)
	ask()
	if got := hear(); got.Unread != 1 || got.Arrived != 10 {
		t.Errorf("heard %+v after all were read and one came, want 1 unread of 10", got)
	}
	hangUp()
	o.arrive(100)
	if n := o.count(Tally{}).Counted; n != 3 {
		t.Errorf("counted %d times, want 3: once at first and once for each time it asked", n)
	}
}

func TestReceive(t *testing.T) {
	o, base := serve(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.receive(ctx, time.Millisecond)
	}()
	for deadline := time.Now().Add(time.Minute); o.count(Tally{}).Arrived < 5 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	var got Tally
	response, err := newClient(t).Get(base + "/tally")
	if err := json.Unmarshal([]byte(read(t, response, err)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Arrived < 5 || got.Counted != 0 {
		t.Errorf("the tally is %+v, want at least 5 mails and no count", got)
	}
}

func TestMailboxIsBounded(t *testing.T) {
	var m mailbox
	for range capacity + 10 {
		m.add(time.Now())
	}
	if n := m.unread(); n != capacity {
		t.Errorf("%d mails are kept, want %d", n, capacity)
	}
}
