package wire_test

import (
	"bufio"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// timed is a script that keeps how long its writes waited.
type timed struct {
	*script
	mu   sync.Mutex
	took []time.Duration
}

func (s *timed) Wrote(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, after)
}

func (s *timed) longest() (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.took {
		longest = max(longest, d)
	}
	return longest
}

// TestWriteTime: a source hears how long a peer that stood still let it wait.
func TestWriteTime(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if k.coding != "" {
			t.Skip("a flood that is compressed fills no socket")
		}
		const still = 200 * time.Millisecond
		src := &timed{script: newScript(t)}
		var said atomic.Int64
		var enough atomic.Bool
		flood := flood()
		src.script.collect = func(b *sse.Batch, budget int) (bool, error) {
			if said.Add(1); enough.Load() {
				return false, io.EOF
			}
			return flood(b, budget)
		}
		body := k.stream(t, src, wire.Options{}).connect(get).response(http.MethodGet).Body
		stand := func() { // nothing is read until nothing more is written
			for before := int64(-1); before != said.Load(); time.Sleep(still) {
				before = said.Load()
			}
		}
		// On a busy machine nothing is written for a while though the socket has room.
		for start := time.Now(); k.way.deadlines && src.longest() < still; {
			if time.Since(start) > patience {
				t.Fatalf("a peer stood still for %v again and again, the longest write is said to have waited %v", still, src.longest())
			}
			stand()
			if _, err := io.CopyN(io.Discard, body, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		enough.Store(true)
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Fatal(err)
		}
		src.waitGone(nil)
		if got := src.longest(); !k.way.deadlines && got > 0 {
			t.Errorf("streamed cannot know, and says %v", got)
		}
	})
}

// TestWriteTimeOfNothing: what the kernel takes at once is not told.
func TestWriteTimeOfNothing(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if k.way.name != "takeover" { // elsewhere a busy machine may make a write take long
			t.Skip("not of the kernel's taking")
		}
		src := &timed{script: newScript(t)}
		srv := k.stream(t, src, wire.Options{})
		r := bufio.NewReader(srv.connect(get).response(http.MethodGet).Body)
		for range 20 {
			src.say("x")
			events(t, r, 1)
		}
		src.finish(nil)
		src.waitGone(nil)
		if got := src.longest(); got > 0 {
			t.Errorf("what was taken at once is said to have waited %v", got)
		}
	})
}
