package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/e2e/internal/browser"
)

// counter is a page that counts visits in a cookie, and has something to press and to write into.
const counter = `<!doctype html><link rel="icon" href="data:,"><p style="height:3000px"></p>
<button onclick="pressed = event.isTrusted">press</button><input>
<script>
  let pressed = null;
  const visits = +(/n=(\d+)/.exec(document.cookie)?.[1] ?? 0) + 1;
  document.cookie = "n=" + visits;
  console.error("visit", visits);
  setTimeout(() => { throw new Error("uncaught"); });
</script>`

func TestBrowserUnknown(t *testing.T) {
	if _, err := browser.Start(t.Context(), "mosaic"); err == nil || !strings.Contains(err.Error(), "firefox") {
		t.Errorf("an unknown browser is the error %v: want the known ones named", err)
	}
}

// All browsers do what package browser says of them; Chromium with windows is driven as the shell is. They are those of the other
// tests: to start them once more would take a tenth of the suite's time.
func TestBrowsers(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, counter) })
	server, secure := httptest.NewServer(page), httptest.NewTLSServer(page)
	t.Cleanup(server.Close)
	t.Cleanup(secure.Close)
	inBrowsers(t, func(t *testing.T, in string) {
		session := newSessionIn(t, in).in
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		d := &driven{t: t, ctx: ctx, in: in, url: server.URL, secure: secure.URL}
		one := d.open(session, 1)
		d.must(one.Reload(ctx))
		d.says(one, `visits`, `2`)
		d.hears(one)
		d.acts(one)
		d.closes(session, one)
		d.usesAgain(one)
	}, browser.Shell, "firefox", "webkit")
}

// driven is a browser under test.
type driven struct {
	t   *testing.T
	ctx context.Context // for all of it
	in  string

	url, secure string // of the page; the second has a certificate that nobody knows
}

func (d *driven) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *driven) session() browser.Session {
	d.t.Helper()
	s, err := browsers[d.in].running.NewSession(d.ctx)
	d.must(err)
	return s
}

// open opens the page in a session that has visited it before this often.
func (d *driven) open(s browser.Session, visits int) browser.Page {
	d.t.Helper()
	p, err := s.Open(d.ctx, d.url)
	d.must(err)
	d.says(p, `visits`, fmt.Sprint(visits))
	d.says(p, `document.visibilityState`, `"visible"`)
	return p
}

func (d *driven) says(p browser.Page, expression, want string) {
	d.t.Helper()
	if got, err := p.Evaluate(d.ctx, expression); err != nil || string(got) != want {
		d.t.Errorf("%s is %s, %v; want %s", expression, got, err, want)
	}
}

// hears: what the page writes to the console as an error is told, once and in its order.
func (d *driven) hears(p browser.Page) {
	d.t.Helper()
	_, err := p.Evaluate(d.ctx, `(console.error("later"), setTimeout(() => { throw new Error("thrown"); }), 0)`)
	d.must(err)
	want := []string{"visit 1", "uncaught", "visit 2", "uncaught", "later", "thrown"}
	heard := p.Errors
	if d.in == "webkit" { // what comes after load is told: the timer may, and the first lines do not
		want = want[4:]
		heard = func() []string {
			return slices.DeleteFunc(p.Errors(), func(e string) bool { return strings.Contains(e, "uncaught") })
		}
	}
	for len(heard()) < len(want) && d.ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	got := heard()
	for i := range want {
		if len(got) != len(want) || !strings.Contains(got[i], want[i]) {
			d.t.Fatalf("the console's errors are %q, want %q", got, want)
		}
	}
}

// acts: a script's value comes as JSON, and a person's hand is trusted.
func (d *driven) acts(p browser.Page) {
	d.t.Helper()
	d.says(p, `Promise.resolve({ a: [1, "é"] })`, `{"a":[1,"é"]}`)
	d.says(p, `undefined`, `null`)
	if _, err := p.Evaluate(d.ctx, `nowhere.to.be.found`); err == nil || !strings.Contains(err.Error(), "nowhere") {
		d.t.Errorf("an exception in the page is the error %v", err)
	}
	d.must(p.Click(d.ctx, "button"))
	d.says(p, `pressed`, `true`)
	d.must(p.Type(d.ctx, "input", "Ünique ☃"))
	d.says(p, `document.querySelector("input").value`, `"Ünique ☃"`)
	picture, err := p.Screenshot(d.ctx)
	d.must(err)
	if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
		d.t.Error(err)
	}
}

// closes: pages of a session share its cookies, those of another have their own; what is closed answers no more, and only that.
func (d *driven) closes(s browser.Session, one browser.Page) {
	d.t.Helper()
	second := d.open(s, 3)
	other := d.session()
	stranger, err := other.Open(d.ctx, d.secure)
	d.must(err)
	d.says(stranger, `visits`, `1`)
	second.Close()
	if _, err := second.Evaluate(d.ctx, `1`); err == nil {
		d.t.Error("a closed page answers")
	}
	other.Close()
	if _, err := stranger.Evaluate(d.ctx, `1`); err == nil {
		d.t.Error("a page of a closed session answers")
	}
	d.says(one, `visits`, `2`)
}

// usesAgain: what takes the place of closed pages and sessions, perhaps their windows, is as new and as much seen.
func (d *driven) usesAgain(one browser.Page) {
	d.t.Helper()
	third := d.session()
	fresh := d.open(third, 1)
	d.says(fresh, `sessionStorage.seen = "once"`, `"once"`)
	fresh.Close()
	d.says(one, `document.visibilityState`, `"visible"`)
	third.Close()

	for range 2 { // with two pages that are left open, one of them where it stored something
		again := d.session()
		for visits := 1; visits <= 2; visits++ {
			fresh := d.open(again, visits)
			d.says(fresh, `name`, `""`)
			d.says(fresh, `(name = "window")`, `"window"`)
			d.says(fresh, `sessionStorage.seen ?? "never"`, `"never"`)
			d.says(fresh, `(sessionStorage.seen = "once")`, `"once"`)
			if visits == 1 {
				d.says(fresh, `localStorage.seen ?? "never"`, `"never"`)
				d.says(fresh, `(localStorage.seen = "once")`, `"once"`)
			}
		}
		again.Close()
	}
}

// opens tells whether a browser has a page, which one that was closed has not.
func opens(b browser.Browser) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := b.NewSession(ctx)
	if err != nil {
		return false
	}
	_, err = s.Open(ctx, "about:blank")
	return err == nil
}
