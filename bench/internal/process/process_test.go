package process

import (
	"runtime"
	"testing"
	"time"
)

func TestCPUCountsWork(t *testing.T) {
	before, err := CPU()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); {
	}
	after, err := CPU()
	if err != nil {
		t.Fatal(err)
	}
	if used := after - before; used < time.Millisecond || used > 10*time.Second {
		t.Errorf("30 ms of work on a core were measured as %v", used)
	}
}

func TestSettledSeesWhatIsHeld(t *testing.T) {
	before, err := Settled()
	if err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20
	held := make([]byte, size)
	for i := range held {
		held[i] = 1
	}
	during, err := Settled()
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(held)
	for what, n := range map[string]int64{"RSS": during.RSS - before.RSS, "heap": during.Heap - before.Heap} {
		if n < size*9/10 || n > size*5 { // the race detector's shadow is four times as large
			t.Errorf("%d bytes held grew the %s by %d", size, what, n)
		}
	}
}
