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
