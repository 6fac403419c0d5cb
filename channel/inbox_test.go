package channel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

type vote struct {
	Option string `json:"option"`
	Weight int    `json:"weight,omitempty"`
}

// send sends values, in JSON, from the page's tab.
func (pg *page) send(inbox string, values ...string) error {
	_, err := pg.site.Command(context.Background(), pg.request(), map[string][]string{"send": {inbox}, "value": values})
	return err
}

func (pg *page) mustSend(t *testing.T, inbox string, values ...string) {
	t.Helper()
	if err := pg.send(inbox, values...); err != nil {
		t.Fatalf("send %s %v: %v", inbox, values, err)
	}
}

func wantRefused(t *testing.T, err error, code, says string) *scope.CommandError {
	t.Helper()
	var refusal *scope.CommandError
	if !errors.As(err, &refusal) || refusal.Code != code || !strings.Contains(refusal.Message, says) {
		t.Fatalf("got %v, want a refusal of code %s that says %q", err, code, says)
	}
	return refusal
}

// TestReceive proves rule 18: values of T arrive in the tab's order, with who sent
// them, and an inbox that is closed still gives what waits.
func TestReceive(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	inbox := must(channel.Receive(site, channel.ReceiveConfig[vote]{Name: "votes"}))
	pg := newPage(t, site, p)
	pg.mustSend(t, "votes", `{"option":"a"}`, ` {"option": "b", "weight": 2} `)
	pg.mustSend(t, "votes", `{"option":"c"}`)
	got := must(inbox.Next(t.Context()))
	if got.Value != (vote{Option: "a"}) || got.Process != p || got.Reader.Session != "session" {
		t.Fatalf("%+v", got)
	}
	inbox.Close()
	inbox.Close()
	wantRefused(t, pg.send("votes", `{"option":"d"}`), "gone", "votes")
	var rest []vote
	for r, err := range inbox.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, r.Value)
	}
	if want := []vote{{"b", 2}, {"c", 0}}; !slices.Equal(rest, want) {
		t.Fatalf("%v, want %v", rest, want)
	}
	if _, err := inbox.Next(t.Context()); err != io.EOF {
		t.Fatal(err)
	}
	<-inbox.Done()
	mustBe(t, "Err", inbox.Err(), channel.ErrClosed)
	must(channel.Receive(site, channel.ReceiveConfig[vote]{Name: "votes"})).Close() // the name is free
}

// A moment reads JSON by itself, null too.
type moment struct{ said string }

func (m *moment) UnmarshalJSON(data []byte) error { m.said = string(data); return nil }

func receiveOne[T any](t *testing.T, value string) (T, error) {
	t.Helper()
	site := newSite(t)
	inbox := must(channel.Receive[T](site))
	if err := newPage(t, site, newProcess(t, site)).send(inbox.Name(), value); err != nil {
		return *new(T), err
	}
	return must(inbox.Next(t.Context())).Value, nil
}

// TestReceiveIsStrict proves rule 18: what is not exactly a T is refused, and the
// page is told why.
func TestReceiveIsStrict(t *testing.T) {
	refused := func(err error, says string) {
		t.Helper()
		if r := wantRefused(t, err, "invalid", says); r.Value != 1 || r.Taken != 0 {
			t.Fatalf("%+v", r)
		}
	}
	for value, says := range map[string]string{
		`{"option":"a","wieght":1}`: `unknown field "wieght"`,
		`{"option":1}`:              "number",
		`{"option":"a"} {}`:         "more than one",
		`{"option":"a"`:             "unexpected EOF",
		``:                          "EOF",
		`null`:                      "null",
		` null `:                    "null",
		`[]`:                        "array",
		"{\"option\":\"\xff\"}":     "UTF-8",
	} {
		_, err := receiveOne[vote](t, value)
		refused(err, says)
	}
	_, err := receiveOne[uint8](t, "256")
	refused(err, "256")
	if p, err := receiveOne[*vote](t, "null"); p != nil || err != nil {
		t.Fatal(p, err)
	}
	if m, err := receiveOne[moment](t, "null"); m.said != "null" || err != nil {
		t.Fatal(m, err)
	}
	if r, err := receiveOne[json.RawMessage](t, `{"any":1}`); string(r) != `{"any":1}` || err != nil {
		t.Fatal(r, err)
	}
	if v, err := receiveOne[any](t, `[1]`); fmt.Sprint(v) != "[1]" || err != nil {
		t.Fatal(v, err)
	}
}

