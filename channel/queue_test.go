package channel

import (
	"math/rand/v2"
	"testing"
)

func val(s string) waiting { return waiting{[]byte(s), JSON} }

// Rule 13: bounded in messages and in bytes.
func TestQueueBounds(t *testing.T) {
	q := newQueue(2, 5)
	for _, step := range []struct {
		push string
		want bool
	}{
		{"larger than all", true}, // alone
		{"", false},               // no bytes left, whatever it needs
	} {
		if got := q.push(val(step.push)); got != step.want {
			t.Fatalf("push %q: %v", step.push, got)
		}
	}
	q.pop()
	for _, step := range []struct {
		push string
		want bool
	}{{"abc", true}, {"def", false}, {"de", true}, {"", false}} {
		if got := q.push(val(step.push)); got != step.want {
			t.Fatalf("push %q: %v", step.push, got)
		}
	}
	q.drop()
	if _, ok := q.pop(); ok || q.bytes != 0 || !q.push(val("abcde")) {
		t.Fatal("a dropped queue is not empty")
	}
}

// A queue behaves as a slice does, over any number of turns, and lets go of
// what was read.
func TestQueueAgainstSlice(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	q := newQueue(50, 200)
	var model []string
	bytes := 0
	for range 20000 {
		if rnd.IntN(100) < 48 {
			w, ok := q.pop()
			if ok != (len(model) > 0) || ok && string(w.data) != model[0] {
				t.Fatalf("pop: %q %v, model %q", w.data, ok, model)
			}
			if ok {
				bytes -= len(model[0])
				model = model[1:]
			}
			continue
		}
		s := string(make([]byte, rnd.IntN(12)))
		want := len(model) < 50 && (len(model) == 0 || bytes+len(s) <= 200)
		if got := q.push(val(s)); got != want {
			t.Fatalf("push with %d values, %d bytes: %v", len(model), bytes, got)
		}
		if want {
			model, bytes = append(model, s), bytes+len(s)
		}
		if q.len() != len(model) || q.bytes != bytes || cap(q.items) > 256 {
			t.Fatalf("len %d, bytes %d, cap %d; model %d, %d", q.len(), q.bytes, cap(q.items), len(model), bytes)
		}
	}
	for i, w := range q.items[:cap(q.items)] {
		if (i < q.first || i >= len(q.items)) && w.data != nil {
			t.Fatalf("slot %d still holds what was read", i)
		}
	}
}

func TestQueueClone(t *testing.T) {
	q := newQueue(3, 100)
	for _, s := range []string{"a", "b", "c"} {
		q.push(val(s))
	}
	q.pop()
	c := q.clone()
	q.pop()
	q.push(val("d"))
	for _, want := range []string{"b", "c"} {
		if w, _ := c.pop(); string(w.data) != want {
			t.Fatalf("clone: %q, want %q", w.data, want)
		}
	}
	if _, ok := c.pop(); ok || c.bytes != 0 || c.maxValues != 3 || c.maxBytes != 100 {
		t.Fatalf("clone is not its own: %+v", c)
	}
}
