package mailbox_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/ocsigo/comet/internal/mailbox"
)

// TestSnapshot: a box and the one that is made of its snapshot answer alike, then
// and after whatever is done to both.
func TestSnapshot(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		a := mailbox.New(1+r.IntN(6), 1+r.IntN(40))
		var number uint64
		step := func(do func(b *mailbox.Box) any, boxes ...*mailbox.Box) {
			t.Helper()
			first := do(boxes[0])
			for _, b := range boxes[1:] {
				if again := do(b); !reflect.DeepEqual(first, again) {
					t.Fatalf("seed %d: the box says %v, the restored one %v", seed, first, again)
				}
			}
		}
		act := func(boxes ...*mailbox.Box) {
			switch op := r.IntN(12); {
			case op < 5:
				data := make([]byte, r.IntN(12))
				step(func(b *mailbox.Box) any { return b.Put(data) }, boxes...)
			case op < 10:
				number++
				step(func(b *mailbox.Box) any { e, ok := b.Take(number); return fmt.Sprint(e, ok) }, boxes...)
			case op == 10 && r.IntN(4) == 0:
				step(func(b *mailbox.Box) any { b.Finish(mailbox.End, "end"); return nil }, boxes...)
			case op == 11 && r.IntN(8) == 0:
				step(func(b *mailbox.Box) any { b.Fail(mailbox.Full, "overflow"); return nil }, boxes...)
			}
			k := r.Uint64N(number + 1)
			step(func(b *mailbox.Box) any {
				e, ok := b.After(k)
				return fmt.Sprint(e, ok, b.Unsent(), b.Final(), b.Newest(), b.Discarded())
			}, boxes...)
		}
		for range r.IntN(40) {
			act(a)
		}
		restored := mailbox.Restore(a.Snapshot())
		for range 40 {
			act(a, restored)
		}
	}
}
