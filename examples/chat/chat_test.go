package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/sse"
)

// serve runs a room on a loopback port until the test ends.
func serve(t *testing.T) (base string) {
	t.Helper()
	r, err := newRoom()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app, served := r.app(), make(chan error, 1)
	go func() { served <- app.Listener(pluggable{listener}) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(r.site.Shutdown(ctx), app.ShutdownWithContext(ctx), <-served); err != nil {
			t.Error("shutdown:", err)
		}
	})
	return "http://" + listener.Addr().String()
}

// A visitor is a browser of one session: cookies, no scripts.
type visitor struct {
	t      *testing.T
	base   string
	client *http.Client
}

func newVisitor(t *testing.T, base string) visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return visitor{t, base, &http.Client{Jar: jar, Transport: transport}}
}

var (
	meta  = regexp.MustCompile(`<meta name="comet" content="([^"]*)">`)
	token = regexp.MustCompile(`<input type="hidden" name="comet" value="([^"]*)">`)
)

// open loads the page: what it shows, the URL of its event stream and its token.
func (v visitor) open() (page, stream, process string) {
	v.t.Helper()
	response, err := v.client.Get(v.base + "/")
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		v.t.Fatalf("GET /: %s, %v: %s", response.Status, err, body)
	}
	found, tokens := meta.FindSubmatch(body), token.FindSubmatch(body)
	if found == nil || tokens == nil {
		v.t.Fatalf("the page names no event stream or no process:\n%s", body)
	}
	return string(body), v.base + html.UnescapeString(string(found[1])), html.UnescapeString(string(tokens[1]))
}

func (v visitor) post(path string, form url.Values, want int) {
	v.t.Helper()
	response, err := v.client.PostForm(v.base+path, form)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != want {
		v.t.Fatalf("POST %s %v: %s, want %d: %s", path, form, response.Status, want, body)
	}
}

// An ear reads one event stream.
type ear struct {
	t    *testing.T
	next func() (sse.Event, error, bool)
	last string
}

// listen opens an event stream; last is the Last-Event-ID of a reconnect, "" at first.
func (v visitor) listen(stream, last string) *ear {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	v.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, stream, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := v.client.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		v.t.Fatalf("GET %s: %s, Content-Type %q", stream, response.Status, kind)
	}
	next, stop := iter.Pull2(sse.Read(response.Body))
	v.t.Cleanup(func() {
		stop()
		response.Body.Close()
	})
	return &ear{t: v.t, next: next, last: last}
}

// hear skips to the next event of the name and decodes it.
func (e *ear) hear(name string, into any) {
	e.t.Helper()
	for {
		event, err, ok := e.next()
		if err != nil || !ok {
			e.t.Fatalf("the stream ended before an event %s: %v", name, err)
		}
		if event.ID != "" {
			e.last = event.ID
		}
		if event.Name == name {
			if err := json.Unmarshal(event.Data, into); err != nil {
				e.t.Fatalf("%s %q: %v", name, event.Data, err)
			}
			return
		}
	}
}

func (e *ear) hearText(want string) {
	e.t.Helper()
	var got Message
	e.hear("chat", &got)
	if got.Text != want {
		e.t.Fatalf("heard %q, want %q", got.Text, want)
	}
}

