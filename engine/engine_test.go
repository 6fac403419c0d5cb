package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/engine"
)

func TestRetryable(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("driver: append: %w", err) }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{engine.ErrUnavailable, true},
		{wrap(engine.ErrUnavailable), true},
		{wrap(engine.ErrStale), true},
		{wrap(engine.ErrUnknown), false},
		{errors.Join(engine.ErrUnknown, engine.ErrUnavailable), false},
		{engine.ErrTrimmed, false},
		{engine.ErrEpoch, false},
		{engine.ErrNoChannel, false},
		{engine.ErrSpecConflict, false},
		{engine.ErrTooLarge, false},
		{engine.ErrClosed, false},
		{context.Canceled, false},
	} {
		if got := engine.Retryable(c.err); got != c.want {
			t.Errorf("Retryable(%v) = %v", c.err, got)
		}
	}
}

func TestNameValidate(t *testing.T) {
	longest := strings.Repeat("x", engine.MaxName)
	for _, n := range []engine.Name{
		{Channel: "a"}, {Prefix: "p", Channel: "c"}, {Prefix: longest, Channel: longest},
		{Channel: "a.b*c>d e{f}/\x00"}, {Prefix: "préfixe", Channel: "канал"},
	} {
		if err := n.Validate(); err != nil {
			t.Errorf("%q: %v", n, err)
		}
	}
	for _, n := range []engine.Name{
		{}, {Prefix: "p"}, {Channel: longest + "x"}, {Prefix: longest + "x", Channel: "c"},
		{Channel: "\xff"}, {Prefix: "\xc3", Channel: "c"},
	} {
		if err := n.Validate(); !errors.Is(err, engine.ErrBadName) {
			t.Errorf("%q: %v, want ErrBadName", n, err)
		}
	}
}

func TestSpecNormal(t *testing.T) {
	for _, c := range []struct{ spec, want engine.Spec }{
		{engine.Spec{}, engine.Spec{Size: 1000, MaxBytes: 16 << 20}},
		{engine.Spec{Size: 1, MaxBytes: 2, IdleTTL: time.Hour}, engine.Spec{Size: 1, MaxBytes: 2, IdleTTL: time.Hour}},
		{engine.Spec{Newest: true}, engine.Spec{Size: 1, MaxBytes: 16 << 20, Newest: true}},
		{engine.Spec{Newest: true, Size: 50}, engine.Spec{Size: 1, MaxBytes: 16 << 20, Newest: true}},
	} {
		got, err := c.spec.Normal()
		if err != nil || got != c.want {
			t.Errorf("%+v is %+v, %v, want %+v", c.spec, got, err, c.want)
		}
		if again, err := got.Normal(); err != nil || again != got {
			t.Errorf("%+v is not its own Normal: %+v, %v", got, again, err)
		}
	}
	for _, s := range []engine.Spec{{Size: -1}, {MaxBytes: -1}, {IdleTTL: -1}, {Newest: true, Size: -1}} {
		if _, err := s.Normal(); !errors.Is(err, engine.ErrBadSpec) {
			t.Errorf("%+v: %v, want ErrBadSpec", s, err)
		}
	}
}

func TestDurabilityString(t *testing.T) {
	if got := fmt.Sprint(engine.None, engine.Primary, engine.Quorum, engine.Durability(9)); got != "none primary quorum unknown durability" {
		t.Fatal(got)
	}
}

// A page keeps the text of a position and comes back with it.
func ExampleParsePosition() {
	text := engine.Position{Epoch: "k3v9x0qz", Seq: 4400}.String()
	fmt.Println(text)
	p, err := engine.ParsePosition(text)
	fmt.Println(p.Epoch, p.Seq, err)
	_, err = engine.ParsePosition("k3v9x0qz.03e8")
	fmt.Println(errors.Is(err, engine.ErrBadPosition))
	// Output:
	// k3v9x0qz.3e8
	// k3v9x0qz 4400 <nil>
	// true
}
