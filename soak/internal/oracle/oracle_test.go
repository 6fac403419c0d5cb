package oracle

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/sse"
)

// The page of these tests: a queue channel after e.10, a newest one after e.20, and a
// process; two more may be attached.
const (
	own   = "ownownownownown1"
	other = "otherotherother1"
	third = "thirdthirdthird1"
	query = "v=1&p=" + own + "&c=q@e.a&c=n@e.k"
)

func begin(t *testing.T, lives *Lives) *Page {
	t.Helper()
	private := map[string]Begin{"mine": {Kind: Private, Life: "po", From: 1, To: 1}}
	p, err := NewPage(lives, "/comet?"+query, map[string]Begin{
		"q": {Kind: Queue, Life: "a", From: 7, To: 8}, "n": {Kind: Newest, Life: "b", From: 3, To: 4},
		"mine": {Kind: Private, Life: "pp", From: 1, To: 1}, "echo": {Kind: Private, Life: "pp", From: 1, To: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Others = map[string]map[string]Begin{other: private, third: private}
	p.Connect()
	return p
}

// event makes one whose id has these items.
func event(name, data string, items ...string) sse.Event {
	a, err := cursor.ParseAddress(query)
	if err != nil {
		panic(err)
	}
	tag := a.Tag()
	return sse.Event{Name: name, Data: []byte(data), ID: "_" + string(tag[:]) + "~" + strings.Join(items, "~"), HasID: true}
}

func value(channel, life string, number uint64, items ...string) sse.Event {
	return event(channel, fmt.Sprintf(`{"c":%q,"l":%q,"n":%d}`, strings.Split(channel, "@")[0], life, number), items...)
}

func echo(number, sent uint64, items ...string) sse.Event {
	return event("echo", fmt.Sprintf(`{"c":"echo","l":"pp","n":%d,"s":%d}`, number, sent), items...)
}

func hello(more string, items ...string) sse.Event {
	return event("comet:hello", `{"version":1,"heartbeat":2000`+more+`}`, items...)
}

// carries is what a hello says of who has the slots from 0.
func carries(tokens ...string) string {
	var b strings.Builder
	for k, token := range tokens {
		fmt.Fprintf(&b, `,{"process":%q,"k":%d}`, token, k)
	}
	return `,"processes":[` + b.String()[1:] + `]`
}

func full(channel, reason string, final bool, resume string, items ...string) sse.Event {
	data := fmt.Sprintf(`{"channel":%q,"reason":%q,"final":%v`, channel, reason, final)
	if resume != "" {
		data += fmt.Sprintf(`,"resume":%q`, resume)
	}
	return event("comet:full", data+"}", items...)
}

func without(name, token, reason string, items ...string) sse.Event {
	return event(name, fmt.Sprintf(`{"process":%q,"reason":%q}`, token, reason), items...)
}

func ended(channel string, final bool, items ...string) sse.Event {
	return event("comet:end", fmt.Sprintf(`{"channel":%q,"reason":"end","final":%v}`, channel, final), items...)
}

func unnamed(e sse.Event) sse.Event {
	e.HasID = false
	return e
}

type events []sse.Event

// greeted is what every page here hears first.
var greeted = hello(carries(own), "-1.0")

// TestOracle proves that every rule of the table in docs/reliability.md is caught when it
// is broken, by the last event of a sequence, and that the nearest lawful one passes.
func TestOracle(t *testing.T) {
	second := hello(carries(own, other), "-1.0", "-1.1.0."+other)
	attached := events{greeted, second}
	superseded := append(attached, without("comet:superseded", other, "newer", "-1.0"))
	rows := []struct {
		what           string
		rule           int
		broken, lawful events
	}{
		{"a number is left out", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 9, "0.d", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 8, "0.c", "-1.0")}},
		{"a number of a process's channel is left out", 1,
			events{greeted, value("mine", "pp", 1, "-1.1"), value("mine", "pp", 3, "-1.3")},
			events{greeted, value("mine", "pp", 1, "-1.1"), value("mine", "pp", 2, "-1.2")}},
		{"a hole that full told", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "trimmed", false, "e.d", "0.d", "-1.0"), value("q", "a", 11, "0.f", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "trimmed", false, "e.e", "0.e", "-1.0"), value("q", "a", 11, "0.f", "-1.0")}},
		{"two holes, and one full", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "trimmed", false, "e.e", "0.e", "-1.0"), value("q", "a", 11, "0.f", "-1.0"), value("q", "a", 13, "0.h", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "trimmed", false, "e.e", "0.e", "-1.0"), value("q", "a", 11, "0.f", "-1.0"), full("q", "trimmed", false, "e.g", "0.g", "-1.0"), value("q", "a", 13, "0.h", "-1.0")}},
		{"full of one channel, and a hole in another", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("n", "reset", false, "f.1", "0.b", "*f", "1.1", "-1.0"), value("q", "a", 9, "0.d", "*f", "1.1", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("n", "reset", false, "f.1", "0.b", "*f", "1.1", "-1.0"), value("q", "a", 8, "0.c", "*f", "1.1", "-1.0")}},
		{"full does not say where it goes on", 1,
			events{greeted, full("q", "trimmed", false, "", "0.e", "-1.0")},
			events{greeted, full("q", "trimmed", false, "e.e", "0.e", "-1.0")}},
		{"a new life", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "z", 1, "*f", "0.1", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "reset", false, "f.0", "*f", "0.0", "-1.0"), value("q", "z", 1, "*f", "0.1", "-1.0")}},
		{"a new life before the first value", 1,
			events{greeted, value("q", "z", 1, "*f", "0.1", "-1.0")},
			events{greeted, full("q", "reset", false, "f.0", "*f", "0.0", "-1.0"), value("q", "z", 1, "*f", "0.1", "-1.0")}},
		{"trimmed, where it is a new life", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "trimmed", false, "e.e", "0.e", "-1.0"), value("q", "z", 1, "*f", "0.1", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "reset", false, "f.0", "*f", "0.0", "-1.0"), value("q", "z", 1, "*f", "0.1", "-1.0")}},
		{"a position that goes back", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 8, "0.a", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 8, "0.c", "-1.0")}},
		{"a process's number that goes back", 1,
			events{greeted, value("mine", "pp", 1, "-1.4"), value("mine", "pp", 2, "-1.3")},
			events{greeted, value("mine", "pp", 1, "-1.4"), value("mine", "pp", 2, "-1.5")}},
		{"a value that stands elsewhere", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 8, "0.d", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 8, "0.c", "-1.0")}},

		{"the first value is not the one after the page", 2,
			events{greeted, value("q", "a", 9, "0.d", "-1.0")},
			events{greeted, value("q", "a", 8, "0.c", "-1.0")}},
		{"the first value was there before the page", 2,
			events{greeted, value("q", "a", 6, "0.a", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"a newest channel's first value is older than the page", 2,
			events{greeted, value("n", "b", 2, "1.l", "-1.0")},
			events{greeted, value("n", "b", 9, "1.l", "-1.0")}},
		{"a number comes twice", 2,
			events{greeted, value("mine", "pp", 1, "-1.1"), value("mine", "pp", 1, "-1.2")},
			events{greeted, value("mine", "pp", 1, "-1.1"), value("mine", "pp", 2, "-1.2")}},
		{"a number comes twice, on two connections", 2,
			events{greeted, value("mine", "pp", 1, "-1.1"), {}, hello(carries(own), "-1.1"), value("mine", "pp", 1, "-1.2")},
			events{greeted, value("mine", "pp", 1, "-1.1"), {}, hello(carries(own), "-1.1"), value("mine", "pp", 2, "-1.2")}},
		{"a newest value that is older", 2,
			events{greeted, value("n", "b", 5, "1.p", "-1.0"), value("n", "b", 4, "1.q", "-1.0")},
			events{greeted, value("n", "b", 5, "1.p", "-1.0"), value("n", "b", 8, "1.s", "-1.0")}},
		{"a number that comes again after full", 2,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "trimmed", false, "e.e", "0.e", "-1.0"), value("q", "a", 7, "0.f", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), full("q", "trimmed", false, "e.e", "0.e", "-1.0"), value("q", "a", 11, "0.f", "-1.0")}},

		{"a channel that the page does not hear", 3,
			events{greeted, value("x", "a", 1, "*e", "x@1", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"a private channel of nobody", 3,
			events{greeted, value("mine@1", "po", 1, "-1.0", "-1.1.1."+other)},
			append(attached, value("mine@1", "po", 1, "-1.0", "-1.1.1."+other))},
		{"a slot of two", 3,
			append(attached, hello(`,"processes":[{"process":"`+third+`","k":1}]`, "-1.0", "-1.1.0."+third)),
			append(attached, hello(`,"processes":[{"process":"`+third+`","k":2}]`, "-1.0", "-1.1.0."+other, "-2.1.0."+third))},
		{"a process that was not attached", 3,
			events{greeted, hello(carries(own, "strangerstranger"), "-1.0", "-1.1.0.strangerstranger")},
			attached},
		{"another process in the URL's place", 3,
			events{hello(carries(other), "-1.0")},
			events{greeted}},

		{"an id that is no cursor", 4,
			events{greeted, value("q", "a", 7, "0.B", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"an id of another URL", 4,
			events{greeted, {Name: "q", Data: []byte(`{"c":"q","l":"a","n":7}`), ID: "_aaa~0.b~-1.0", HasID: true}},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"no id", 4,
			events{greeted, unnamed(value("q", "a", 7, "0.b", "-1.0"))},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"a hello without an id", 4,
			events{unnamed(greeted)},
			events{greeted}},
		{"an id of 513 bytes", 4,
			events{greeted, value("q", "a", 7, "0.b", "-1.0", "-1.1.1."+strings.Repeat("t", 64), strings.Repeat("x", 500)+"@1")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"a value that moves nothing", 4,
			events{greeted, value("mine", "pp", 1, "-1.0")},
			events{greeted, value("mine", "pp", 1, "-1.1")}},
		{"a value that moves another channel", 4,
			events{greeted, value("mine", "pp", 1, "0.b", "-1.0")},
			events{greeted, value("mine", "pp", 1, "-1.1")}},
		{"a value that moves another process", 4,
			append(attached, value("mine", "pp", 1, "-1.0", "-1.1.1."+other)),
			append(attached, value("mine@1", "po", 1, "-1.0", "-1.1.1."+other))},
		{"hello has passed a value", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), {}, hello(carries(own), "0.c", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), {}, hello(carries(own), "0.b", "-1.0")}},
		{"an end of one has passed a value of the other", 1,
			events{greeted, ended("n", true, "0.b", "!1", "-1.0")},
			events{greeted, ended("n", true, "!1", "-1.0")}},
		{"a value that moves two", 1,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 8, "0.c", "-1.1")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("q", "a", 8, "0.c", "-1.0")}},
		{"an id that forgets a channel", 4,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("mine", "pp", 1, "-1.1")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), value("mine", "pp", 1, "0.b", "-1.1")}},
		{"a hello that forgets a channel before closed", 4,
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), {}, hello(carries(own), "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0"), {}, hello(carries(own), "0.b", "-1.0"), event("comet:closed", `{"channel":"q","reason":"unavailable","final":true}`, "!0", "-1.0"), value("mine", "pp", 1, "!0", "-1.1")}},
		{"a process that goes without a word", 11,
			events{greeted, value("q", "a", 7, "0.b")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"an id without a channel that is not over", 4,
			events{greeted, value("mine", "pp", 1, "!0", "-1.1")},
			events{greeted, ended("q", true, "!0", "-1.0"), value("mine", "pp", 1, "!0", "-1.1")}},
		{"an id that is over, and what the page hears is not", 4,
			events{greeted, ended("q", true, "!0", "-1.0"), {Name: "comet:end", Data: []byte(`{"channel":"n","reason":"end","final":true}`), ID: "!", HasID: true}},
			events{greeted, ended("q", true, "!0", "-1.0"), without("comet:gone", own, "gone", "!0", "-"), {Name: "comet:end", Data: []byte(`{"channel":"n","reason":"end","final":true}`), ID: "!", HasID: true}}},
		{"a heartbeat with an id", 4,
			events{greeted, {Name: "comet:hb", ID: greeted.ID, HasID: true}},
			events{greeted, {Name: "comet:hb", ID: greeted.ID}}},
		{"a true id that is taken for a false one", 4,
			events{greeted, full("q", "cursor", false, "e.e", "0.e", "-1.0")},
			events{greeted, full("q", "trimmed", false, "e.e", "0.e", "-1.0")}},
		{"a true id that is taken for one of the future", 4,
			events{greeted, full("mine", "future", true, "", "-1.0")},
			events{greeted, full("mine", "trimmed", true, "", "-1.0")}},

		{"a newest channel that is trimmed", 6,
			events{greeted, full("n", "trimmed", false, "e.p", "1.p", "-1.0")},
			events{greeted, full("n", "reset", false, "f.1", "*f", "1.1", "-1.0")}},

		{"a value of another channel", 7,
			events{greeted, event("q", `{"c":"n","l":"b","n":4}`, "0.b", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"a value of another process", 7,
			events{greeted, value("mine", "po", 1, "-1.1")},
			events{greeted, value("mine", "pp", 1, "-1.1")}},
		{"a value of another process, later", 7,
			events{greeted, value("mine", "pp", 1, "-1.1"), value("mine", "po", 2, "-1.2")},
			events{greeted, value("mine", "pp", 1, "-1.1"), value("mine", "pp", 2, "-1.2")}},

		{"gone that says why", 8,
			events{greeted, event("comet:gone", `{"process":"`+own+`","reason":"gone","cause":"logout"}`, "-")},
			events{greeted, without("comet:gone", own, "gone", "-")}},
		{"gone with one more blank", 8,
			events{greeted, event("comet:gone", `{"process":"`+own+`", "reason":"gone"}`, "-")},
			events{greeted, without("comet:gone", own, "gone", "-")}},
		{"gone of a stranger", 8,
			events{greeted, without("comet:gone", "strangerstranger", "gone", "-1.0")},
			append(attached, without("comet:gone", other, "gone", "-1.0"))},

		{"a value of a process that a newer event stream has", 11,
			events{greeted, without("comet:superseded", own, "newer", "-"), value("mine", "pp", 1, "-1.1")},
			events{greeted, without("comet:superseded", own, "newer", "-"), value("q", "a", 7, "0.b", "-")}},
		{"a value of an attached process that a newer event stream has", 11,
			append(superseded, value("mine@1", "po", 1, "-1.0", "-1.1.1."+other)),
			append(superseded, second, value("mine@1", "po", 1, "-1.0", "-1.1.1."+other))},
		{"a process that is taken back from the newer event stream", 11,
			events{greeted, without("comet:superseded", own, "newer", "-"), greeted},
			events{greeted, without("comet:superseded", own, "newer", "-"), {}, greeted}},

		{"something before hello", 15,
			events{value("q", "a", 7, "0.b", "-1.0")},
			events{greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"something before the second connection's hello", 15,
			events{greeted, {}, value("q", "a", 7, "0.b", "-1.0")},
			events{greeted, {}, greeted, value("q", "a", 7, "0.b", "-1.0")}},
		{"a hello of another version", 15,
			events{event("comet:hello", `{"version":2,"heartbeat":2000}`, "-1.0")},
			events{greeted}},
		{"an unknown event", 15,
			events{greeted, event("comet:else", `{"channel":"q","reason":"end","final":true}`, "!0", "-1.0")},
			events{greeted, ended("q", true, "!0", "-1.0")}},
		{"an unknown reason", 15,
			events{greeted, full("q", "late", false, "e.e", "0.e", "-1.0")},
			events{greeted, full("q", "trimmed", false, "e.e", "0.e", "-1.0")}},
		{"an end that is not final", 15,
			events{greeted, ended("q", false, "!0", "-1.0")},
			events{greeted, ended("q", true, "!0", "-1.0")}},
		{"a private channel's full that is not final", 15,
			events{greeted, full("mine", "trimmed", false, "", "-1.0")},
			events{greeted, full("mine", "trimmed", true, "", "-1.0")}},
		{"no word whether it is final", 15,
			events{greeted, event("comet:end", `{"channel":"q","reason":"end"}`, "!0", "-1.0")},
			events{greeted, ended("q", true, "!0", "-1.0")}},
		{"an end of what the page does not hear", 15,
			events{greeted, ended("x", true, "-1.0")},
			events{greeted, ended("q", true, "!0", "-1.0")}},
		{"a value after the end", 15,
			events{greeted, ended("q", true, "!0", "-1.0"), value("q", "a", 7, "0.b", "-1.0")},
			events{greeted, ended("q", true, "!0", "-1.0"), value("n", "b", 4, "!0", "1.p", "-1.0")}},
		{"a second end", 15,
			events{greeted, ended("mine", true, "-1.1"), ended("mine", true, "-1.2")},
			events{greeted, ended("mine", true, "-1.1"), ended("echo", true, "-1.2")}},
		{"a second gone", 15,
			events{greeted, without("comet:gone", own, "gone", "-"), without("comet:gone", own, "gone", "-")},
			events{greeted, without("comet:gone", own, "gone", "-"), value("q", "a", 7, "0.b", "-")}},

		{"a send that was taken twice", 18,
			events{greeted, echo(1, 1, "-1.1"), echo(2, 1, "-1.2")},
			events{greeted, echo(1, 1, "-1.1"), echo(2, 2, "-1.2")}},
		{"a send that was taken before another", 18,
			events{greeted, echo(1, 2, "-1.1")},
			events{greeted, echo(1, 1, "-1.1")}},
	}
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			if n, err := hear(begin(t, &Lives{}), row.lawful); err != nil {
				t.Errorf("the lawful sequence: event %d: %v", n, err)
			}
			n, err := hear(begin(t, &Lives{}), row.broken)
			switch {
			case err == nil:
				t.Fatalf("nothing was noticed")
			case n != len(row.broken)-1:
				t.Errorf("event %d of %d was called broken: %v", n, len(row.broken)-1, err)
			case !strings.HasPrefix(rule(err), fmt.Sprintf("rule %d:", row.rule)):
				t.Errorf("it was not called rule %d: %v", row.rule, err)
			}
		})
	}
}

