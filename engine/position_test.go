package engine_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ocsigo/comet/engine"
)

var canonical = []struct {
	text string
	pos  engine.Position
}{
	{"a.0", engine.Position{Epoch: "a"}},
	{"0.1", engine.Position{Epoch: "0", Seq: 1}},
	{"k3v9x0qz.3e8", engine.Position{Epoch: "k3v9x0qz", Seq: 4400}},
	{"e.z.1", engine.Position{Epoch: "e", Seq: 35, Tag: 1}},
	{"0123456789abcdef.3w5e11264sgsf.1z141z3", engine.Position{Epoch: "0123456789abcdef", Seq: math.MaxUint64, Tag: math.MaxUint32}},
}

func TestPositionText(t *testing.T) {
	for _, c := range canonical {
		if got := c.pos.String(); got != c.text {
			t.Errorf("%#v is %q, want %q", c.pos, got, c.text)
		}
		got, err := engine.ParsePosition(c.text)
		if err != nil || got != c.pos {
			t.Errorf("ParsePosition(%q) = %#v, %v", c.text, got, err)
		}
		if len(c.text) > engine.MaxPosition {
			t.Errorf("%q is longer than MaxPosition", c.text)
		}
	}
}

// Rule 4: positions from the wire are parsed strictly.
func TestParsePositionRefuses(t *testing.T) {
	for _, s := range []string{
		"", ".", "a", "a.", ".1", "a..1", "a.1.", "a.1.1.1", "a.1.1.", "A.1", "a.Z", "a.1.Z",
		"a.01", "a.00", "a.1.0", "a.1.01", "a.+1", "a.-1", "a.1_0", "a. 1", " a.1", "a.1 ", "a.1\n", "a.0x1",
		"a.3w5e11264sgsg", "a.1.1z141z4", "a.10000000000000", "é.1", "a.é", "a.1\x00",
		"0123456789abcdefg.1", strings.Repeat("a", 17), strings.Repeat("9", 1<<16) + ".1",
	} {
		if p, err := engine.ParsePosition(s); !errors.Is(err, engine.ErrBadPosition) || !p.IsZero() {
			t.Errorf("ParsePosition(%.50q) = %v, %v, want ErrBadPosition", s, p, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("ParsePosition(%.50q): an error of %d bytes repeats its input", s, len(err.Error()))
		}
	}
}

func TestPositionWithoutText(t *testing.T) {
	for _, c := range []struct {
		pos  engine.Position
		text string
	}{
		{engine.Position{}, ""},
		{engine.Position{Seq: 1}, "(bad position)"},
		{engine.Position{Epoch: "a.b"}, "(bad position)"},
		{engine.Position{Epoch: "0123456789abcdefg"}, "(bad position)"},
	} {
		b, err := c.pos.AppendText([]byte("kept"))
		if !errors.Is(err, engine.ErrBadPosition) || string(b) != "kept" {
			t.Errorf("AppendText of %#v = %q, %v", c.pos, b, err)
		}
		if got := c.pos.String(); got != c.text {
			t.Errorf("%#v is %q, want %q", c.pos, got, c.text)
		}
	}
}

func TestPositionInJSON(t *testing.T) {
	type page struct {
		After engine.Position `json:"after,omitzero"`
	}
	want := page{engine.Position{Epoch: "e", Seq: 36, Tag: 2}}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"after":"e.10.2"}` {
		t.Fatalf("%s, %v", text, err)
	}
	var got page
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Fatalf("%v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"after":"e.010"}`), &got); !errors.Is(err, engine.ErrBadPosition) || got != want {
		t.Fatalf("bad position in JSON: %v, %v", got, err)
	}
	if text, err = json.Marshal(page{}); err != nil || string(text) != `{}` {
		t.Fatalf("%s, %v", text, err)
	}
}

func TestAppendTextDoesNotAllocate(t *testing.T) {
	p := canonical[len(canonical)-1].pos
	buffer := make([]byte, 0, engine.MaxPosition)
	if n := testing.AllocsPerRun(100, func() { buffer, _ = p.AppendText(buffer[:0]) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// What parses is canonical, and what is canonical parses.
func FuzzParsePosition(f *testing.F) {
	for _, c := range canonical {
		f.Add(c.text)
	}
	f.Add("a.01.0")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := engine.ParsePosition(s)
		if err != nil {
			if !errors.Is(err, engine.ErrBadPosition) || !p.IsZero() {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if p.String() != s {
			t.Fatalf("%q parses as %#v, which is written %q", s, p, p)
		}
	})
}
