package tab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// happen is what may befall a tab between two connections.
func (t *Tab) happen(ctx context.Context) {
	if t.page == nil || t.calm() {
		return
	}
	switch dice := t.Random.IntN(100); {
	case dice < 12, dice < 60 && t.private() && !t.page.Carries():
		t.page = nil // the next page
	case dice < 14:
		t.Counts.Lost.Add(1)
		t.note("the cookie is lost")
		t.cookie = ""
	case dice < 16 && t.private():
		t.Counts.Logouts.Add(1)
		t.note("logout")
		_, _, _ = t.do(ctx, "POST", "/logout", "")
	}
}

// meanwhile is what a page does while it listens. It returns when the next thing is due.
func (t *Tab) meanwhile(ctx context.Context, l *line, calm bool) time.Duration {
	begun, next := time.Now(), t.jitter(5*time.Second)
	if !calm && t.calm() { // what was begun before is over
		l.until, l.turn = time.Now(), nil
	}
	if calm || !t.private() {
		return next
	}
	if !t.page.Carries() && t.Random.IntN(2) == 0 { // the page is reloaded
		l.until = time.Now()
	}
	switch dice := t.Random.IntN(100); {
	case dice < 30:
		t.pull(ctx)
	case dice < 60:
		t.send(ctx)
	case dice < 64:
		t.Counts.Burst.Add(1)
		_, _, _ = t.do(ctx, "POST", "/burst", "", "Comet-Process", t.page.Token(), "Sec-Fetch-Mode", "cors")
	case dice < 80 && len(t.others) > 0:
		t.command(ctx, url.Values{"attach": {t.others[t.Random.IntN(len(t.others))]}})
	case dice < 90 && len(t.others) > 0:
		t.command(ctx, url.Values{"detach": {t.others[t.Random.IntN(len(t.others))]}})
	case dice < 95:
		t.command(ctx, url.Values{"register": {"unread"}})
	default:
		t.command(ctx, url.Values{"close": {"nothing"}})
	}
	l.heard = l.heard.Add(time.Since(begun)) // the tab was busy, and did not read
	return next
}

// pull asks for a value; one whose answer was lost is asked for again by its number.
func (t *Tab) pull(ctx context.Context) {
	status, answer := t.command(ctx, url.Values{"pull": {"unread"}, "n": {strconv.FormatUint(t.pulls+1, 10)}})
	switch {
	case status == http.StatusOK:
		t.pulls++
	case status == http.StatusConflict && answer.Expected > 0:
		t.pulls = answer.Expected - 1
	}
}

// send gives a value to the inbox; one whose answer was lost is sent again by its number.
func (t *Tab) send(ctx context.Context) {
	n := strconv.FormatUint(t.sends+1, 10)
	status, answer := t.command(ctx, url.Values{"send": {"box"}, "value": {n}, "n": {n}})
	switch {
	case status == http.StatusOK:
		t.sends++
		t.page.Due("echo", t.sends)
	case status == http.StatusConflict && answer.Expected > 0:
		t.sends = answer.Expected - 1
	}
}

// An answer is a command's.
type answer struct {
	State, Error string
	Expected     uint64
}

// command sends one, and checks that it is answered as the docs say.
func (t *Tab) command(ctx context.Context, form url.Values) (status int, a answer) {
	t.Counts.Commands.Add(1)
	body, status, _ := t.do(ctx, "POST", t.url, form.Encode())
	if status == 0 {
		return 0, a
	}
	t.note("%v: %d", form, status)
	if !slices.Contains([]int{200, 403, 409, 410, 429, 503}, status) || json.Unmarshal(body, &a) != nil || (a.State == "") == (a.Error == "") {
		t.broken(fmt.Errorf("rule 3: the command %v is answered %d %s", form, status, body))
	}
	if status != http.StatusOK {
		t.Counts.Refused.Add(1)
	}
	return status, a
}
