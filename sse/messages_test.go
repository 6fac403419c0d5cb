package sse_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A message is what a chat sends: as JSON it has ids and times, which hardly
// compress, and prose, which does.
type message struct {
	ID   string    `json:"id"`
	User string    `json:"user"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// messages are n different messages of about size bytes in JSON. Their prose is
// this repository's own documentation.
func messages(t testing.TB, n, size int) [][]byte {
	t.Helper()
	var prose strings.Builder
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no prose: %v", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		prose.Write(text)
	}
	r := rand.New(rand.NewPCG(1, uint64(size)))
	all := make([][]byte, n)
	for i := range all {
		m := message{ID: fmt.Sprintf("%08x", r.Uint32()), User: []string{"ada", "ben", "cleo"}[r.IntN(3)],
			At: time.Unix(1800000000+r.Int64N(1e6), 0).UTC()}
		empty, _ := json.Marshal(m) // strings and a time: cannot fail
		length := max(size-len(empty), 1)
		at := r.IntN(prose.Len() - length)
		m.Text = strings.ToValidUTF8(prose.String()[at:at+length], "")
		all[i], _ = json.Marshal(m)
	}
	return all
}
