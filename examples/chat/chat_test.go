package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/comettest"
)

// serve runs a room until the test ends.
func serve(t *testing.T) *comettest.App {
	t.Helper()
	r, err := newRoom()
	if err != nil {
		t.Fatal(err)
	}
	return comettest.Serve(t, r.app(), r.site)
}

// open has a person open the page, and returns what its form says of the tab.
func open(browser *comettest.Browser) (tab *comettest.Tab, process string) {
	tab = browser.Open("/")
	return tab, tab.Page.Find(`<input type="hidden" name="comet" value="([^"]*)">`)
}

// stream is what the page's script connects to.
func stream(tab *comettest.Tab) string { return tab.Page.Find(`<meta name="comet" content="([^"]*)">`) }

func say(browser *comettest.Browser, text string) {
	browser.Post("/messages", url.Values{"text": {text}}).Want(204)
}

func wantText(t *testing.T, tab *comettest.Tab, want string) {
	t.Helper()
	if got := comettest.Next[Message](tab, "chat"); got.Text != want {
		t.Fatalf("heard %q, want %q", got.Text, want)
	}
}

// Rule 2: the page shows what was said before it, its event stream what is said since; nothing is in both.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		browser := serve(t).Browser()
		say(browser, "before <the> page")
		tab, process := open(browser)
		tab.Ignore("presence")
		if !strings.Contains(tab.Page.Body, "before &lt;the&gt; page") {
			t.Errorf("the page does not show what was said:\n%s", tab.Page.Body)
		}
		say(browser, "between page and stream")
		tab.Connect(stream(tab))
		wantText(t, tab, "between page and stream")

		browser.Post("/messages", url.Values{"text": {"signed"}, "comet": {process}}).Want(204)
		tab.Send("chat", Draft{"signed"})
		form, signed := comettest.Next[Message](tab, "chat"), comettest.Next[Message](tab, "chat")
		if form.Person != signed.Person {
			t.Errorf("a tab is %+v by its form and %+v by its command", form.Person, signed.Person)
		}
		if signed.Text != "signed" || signed.Person == guest || signed.Name == "" || !signed.At.Equal(time.Now()) {
			t.Errorf("heard %+v, want the text and the name of the tab's session", signed)
		}
		tab.Nothing()
	})
}

func TestMessagesThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		browser := serve(t).Browser()
		tab, _ := open(browser)
		tab.Connect(stream(tab))
		for text, ok := range map[string]bool{"": false, " \n ": false, strings.Repeat("é", longest+1): false, strings.Repeat("é", longest): true} {
			form, command := 422, 422
			if ok {
				form, command = 204, 200
			}
			draft, err := json.Marshal(Draft{text})
			if err != nil {
				t.Fatal(err)
			}
			browser.Post("/messages", url.Values{"text": {text}}).Want(form)
			tab.Command(url.Values{"send": {"chat"}, "value": {string(draft)}}).Want(command)
		}
		tab.Command(url.Values{"send": {"chat"}, "value": {`{"text":"hi","name":"Somebody Else"}`}}).Want(422)
	})
}

// Tabs are processes, people are sessions.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := serve(t)
		one, other := app.Browser(), app.Browser()
		tab, _ := open(one)
		tab.Connect(stream(tab))
		var last *comettest.Tab
		for i, join := range []struct {
			who  *comettest.Browser
			want string
		}{{one, "2 tabs, 1 people"}, {other, "3 tabs, 2 people"}} {
			last, _ = open(join.who)
			last.Connect(stream(last))
			wantPresence(t, tab, i+2, join.want)
		}
		last.Close()
		wantPresence(t, tab, 2, "2 tabs, 1 people")
	})
}

// wantPresence passes over what the tab heard meanwhile, up to that many tabs.
func wantPresence(t *testing.T, tab *comettest.Tab, tabs int, want string) {
	t.Helper()
	now := comettest.Next[Presence](tab, "presence")
	for now.Tabs != tabs {
		now = comettest.Next[Presence](tab, "presence")
	}
	if got := fmt.Sprintf("%d tabs, %d people", now.Tabs, len(now.People)); got != want {
		t.Errorf("%s are here, want %s", got, want)
	}
}

// Rules 1, 2 and 12: a tab that the server hangs up on is turned away for as long as it asked for, and then hears what it
// missed.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		browser := serve(t).Browser()
		tab, process := open(browser)
		tab.Ignore("presence")
		cut := func(process, seconds string) comettest.Answer {
			return browser.Post("/cut", url.Values{"comet": {process}, "seconds": {seconds}})
		}
		cut(process, "0").Want(409) // not connected yet
		cut(process, "61").Want(400)
		cut("unknown", "0").Want(400)

		tab.Connect(stream(tab))
		say(browser, "before")
		wantText(t, tab, "before")
		began := time.Now()
		cut(process, "30").Want(204)
		if tab.Ended() {
			t.Fatal("the stream ended cleanly, want it cut")
		}
		say(browser, "missed")
		if !tab.Ended() || tab.Answer().Status != 200 {
			t.Fatal("a cut tab is not turned away with 200 and the end at once")
		}
		wantText(t, tab, "missed")
		if away := time.Since(began); away < 30*time.Second || away > 31*time.Second {
			t.Errorf("the tab was away for %v, want the 30 s that it asked for", away)
		}
	})
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
