package channel

import (
	"bytes"
	"errors"
	"html/template"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

type level string // text by kind

type point struct{ X, Y int }

func (p point) String() string { return "a point" }

func TestEncodings(t *testing.T) {
	for _, c := range []struct {
		enc  Encoding
		v    any
		want string
	}{
		{JSON, point{1, 2}, `{"X":1,"Y":2}`},
		{JSON, "<b>&\u2028\n", `"<b>&\u2028\n"`}, // no escapes for HTML; line ends never reach the wire
		{JSON, nil, `null`},
		{JSON, (*point)(nil), `null`},
		{Text, "a\nb", "a\nb"},
		{Text, "", ""},
		{Text, level("warn"), "warn"},
		{Text, []byte("bytes"), "bytes"},
		{Text, netip.MustParseAddr("10.0.0.1"), "10.0.0.1"}, // a TextMarshaler
		{Text, point{1, 2}, "a point"},
		{Text, &url.URL{Host: "h"}, "//h"},
		{HTML, "<b>x</b>", "<b>x</b>"},
		{HTML, template.HTML("<i>"), "<i>"},
	} {
		if c.v != nil {
			if err := c.enc.Check(reflect.TypeOf(c.v)); err != nil {
				t.Errorf("%s: Check(%T): %v", c.enc.Name(), c.v, err)
			}
		}
		got, err := c.enc.Encode(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: Encode(%#v) = %q, %v; want %q", c.enc.Name(), c.v, got, err, c.want)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	roundTrip(t, JSON, point{1, 2})
	roundTrip(t, JSON, map[string][]int{"a": {1}})
	roundTrip(t, Text, "text")
	roundTrip(t, Text, level("warn"))
	roundTrip(t, Text, []byte("bytes"))
	roundTrip(t, Text, netip.MustParseAddr("::1"))
	roundTrip(t, HTML, "<p>")
	roundTrip(t, HTML, template.HTML("<p>"))
}

func roundTrip[T any](t *testing.T, enc Encoding, v T) {
	t.Helper()
	data, err := enc.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := enc.Decode(data, &back); err != nil {
		t.Fatal(err)
	}
	clear(data)
	if !reflect.DeepEqual(v, back) {
		t.Errorf("%s: %#v came back as %#v", enc.Name(), v, back)
	}
}

// Bad input gets an error that names the type and what is allowed.
func TestUnsuitableTypes(t *testing.T) {
	for _, c := range []struct {
		err  error
		says []string
	}{
		{JSON.Check(reflect.TypeFor[chan int]()), []string{"chan int", "encoding/json"}},
		{JSON.Check(reflect.TypeFor[func()]()), []string{"func()"}},
		{Text.Check(reflect.TypeFor[int]()), []string{"int", "string", "[]byte", "TextMarshaler", "Stringer"}},
		{HTML.Check(reflect.TypeFor[level]()), []string{"level", "string", "template.HTML"}},
		{HTML.Check(reflect.TypeFor[template.JS]()), []string{"template.JS"}},
		{encodeError(Text, nil), []string{"nil"}},
		{encodeError(Text, (*url.URL)(nil)), []string{"nil *url.URL"}},
		{encodeError(Text, any(3)), []string{"int", "string"}},
		{encodeError(Text, "\xff"), []string{"UTF-8", "JSON"}},
		{encodeError(HTML, nil), []string{"nil", "string"}},
		{encodeError(HTML, any(3)), []string{"int", "string"}},
		{Text.Decode(nil, new(point)), []string{"point", "TextUnmarshaler"}},
		{Text.Decode(nil, "no pointer"), []string{"pointer", "string"}},
		{HTML.Decode(nil, new(point)), []string{"point", "*string"}},
	} {
		if c.err == nil {
			t.Errorf("no error, want one that says %q", c.says)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(c.err.Error(), s) {
				t.Errorf("%v: does not say %q", c.err, s)
			}
		}
	}
}

func encodeError(enc Encoding, v any) error {
	_, err := enc.Encode(v)
	return err
}

// Fiber's strings and byte slices alias a buffer that the next request
// overwrites.
func TestEncodeKeepsNothingBorrowed(t *testing.T) {
	for _, enc := range []Encoding{JSON, Text, HTML} {
		buf := []byte("request")
		borrowed := unsafe.String(&buf[0], len(buf))
		data, err := enc.Encode(borrowed)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(data)
		copy(buf, "XXXXXXX")
		if !bytes.Equal(data, before) {
			t.Errorf("%s: the encoded string follows the buffer: %q", enc.Name(), data)
		}
	}
	buf := []byte("request")
	data, _ := Text.Encode(buf)
	copy(buf, "XXXXXXX")
	if string(data) != "request" {
		t.Errorf("the encoded bytes follow the buffer: %q", data)
	}
	if data, _ := Text.Encode(selfish{&buf}); string(data) != "XXXXXXX" || &data[0] == &buf[0] {
		t.Errorf("the result of MarshalText is not copied: %q", data)
	}
}

type selfish struct{ buf *[]byte }

func (s selfish) MarshalText() ([]byte, error) { return *s.buf, nil }

type bomb struct{}

func (bomb) MarshalJSON() ([]byte, error) { panic("boom") }

func (*bomb) UnmarshalJSON([]byte) error { panic("boom back") }

// Rule 13: a panic while marshalling is an error with the panic's value.
func TestEncodingPanic(t *testing.T) {
	_, err := encodeOne(JSON, bomb{})
	var p *PanicError
	if !errors.As(err, &p) || p.Value != "boom" || !strings.Contains(string(p.Stack), "MarshalJSON") {
		t.Fatalf("got %#v", err)
	}
	if err := decode(JSON, []byte("1"), new(bomb)); !errors.As(err, &p) || p.Value != "boom back" {
		t.Fatalf("got %#v", err)
	}
}

func TestRecode(t *testing.T) {
	if data, err := recode[level]([]byte(`"warn"`), JSON, Text); err != nil || string(data) != "warn" {
		t.Fatalf("%q, %v", data, err)
	}
	if _, err := recode[level]([]byte(`{`), JSON, Text); err == nil {
		t.Fatal("broken JSON was recoded")
	}
}