// hear has a page hear events, of which an empty one is a new connection. n is the one
// that breaks a rule.
func hear(p *Page, all events) (n int, err error) {
	for n, e := range all {
		if e.Name == "" {
			p.Connect()
			continue
		}
		if err := p.Hear(e); err != nil {
			return n, err
		}
	}
	return len(all), nil
}

// rule is an error from where it names the rule: an event's name may come before.
func rule(err error) string {
	_, text, _ := strings.Cut(err.Error(), "rule ")
	return "rule " + text
}

// TestOracleAmongPages proves that what two pages hear has to agree (rule 1).
func TestOracleAmongPages(t *testing.T) {
	for seq, want := range map[string]bool{"c": true, "d": false} {
		var lives Lives
		if _, err := hear(begin(t, &lives), events{greeted, value("q", "a", 7, "0.b", "-1.0")}); err != nil {
			t.Fatal(err)
		}
		_, err := hear(begin(t, &lives), events{greeted, value("q", "a", 8, "0."+seq, "-1.0")})
		if (err == nil) != want || err != nil && !strings.HasPrefix(err.Error(), "rule 1:") {
			t.Errorf("number 8 at %s: %v", seq, err)
		}
	}
}

// TestOracleAtTheEnd proves rule 1 at the end, and when 204 is lawful (rule 12).
func TestOracleAtTheEnd(t *testing.T) {
	p := begin(t, &Lives{})
	newest := map[string]Value{"q": {Channel: "q", Life: "a", Number: 8}}
	p.Due("echo", 1)
	steps := []struct {
		e      sse.Event
		behind string // what the page is behind with after it: one of these
		over   bool
	}{
		{greeted, "q echo", false},
		{value("q", "a", 7, "0.b", "-1.0"), "q echo", false},
		{echo(1, 1, "0.b", "-1.1"), "q", false},
		{value("q", "a", 8, "0.c", "-1.1"), "", false},
		{ended("q", true, "!0", "-1.1"), "", false},
		{without("comet:gone", own, "gone", "!0", "-"), "", false},
		{sse.Event{Name: "comet:end", Data: []byte(`{"channel":"n","reason":"end","final":true}`), ID: "!", HasID: true}, "", true},
	}
	for n, step := range steps {
		if err := p.Hear(step.e); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(p.Behind(newest), ":")
		if (name == "") != (step.behind == "") || !strings.Contains(step.behind, name) {
			t.Errorf("after event %d the page is behind with %q, not %q", n, name, step.behind)
		}
		if p.Over() != step.over {
			t.Errorf("after event %d it is %v that all is over", n, p.Over())
		}
	}
}

// TestOracleURL proves that a URL that is none is rule 4.
func TestOracleURL(t *testing.T) {
	_, err := NewPage(&Lives{}, "/comet?v=1&c=-q", nil)
	if !errors.Is(err, cursor.ErrBadAddress) || !strings.HasPrefix(err.Error(), "rule 4:") {
		t.Errorf("a URL that is none: %v", err)
	}
}
