package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/faults/internal/ledger"
)

// heard reads what a test writes: values, and the reasons of holes. A reset comes before
// everything that is acknowledged, but for one that is late.
func heard(text string) (h []ledger.Heard) {
	epoch := 0
	for word := range strings.FieldsSeq(text) {
		if v, err := ledger.Parse(word); err == nil {
			h = append(h, ledger.Heard{Value: v, Epoch: epoch})
			continue
		}
		hole := ledger.Heard{Hole: word, Epoch: epoch}
		switch word {
		case "late":
			hole.Hole, hole.At = "reset", time.Now()
			epoch++
		case "reset":
			epoch++
		}
		h = append(h, hole)
	}
	return h
}

// The judge is judged: what it must not let pass, and what it must.
func TestCheck(t *testing.T) {
	l := ledger.New()
	for _, v := range heard("a:1 a:2 a:3 b:1 b:2") {
		l.Try("c", v.Value)
		if v.Value.String() != "a:2" { // its outcome is unknown
			l.Ack("c", v.Value)
		}
	}
	for text, fault := range map[string]string{
		"a:1 a:2 b:1 a:3 b:2":         "",
		"a:1 b:1 a:3 b:2":             "",
		"b:1 a:1 trimmed a:3 b:2":     "",
		"overflow a:3 b:2":            "",
		"b:1 b:2 a:1 a:3 a:3":         "doubled",
		"b:1 b:2 a:3 a:1":             "neither heard",
		"a:1 a:3 b:2":                 "b:1, which was acknowledged",
		"a:1 b:1 b:2":                 "ends at number 1 of sender a",
		"a:1 b:1 b:2 trimmed":         "",
		"trimmed a:1 a:2 b:1":         "ends at number 2",
		"a:1 trimmed a:2 b:1 b:2":     "ends at number 2",
		"a:1 a:2 b:1 a:3 b:2 c:1":     "nobody sent",
		"trimmed a:3 b:2 trimmed a:3": "doubled",
		"a:1 b:1 reset a:1 a:3 b:2":   "",
	} {
		err := l.Check("c", heard(text))
		switch {
		case fault == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
			t.Errorf("%s: %v, want %s", text, err, fault)
		}
	}
	if l.Acked("c") != 4 {
		t.Errorf("%d acknowledged", l.Acked("c"))
	}
}

func TestAgree(t *testing.T) {
	for _, c := range []struct {
		a, b string
		ok   bool
	}{
		{"a:1 b:1 a:2", "a:1 b:1 a:2", true},
		{"a:1 b:1 a:2", "a:1 trimmed a:2 b:2", true},
		{"a:1 b:1 a:2", "b:1 a:1 a:2", false},
		{"a:1 b:1 reset b:2 a:2", "b:1 reset a:2", true},
	} {
		if err := ledger.Agree(heard(c.a), heard(c.b)); (err == nil) != c.ok {
			t.Errorf("%s | %s: %v", c.a, c.b, err)
		}
	}
}
