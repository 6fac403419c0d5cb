package browser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
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

func startOrSkip(t *testing.T, name string) Browser {
	t.Helper()
	b, err := Start(t.Context(), name)
	if errors.Is(err, ErrMissing) && os.Getenv("COMET_BROWSER") != "required" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(b.Version())
	return b
}

// All browsers do what the interfaces say.
func TestBrowsers(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, counter) }))
	t.Cleanup(server.Close)
	for _, name := range append(Names[:len(Names):len(Names)], Shell) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startOrSkip(t, name)
			defer b.Kill()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // for all of it
			defer cancel()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			session, err := b.NewSession(ctx)
			must(err)
			one, err := session.Open(ctx, server.URL)
			must(err)
			says := func(p Page, expression, want string) {
				t.Helper()
				if got, err := p.Evaluate(ctx, expression); err != nil || string(got) != want {
					t.Errorf("%s is %s, %v; want %s", expression, got, err, want)
				}
			}
			says(one, `visits`, `1`)
			must(one.Reload(ctx))
			says(one, `visits`, `2`)
			second, err := session.Open(ctx, server.URL)
			must(err)
			says(second, `visits`, `3`)
			says(one, `document.visibilityState`, `"visible"`)
			other, err := b.NewSession(ctx)
			must(err)
			stranger, err := other.Open(ctx, server.URL)
			must(err)
			says(stranger, `visits`, `1`)

			says(one, `Promise.resolve({ a: [1, "é"] })`, `{"a":[1,"é"]}`)
			says(one, `undefined`, `null`)
			if _, err := one.Evaluate(ctx, `nowhere.to.be.found`); err == nil || !strings.Contains(err.Error(), "nowhere") {
				t.Errorf("an exception in the page is the error %v", err)
			}
			must(one.Click(ctx, "button"))
			says(one, `pressed`, `true`)
			must(one.Type(ctx, "input", "Ünique ☃"))
			says(one, `document.querySelector("input").value`, `"Ünique ☃"`)
			picture, err := one.Screenshot(ctx)
			must(err)
			if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
				t.Error(err)
			}

			_, err = one.Evaluate(ctx, `(console.error("later"), setTimeout(() => { throw new Error("thrown"); }), 0)`)
			must(err)
			want := []string{"visit 1", "uncaught", "visit 2", "uncaught", "later", "thrown"}
			heard := one.Errors
			if name == "webkit" { // what comes after load is told: the timer may, and the first lines do not
				want = want[4:]
				heard = func() []string {
					return slices.DeleteFunc(one.Errors(), func(e string) bool { return strings.Contains(e, "uncaught") })
				}
			}
			for len(heard()) < len(want) && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			got := heard()
			for i := range want {
				if len(got) != len(want) || !strings.Contains(got[i], want[i]) {
					t.Fatalf("the console's errors are %q, want %q", got, want)
				}
			}
			second.Close()
			if _, err := second.Evaluate(ctx, `1`); err == nil {
				t.Error("a closed page answers")
			}
			other.Close()
			if _, err := stranger.Evaluate(ctx, `1`); err == nil {
				t.Error("a page of a closed session answers")
			}
			says(one, `visits`, `2`)

			// What takes the place of closed pages, perhaps their windows, is as new and as much seen.
			third, err := b.NewSession(ctx)
			must(err)
			for _, visits := range []string{`1`, `2`, `3`} {
				fresh, err := third.Open(ctx, server.URL)
				must(err)
				says(fresh, `visits`, visits)
				says(fresh, `document.visibilityState`, `"visible"`)
				says(fresh, `sessionStorage.seen ?? "never"`, `"never"`)
				says(fresh, `sessionStorage.seen = "once"`, `"once"`)
				fresh.Close()
			}
			says(one, `document.visibilityState`, `"visible"`)

			// So is what takes the place of a closed session, with two pages that were left open, one of them where it stored something.
			for range 2 {
				again, err := b.NewSession(ctx)
				must(err)
				for _, visits := range []string{`1`, `2`} {
					fresh, err := again.Open(ctx, server.URL)
					must(err)
					says(fresh, `visits`, visits)
					says(fresh, `document.visibilityState`, `"visible"`)
					says(fresh, `name`, `""`)
					says(fresh, `(name = "window")`, `"window"`)
					says(fresh, `sessionStorage.seen ?? "never"`, `"never"`)
					says(fresh, `(sessionStorage.seen = "once")`, `"once"`)
					if visits == `1` {
						says(fresh, `localStorage.seen ?? "never"`, `"never"`)
						says(fresh, `(localStorage.seen = "once")`, `"once"`)
					}
				}
				again.Close()
			}
			b.Kill()
			if _, err := one.Evaluate(ctx, `1`); err == nil {
				t.Error("a killed browser answers")
			}
		})
	}
}

func TestStartUnknown(t *testing.T) {
	if _, err := Start(t.Context(), "mosaic"); err == nil || !strings.Contains(err.Error(), "firefox") {
		t.Errorf("an unknown browser is the error %v: want the known ones named", err)
	}
}
