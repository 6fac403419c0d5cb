package faults

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	storage "github.com/gofiber/storage/memory/v2"

	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/faults/internal/app"
	"github.com/ocsigo/comet/faults/internal/storm"
)

// seed is COMET_SEED, or a new one.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("COMET_SEED")
	if text == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("COMET_SEED: %v", err)
	}
	return n
}

// channels names n site channels.
func channels(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "c" + strconv.Itoa(i)
	}
	return names
}

// TestCalm is the storm without a fault, over the engine in memory: what fails here is
// the storm's own fault.
func TestCalm(t *testing.T) {
	log, sessions := memory.New(memory.Config{Nodes: true}), storage.New()
	defer sessions.Close()
	names := channels(6)
	var addrs []string
	for range 3 {
		n, err := app.Start(app.Config{Engine: log, Storage: sessions, Channels: names, Size: 50})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := n.Stop(ctx); err != nil {
				t.Error(err)
			}
		}()
		addrs = append(addrs, n.Addr)
	}
	s := storm.Start(t, storm.Config{
		Nodes: func() []string { return addrs }, Channels: names, Senders: 12, Pause: 5 * time.Millisecond,
		Tabs: 20, Cut: 200 * time.Millisecond, Seed: seed(t),
	})
	s.Acked(2000)
	s.Judge()
}
