package cursor_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/cursor"
)

const token = "abcdefghijklmnopqrstuv"

func at(epoch string, seq uint64) engine.Position { return engine.Position{Epoch: epoch, Seq: seq} }

// address is one with so many channels and, with own, a process.
func address(channels int, own bool) cursor.Address {
	var a cursor.Address
	for i := range channels {
		a.Channels = append(a.Channels, cursor.Channel{Name: fmt.Sprint("c", i)})
	}
	if own {
		a.Process.Token = token
	}
	return a
}

func write(of cursor.Address, f func(cursor.Appender) cursor.Appender) string {
	return string(f(cursor.Append(nil, of.Tag())).Buf)
}

// tagged is a cursor of these items.
func tagged(of cursor.Address, items string) string {
	tag := of.Tag()
	return "_" + string(tag[:]) + "~" + items
}

func ExampleAppender() {
	a := cursor.Append(nil, cursor.Tag{'a', 'b', 'c'})
	a = a.Index(0, engine.Position{Epoch: "k2x9", Seq: 71}, true)
	a = a.Process(cursor.Process{Generation: 1, Number: 12})
	fmt.Println(string(a.Buf))
	// Output: _abc~0.1z~-1.c
}

func ExampleAppendAddress() {
	fmt.Println(string(cursor.AppendAddress(nil, cursor.Address{
		Process:  cursor.Process{Token: token},
		Channels: []cursor.Channel{{Name: "chat", At: engine.Position{Epoch: "k2x9", Seq: 71}}},
	})))
	// Output: v=1&p=abcdefghijklmnopqrstuv&c=chat@k2x9.1z
}

