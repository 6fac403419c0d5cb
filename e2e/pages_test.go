package e2e

import (
	"os"
	"strings"
	"testing"
)

// The lines that make a new EventSource when the browser gave up are the same on every page, so that they can be copied
// from any; and a page stays small enough to be read.
func TestPagesListenAlike(t *testing.T) {
	lines := map[string]string{}
	for _, page := range []string{"../examples/chat/index.html", "../examples/mailcount/index.html"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) >= 20_000 {
			t.Errorf("%s has %d bytes, want less than 20,000", page, len(text))
		}
		_, after, found := strings.Cut(string(text), "// comet:listen\n")
		block, _, ended := strings.Cut(after, "// comet:listen end\n")
		if !found || !ended {
			t.Fatalf("%s does not mark how it listens", page)
		}
		lines[block] = page
	}
	if len(lines) != 1 {
		t.Errorf("the pages listen in different ways: %q", lines)
	}
}
