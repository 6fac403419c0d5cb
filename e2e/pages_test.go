package e2e

import (
	"os"
	"strings"
	"testing"
)

// The lines that make a new EventSource when the browser gave up are the same on every native page and in what people read,
// so that they can be copied from any; and a page stays small enough to be read.
func TestPagesListenAlike(t *testing.T) {
	texts := map[string]string{}
	pages := []string{"../examples/chat/index.html", "../examples/chat/native.html", "../examples/mailcount/index.html", "../examples/mailcount/native.html"}
	for _, file := range append(pages, "../README.md", "../client/README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	_, after, found := strings.Cut(texts["../examples/chat/native.html"], "// comet:listen\n")
	lines, _, ended := strings.Cut(after, "// comet:listen end\n")
	if !found || !ended {
		t.Fatal("the native chat does not mark how it listens")
	}
	for file, text := range texts {
		if strings.HasSuffix(file, "index.html") == strings.Contains(text, lines) {
			t.Errorf("%s: comet.js listens on the main pages, these lines everywhere else:\n%s", file, lines)
		}
	}
	for _, page := range pages {
		if n := len(texts[page]); n >= 20_000 {
			t.Errorf("%s has %d bytes, want less than 20,000", page, n)
		}
	}
}
