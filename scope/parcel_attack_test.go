package scope

import (
	"runtime"
	"testing"
)

// TestUnpackHostile: a count that promises as many entries as there are bytes makes no
// more of them than there are.
func TestUnpackHostile(t *testing.T) {
	s := NewSite()
	defer s.Shutdown(t.Context())
	b := parcel(nil).text("t").text("s").number(0).number(0).number(0).number(0).number(0).flags(true).number(1)
	b = b.text("c").text("c").flags().number(0).number(0).number(1).number(0).number(0)
	const rest = 1 << 20
	b = append(b.number(rest-4), make([]byte, rest)...)
	for i := len(b) - rest; i < len(b); i++ {
		b[i] = 0x80 // no number ends
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, ok := s.unpackProcess(&unparcel{rest: b}); ok {
		t.Fatal("it was taken")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Fatalf("%d bytes of nothing cost %d bytes", len(b), n)
	}
}

// TestNewsHostile: the same of what an owner tells a relay.
func TestNewsHostile(t *testing.T) {
	const rest = 1 << 20
	promise := func(b parcel) *unparcel {
		b = append(b.number(rest-4), make([]byte, rest)...)
		for i := len(b) - rest; i < len(b); i++ {
			b[i] = 0x80 // no number ends
		}
		return &unparcel{rest: b}
	}
	begin, hear := promise(parcel(nil).number(1).number(1)), promise(parcel(nil).flags(false).number(1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := &relay{}
	if r.begin(begin) == nil || r.hear(hear) == nil {
		t.Fatal("it was taken")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Fatalf("%d bytes of nothing cost %d bytes", 2*rest, n)
	}
}