// TestValidate proves rule 18: one bad value refuses its command, with the app's
// words.
func TestValidate(t *testing.T) {
	site := newSite(t)
	inbox := must(channel.Receive(site, channel.ReceiveConfig[vote]{Name: "votes", Validate: func(v vote) error {
		if v.Weight > 3 {
			return fmt.Errorf("a weight of %d, and 3 is the most", v.Weight)
		}
		return nil
	}, Allow: func(_ context.Context, r scope.Reader) error {
		if r.User == "Eve" {
			return errors.New("a secret reason")
		}
		return nil
	}}))
	pg := newPage(t, site, newProcess(t, site))
	err := pg.send("votes", `{"weight":3}`, `{"weight":4}`, `{"weight":5}`)
	if r := wantRefused(t, err, "invalid", "a weight of 4, and 3 is the most"); r.Value != 2 || r.Taken != 0 {
		t.Fatalf("%+v", r)
	}
	r := pg.request()
	r.Reader.User = "Eve"
	_, err = site.Command(t.Context(), r, map[string][]string{"send": {"votes"}, "value": {"{}"}})
	if r := wantRefused(t, err, "refused", "may not send"); strings.Contains(r.Message, "secret") {
		t.Fatal(r)
	}
	pg.mustSend(t, "votes", `{"weight":1}`)
	if v := must(inbox.Next(t.Context())).Value; v.Weight != 1 {
		t.Fatal("something of a refused command was taken:", v)
	}
}

// TestInboxIsBounded proves rules 13 and 18: what nobody reads is refused with the
// time to come back, and nothing of it is kept.
func TestInboxIsBounded(t *testing.T) {
	site := newSite(t)
	pg := newPage(t, site, newProcess(t, site))
	few := must(channel.Receive(site, channel.ReceiveConfig[int]{Name: "few", Waiting: 3}))
	pg.mustSend(t, "few", "1", "2")
	if r := wantRefused(t, pg.send("few", "3", "4"), "full", "again"); r.RetryAfter <= 0 {
		t.Fatalf("%+v", r)
	}
	pg.mustSend(t, "few", "3")
	for want := range 3 {
		if got := must(few.Next(t.Context())).Value; got != want+1 {
			t.Fatal(got)
		}
	}
	pg.mustSend(t, "few", "5")

	short := must(channel.Receive(site, channel.ReceiveConfig[string]{Name: "short", WaitingBytes: 10}))
	pg.mustSend(t, "short", `"0123456789"`) // alone it may be longer
	wantRefused(t, pg.send("short", `""`), "full", "again")
	must(short.Next(t.Context()))
	pg.mustSend(t, "short", `"012"`, `"456"`)
	wantRefused(t, pg.send("short", `"7"`), "full", "again")
}

// TestNextWaits: readers wait without spinning, each value wakes one, and the end
// wakes all.
func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := scope.NewSite()
		defer site.Shutdown(context.Background())
		p := must(site.NewProcess("session"))
		inbox := must(channel.Receive[int](p))
		pg := must(open(site, p))
		defer pg.leave()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := inbox.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		const readers, values = 5, 50
		var mu sync.Mutex
		got := map[int]bool{}
		var all sync.WaitGroup
		for range readers {
			all.Go(func() {
				for r, err := range inbox.All(context.Background()) {
					if err != nil {
						if !errors.Is(err, channel.ErrProcessGone) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					got[r.Value] = true
					mu.Unlock()
				}
			})
		}
		for i := range values {
			pg.mustSend(t, inbox.Name(), fmt.Sprint(i))
		}
		synctest.Wait()
		p.Close()
		all.Wait()
		if len(got) != values {
			t.Fatalf("%d values were read, want %d", len(got), values)
		}
		mustBe(t, "Err", inbox.Err(), channel.ErrProcessGone)
	})
}

// TestReceiveErrors: faults are told at the call.
func TestReceiveErrors(t *testing.T) {
	site := newSite(t)
	for _, c := range []struct {
		err  error
		is   error
		says string
	}{
		{second(channel.Receive(site, channel.ReceiveConfig[int]{}, channel.ReceiveConfig[int]{})), channel.ErrBadConfig, "merge"},
		{second(channel.Receive(site, channel.ReceiveConfig[int]{Waiting: -1})), channel.ErrBadConfig, "Waiting -1"},
		{second(channel.Receive(site, channel.ReceiveConfig[int]{Name: "x", Burst: -1})), channel.ErrBadConfig, "Burst -1"},
		{second(channel.Receive[chan int](site)), channel.ErrBadConfig, "chan int"},
		{second(channel.Receive[fmt.Stringer](site)), channel.ErrBadConfig, "fmt.Stringer"},
		{second(channel.Receive[int](nil)), channel.ErrBadConfig, "owner"},
		{second(channel.Receive[int]((*scope.ClientProcess)(nil))), channel.ErrNoProcess, "nil"},
		{second(channel.Receive(site, channel.ReceiveConfig[int]{Name: "a b"})), channel.ErrBadName, "a b"},
	} {
		if !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%v, want %v that says %q", c.err, c.is, c.says)
		}
	}
}

// TestInboxFeedsAChannel: an inbox's Next is a channel's source.
func TestInboxFeedsAChannel(t *testing.T) {
	site := newSite(t)
	inbox := must(channel.Receive(site, channel.ReceiveConfig[string]{Name: "words"}))
	ch := must(channel.Create(site, channel.From(func(ctx context.Context) (string, error) {
		r, err := inbox.Next(ctx)
		return strings.ToUpper(r.Value), err
	}), channel.Config{Name: "loud", Encoding: channel.Text}))
	pg := newPage(t, site, newProcess(t, site), ch)
	pg.mustSend(t, "words", `"hello"`)
	pg.want(t, "loud HELLO")
	inbox.Close()
	pg.want(t, `comet:end {"channel":"loud","reason":"end","final":true}`)
}
