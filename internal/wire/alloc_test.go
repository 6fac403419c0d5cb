//go:build !race

package wire_test

import (
	"testing"

	"github.com/ocsigo/comet/internal/wire"
)

// Under the race detector a sync.Pool forgets at random, so this is without.

// Nothing is allocated for a delivery: not for the wake, the worker, the batch
// or the write. A heartbeat is such a delivery.
func TestDeliveryDoesNotAllocate(t *testing.T) {
	for _, k := range []kind{
		{way: best, listen: listenTCP}, {way: best, listen: listenUnix}, {way: parked, listen: shy(listenTCP)},
		{way: best, listen: listenTCP, coding: "gzip"}, {way: parked, listen: shy(listenTCP), coding: "zstd"},
	} {
		src := &beats{
			wake: make(chan func(), 1), due: make(chan struct{}, 1), gone: make(chan error, 1),
			data: []byte("beat"),
		}
		p := k.stream(t, src, wire.Options{}).connect(get)
		p.header()
		wake := <-src.wake
		lines := 4
		if k.coding != "" { // read decoded, and without chunks
			lines = 2
		}
		deliver := func() {
			src.due <- struct{}{}
			wake()
			for line := range lines { // of a chunk: its size, the data line, the blank one, its end
				if _, err := p.br.ReadSlice('\n'); err != nil {
					t.Fatal(line, err)
				}
			}
		}
		if n := testing.AllocsPerRun(2000, deliver); n > 0 {
			t.Errorf("%s %s: %v allocations a delivery", k.way.name, k.coding, n)
		}
		p.conn.Close()
		<-src.gone
	}
}