func TestAddressRoundTrip(t *testing.T) {
	for _, want := range []cursor.Address{
		{},
		{Process: cursor.Process{Token: token}},
		{Process: cursor.Process{Token: token, Number: 99}, PullAsk: true},
		{Channels: []cursor.Channel{
			{Name: "a/b:c.d-e_f", At: at("e1", 7)},
			{Name: "tagged", At: engine.Position{Epoch: "e1", Seq: 7, Tag: 9}},
			{Name: "history", Last: 3}, {Name: "now"}, {Name: "price", Newest: true},
		}},
	} {
		text := string(cursor.AppendAddress(nil, want))
		got, err := cursor.ParseAddress(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got.Channels == nil {
			got.Channels = []cursor.Channel{}
		}
		if want.Channels == nil {
			want.Channels = []cursor.Channel{}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestAddressRefused(t *testing.T) {
	for query, want := range map[string]error{
		"v=2": cursor.ErrVersion, "v=1&v=1": cursor.ErrVersion, "v=": cursor.ErrVersion,
		"p=short": cursor.ErrBadAddress, "p=" + token + ".0": cursor.ErrBadAddress,
		"p=" + token + "&p=" + token: cursor.ErrBadAddress, "g=a.b": cursor.ErrBadAddress, "wait=yes": cursor.ErrBadAddress,
		"c=": cursor.ErrBadAddress, "c=-x": cursor.ErrBadAddress,
		"c=a&c=a": cursor.ErrBadAddress, "c=a@b": cursor.ErrBadAddress, "c=a@--1": cursor.ErrBadAddress,
		"c=a@-99999999999": cursor.ErrBadAddress, "c=a@E.1": cursor.ErrBadAddress,
		"pull=yes": cursor.ErrBadAddress, "%zz": cursor.ErrBadAddress,
		"c=" + strings.Repeat("n", 129): cursor.ErrBadAddress,
	} {
		if _, err := cursor.ParseAddress(query); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", query, err, want)
		}
	}
	if _, err := cursor.ParseAddress("utm=1&c=a"); err != nil {
		t.Errorf("a parameter of the app's own: %v", err)
	}
}

func TestCursorRoundTrip(t *testing.T) {
	of := address(3, true)
	text := write(of, func(a cursor.Appender) cursor.Appender {
		a = a.Index(0, at("same", 40), true)
		a = a.Removed(2)
		a = a.Index(1, at("other", 3), false)
		a = a.Name("late/one", at("other", 5))
		a = a.Process(cursor.Process{Generation: 2, Number: 9})
		return a.Process(cursor.Process{Slot: 3, Token: token, Generation: 1, Number: 0})
	})
	got, err := cursor.ParseCursor(text, of)
	if err != nil {
		t.Fatal(err)
	}
	want := cursor.Cursor{
		Sites: []cursor.Site{
			{Index: 0, Position: at("", 40)}, {Index: 2, Removed: true},
			{Index: 1, Position: at("other", 3)}, {Name: "late/one", Position: at("other", 5)},
		},
		Processes: []cursor.Process{
			{Generation: 2, Number: 9}, {Slot: 3, Token: token, Generation: 1},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", text, got, want)
	}
}

// TestCursorRefused proves rule 4, "strictly parsed": whatever Append would not
// have written for this address is no cursor of it.
func TestCursorRefused(t *testing.T) {
	for _, text := range []string{
		"~", "0.1~", "0", "0.", "0.01", "0.A", "0.1.0", "0.1.1.1", "2.1", "0.1~0.2", "!9", "!0~0.1",
		"chat@1", "*e~chat", "*e~chat@", "*~0.1", "*E~0.1", "*e~*e~0.1", "*e", "0.1~*e", "*e~*f~0.1", "*e~!0", "*e~-1.2", "-1", "-1.2.3", "-1.2~-1.2",
		"-0.1.2." + token, "-1.1.2.short", "-1.1.2." + token + "~-2.1.2." + token, "-~-", "a b", "0.1\n", "!~0.1",
		strings.Repeat("9", 2000),
	} {
		of := address(2, true)
		for _, text := range []string{text, tagged(of, text)} {
			if c, err := cursor.ParseCursor(text, of); !errors.Is(err, cursor.ErrBadCursor) {
				t.Errorf("%q was read as %+v, %v", text, c, err)
			}
		}
	}
	fits := write(address(2, true), func(a cursor.Appender) cursor.Appender { return a.Index(1, at("e", 1), true) })
	if _, err := cursor.ParseCursor(fits, address(3, true)); !errors.Is(err, cursor.ErrBadCursor) {
		t.Errorf("a cursor of another address: %v", err)
	}
	of := address(2, false)
	if _, err := cursor.ParseCursor(tagged(of, "-1.2"), of); !errors.Is(err, cursor.ErrBadCursor) {
		t.Errorf("a process's place in a cursor whose address has none: %v", err)
	}
}

// TestCursorSize proves rule 4: 32 moved positions take at most 512 bytes, 700
// with engine tags, also when every epoch changed.
func TestCursorSize(t *testing.T) {
	for _, same := range []bool{true, false} {
		for _, tag := range []uint32{0, 1<<32 - 1} {
			text := write(address(32, true), func(a cursor.Appender) cursor.Appender {
				for i := range 32 {
					a = a.Index(i, engine.Position{Epoch: "0123456789abcdef", Seq: 1<<40 + uint64(i), Tag: tag}, same)
				}
				return a.Process(cursor.Process{Generation: 1000, Number: 1 << 32})
			})
			limit := 512
			if tag != 0 {
				limit = 700
			}
			if len(text) > limit {
				t.Errorf("32 positions take %d bytes, allowed are %d: %s", len(text), limit, text)
			}
		}
	}
}

func TestAppenderAllocatesNothing(t *testing.T) {
	sum := 0
	allocs := testing.AllocsPerRun(100, func() {
		var stack [cursor.MaxLength]byte
		a := cursor.Append(stack[:0], cursor.Tag{'a', 'b', 'c'})
		for i := range 32 {
			a = a.Index(i, at("e", 1<<30), false)
		}
		sum += len(a.Process(cursor.Process{Generation: 3, Number: 4}).Buf)
	})
	if allocs != 0 {
		t.Errorf("a cursor cost %v allocations", allocs)
	}
}

// FuzzParseCursor: no text makes the parser fail otherwise than by
// ErrBadCursor, and what it accepts means one thing only.
func FuzzParseCursor(f *testing.F) {
	f.Add("0.1~-1.2", 2, true)
	f.Add("*e~1.2.3~a@4~!0~-1.1.2."+token, 2, true)
	f.Add("!", 0, false)
	f.Fuzz(func(t *testing.T, text string, channels int, own bool) {
		of := address(channels&63, own)
		if text != "!" {
			text = tagged(of, text)
		}
		c, err := cursor.ParseCursor(text, of)
		if err != nil {
			if !errors.Is(err, cursor.ErrBadCursor) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again := write(of, func(a cursor.Appender) cursor.Appender { return rewrite(a, c) })
		d, err := cursor.ParseCursor(again, of)
		if err != nil || !reflect.DeepEqual(normal(c), normal(d)) {
			t.Fatalf("%q became %q: %+v, %+v, %v", text, again, c, d, err)
		}
	})
}

func rewrite(a cursor.Appender, c cursor.Cursor) cursor.Appender {
	if c.Over {
		return a.Over()
	}
	for _, own := range []bool{true, false} {
		for _, s := range c.Sites {
			switch {
			case own != (s.Position.Epoch == ""):
			case s.Removed:
				a = a.Removed(s.Index)
			case s.Name != "":
				a = a.Name(s.Name, s.Position)
			default:
				a = a.Index(s.Index, s.Position, own)
			}
		}
	}
	for _, p := range c.Processes {
		a = a.Process(p)
	}
	return a
}

func normal(c cursor.Cursor) map[string]bool {
	m := map[string]bool{fmt.Sprint(c.Over): true}
	for _, s := range c.Sites {
		m[fmt.Sprint(s)] = true
	}
	for _, p := range c.Processes {
		m[fmt.Sprint(p)] = true
	}
	return m
}

// FuzzQuery: an address is read as net/url would read it.
func FuzzQuery(f *testing.F) {
	f.Add("v=1&p=" + token + "&c=a&c=b&after=x")
	f.Add("&&c=%61%2fb&%63=d&x=%zz")
	f.Add("c=a;c=b&after=1+2&after")
	f.Fuzz(func(t *testing.T, query string) {
		a, err := cursor.ParseAddress(query)
		values, bad := url.ParseQuery(query)
		switch {
		case bad != nil && !errors.Is(err, cursor.ErrBadAddress):
			t.Fatalf("%q: %v, but net/url refuses it: %v", query, err, bad)
		case err != nil:
			return
		}
		var names []string
		for _, c := range values["c"] {
			name, _, _ := strings.Cut(c, "@")
			names = append(names, name)
		}
		var got []string
		for _, c := range a.Channels {
			got = append(got, c.Name)
		}
		process, _, _ := strings.Cut(values.Get("p"), ".")
		if !slices.Equal(got, names) || a.After != values.Get("after") || a.Process.Token != process ||
			a.PullAsk != (values.Get("pull") == "ask") {
			t.Fatalf("%q became %+v, but is %v", query, a, values)
		}
	})
}

// FuzzParseAddress: no query breaks the parser, and an accepted one is written
// and read again as the same.
func FuzzParseAddress(f *testing.F) {
	f.Add("v=1&p=" + token + ".3&c=chat@e.1&c=b@-3&c=d@newest&pull=ask&after=0.1")
	f.Add("p=" + token + "&g=abc-_9&wait=no&c=chat")
	f.Fuzz(func(t *testing.T, query string) {
		a, err := cursor.ParseAddress(query)
		if err != nil {
			return
		}
		a.After, a.Brief = "", false
		b, err := cursor.ParseAddress(string(cursor.AppendAddress(nil, a)))
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%q: %+v, %+v, %v", query, a, b, err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var stack [cursor.MaxLength]byte
			seq := rand.Uint64N(1 << 40)
			b.ReportAllocs()
			for b.Loop() {
				a := cursor.Append(stack[:0], cursor.Tag{'a', 'b', 'c'})
				for i := range n {
					a = a.Index(i, at("e", seq), true)
				}
			}
		})
	}
}