// Rule 2: the page shows what was said before it, its event stream what is said since; nothing is in both.
func TestRoom(t *testing.T) {
	base := serve(t)
	v := newVisitor(t, base)
	v.post("/messages", url.Values{"text": {"before <the> page"}}, http.StatusNoContent)
	page, stream, process := v.open()
	if !strings.Contains(page, "before &lt;the&gt; page") {
		t.Errorf("the page does not show what was said:\n%s", page)
	}
	v.post("/messages", url.Values{"text": {"between page and stream"}}, http.StatusNoContent)
	ear := v.listen(stream, "")
	ear.hearText("between page and stream")

	v.post("/messages", url.Values{"text": {"signed"}, "comet": {process}}, http.StatusNoContent)
	v.post(strings.TrimPrefix(stream, base), url.Values{"send": {"chat"}, "value": {`{"text":"signed"}`}}, http.StatusOK)
	var form, signed Message
	ear.hear("chat", &form)
	ear.hear("chat", &signed)
	if form.Person != signed.Person {
		t.Errorf("a tab is %+v by its form and %+v by its command", form.Person, signed.Person)
	}
	if signed.Text != "signed" || signed.Person == guest || signed.Name == "" || time.Since(signed.At) > time.Minute {
		t.Errorf("heard %+v, want the text and the name of the tab's session", signed)
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	v := newVisitor(t, serve(t))
	_, stream, _ := v.open()
	stream = strings.TrimPrefix(stream, v.base)
	for text, ok := range map[string]bool{"": false, " \n ": false, strings.Repeat("é", longest+1): false, strings.Repeat("é", longest): true} {
		form, command := http.StatusUnprocessableEntity, http.StatusUnprocessableEntity
		if ok {
			form, command = http.StatusNoContent, http.StatusOK
		}
		draft, err := json.Marshal(Draft{text})
		if err != nil {
			t.Fatal(err)
		}
		v.post("/messages", url.Values{"text": {text}}, form)
		v.post(stream, url.Values{"send": {"chat"}, "value": {string(draft)}}, command)
	}
	v.post(stream, url.Values{"send": {"chat"}, "value": {`{"text":"hi","name":"Somebody Else"}`}}, http.StatusUnprocessableEntity)
}

// Tabs are processes, people are sessions.
func TestPresence(t *testing.T) {
	base := serve(t)
	one, other := newVisitor(t, base), newVisitor(t, base)
	_, stream, _ := one.open()
	ear := one.listen(stream, "")
	for i, join := range []struct {
		who  visitor
		want string
	}{{one, "2 tabs, 1 people"}, {other, "3 tabs, 2 people"}} {
		_, stream, _ := join.who.open()
		join.who.listen(stream, "")
		var now Presence
		for deadline := time.Now().Add(time.Minute); now.Tabs < i+2 && time.Now().Before(deadline); {
			ear.hear("presence", &now)
		}
		if got := fmt.Sprintf("%d tabs, %d people", now.Tabs, len(now.People)); got != join.want {
			t.Errorf("%s are here, want %s", got, join.want)
		}
	}
}

// Rules 1, 2 and 12: a tab that the server hangs up on is turned away for as long as it asked for, and then hears what it
// missed.
func TestCut(t *testing.T) {
	v := newVisitor(t, serve(t))
	_, stream, process := v.open()
	v.post("/cut", url.Values{"comet": {process}}, http.StatusConflict) // not connected yet
	v.post("/cut", url.Values{"comet": {process}, "seconds": {"61"}}, http.StatusBadRequest)
	v.post("/cut", url.Values{"comet": {"unknown"}}, http.StatusBadRequest)

	ear := v.listen(stream, "")
	v.post("/messages", url.Values{"text": {"before"}}, http.StatusNoContent)
	ear.hearText("before")
	v.post("/cut", url.Values{"comet": {process}, "seconds": {"1"}}, http.StatusNoContent)
	for {
		_, err, ok := ear.next()
		if err != nil {
			break
		}
		if !ok {
			t.Fatal("the stream ended cleanly, want it cut")
		}
	}
	v.post("/messages", url.Values{"text": {"missed"}}, http.StatusNoContent)

	turned, err := v.client.Get(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer turned.Body.Close()
	away := sse.NewReader(turned.Body)
	if event, err := away.Next(); err != io.EOF {
		t.Fatalf("a cut tab heard %+v, %v, want the end at once", event, err)
	}
	if turned.StatusCode != http.StatusOK || away.Retry() > time.Second {
		t.Fatalf("a cut tab is answered %s and told to come back in %v, want 200 and no later than a second", turned.Status, away.Retry())
	}
	time.Sleep(away.Retry())
	v.listen(stream, ear.last).hearText("missed")
}

// Two sessions are two people, and nobody's name tells the session's key.
func TestPerson(t *testing.T) {
	if first, second := person("one"), person("one"); first != second {
		t.Errorf("one session is %+v and %+v", first, second)
	}
	if person("one").ID == person("two").ID {
		t.Error("two sessions are one person")
	}
	if p := person("secret"); strings.Contains(fmt.Sprint(p), "secret") {
		t.Errorf("%+v tells the session's key", p)
	}
}
