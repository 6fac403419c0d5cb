package sitetest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/enginetest/sitetest"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func one(*testing.T) []engine.Engine { return []engine.Engine{memory.New()} }

func TestInBubble(t *testing.T) {
	sitetest.RunInBubble(t, one)
	for range 4 {
		sitetest.RunInBubble(t, several)
	}
}

func TestInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	sitetest.Run(t, several)
}

// elsewhere is one of several handles on a store that outlives them.
type elsewhere struct{ *memory.Engine }

func (e elsewhere) Caps() engine.Caps {
	c := e.Engine.Caps()
	c.Shared = true
	return c
}

func several(*testing.T) []engine.Engine {
	store := memory.New()
	return []engine.Engine{elsewhere{store}, elsewhere{store}, elsewhere{store}}
}

// liar is a store that answers what is not so.
type liar struct {
	elsewhere
	read  func([]engine.Entry) []engine.Entry
	twice bool // what is appended is there twice
}

func (l liar) Read(ctx context.Context, n engine.Name, after engine.Position, max int) (engine.Batch, error) {
	b, err := l.elsewhere.Read(ctx, n, after, max)
	if l.read != nil {
		b.Entries = l.read(b.Entries)
	}
	return b, err
}

func (l liar) Append(ctx context.Context, n engine.Name, items ...engine.Item) ([]engine.Position, error) {
	positions, err := l.elsewhere.Append(ctx, n, items...)
	if l.twice && err == nil {
		for _, item := range items {
			_, err = l.elsewhere.Append(ctx, n, engine.Item{Data: item.Data})
		}
	}
	return positions, err
}

// lies are what the cases have to find, and which of them.
var lies = []struct {
	name     string
	caughtBy []string
	liar     liar
}{
	{"reads leave one out", []string{"complete", "following"}, liar{read: func(entries []engine.Entry) []engine.Entry {
		if n := len(entries); n > 1 {
			return append(entries[:n-2:n-2], entries[n-1])
		}
		return entries
	}}},
	{"reads find nothing", []string{"complete", "newest", "following"}, liar{read: func([]engine.Entry) []engine.Entry { return nil }}},
	{"values are there twice", []string{"complete", "trimmed", "following"}, liar{twice: true}},
}

// TestLies is the child of TestEveryCaseCatchesALie, and fails by design.
func TestLies(t *testing.T) {
	if os.Getenv("COMET_LIES") == "" {
		t.Skip("runs in a child process of TestEveryCaseCatchesALie only")
	}
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			sitetest.RunInBubble(t, func(*testing.T) []engine.Engine {
				l := lie.liar
				l.elsewhere = elsewhere{memory.New()}
				return []engine.Engine{l, l}
			})
		})
	}
}

// A case that nothing can fail proves nothing.
func TestEveryCaseCatchesALie(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the cases against broken engines")
	}
	child := exec.Command(os.Args[0], "-test.run=^TestLies$", "-test.v", "-test.timeout=2m")
	child.Env = append(os.Environ(), "COMET_LIES=1", "COMET_SEED=1")
	out, _ := child.CombinedOutput()
	for _, lie := range lies {
		for _, name := range lie.caughtBy {
			if !strings.Contains(string(out), "--- FAIL: TestLies/"+strings.ReplaceAll(lie.name, " ", "_")+"/"+name) {
				t.Errorf("%s: not caught by the case %s", lie.name, name)
			}
		}
	}
	if i := strings.Index(string(out), "panic:"); i >= 0 {
		t.Errorf("a lie made the kit panic:\n%.4000s", out[i:])
	}
}
