package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/client"
)

// tool returns a command of the pinned tools, which are installed beside
// package.json. Without them the test is skipped, where it may be.
func tool(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join("node_modules", ".bin", name)
	if _, err := os.Stat(path); err != nil {
		const remedy = "%s is not installed: npm install --prefix client --no-package-lock (Debian: apt-get install npm)"
		if os.Getenv("CI") == "true" {
			t.Fatalf(remedy, name)
		}
		t.Skipf(remedy, name)
	}
	return exec.Command(path, args...)
}

// minified returns how long a file is, minified and gzipped.
func minified(t *testing.T, name string) int {
	t.Helper()
	small, err := tool(t, "esbuild", "--minify", "--format=esm", "--target=es2022", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if _, err := w.Write(small); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Len()
}

// The core stays within 3 KB, and README.md tells how large it is and what sends.
func TestSize(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`(\d),(\d{3}) bytes`).FindAllSubmatch(text, -1)
	files := []string{"comet.js", "comet-send.js"}
	if len(said) != len(files) {
		t.Fatalf("README.md says %d sizes in bytes, want those of %q", len(said), files)
	}
	for i, file := range files {
		const most = 3 << 10
		n := minified(t, file)
		if n > most {
			t.Errorf("%s has %d bytes minified and gzipped, at most %d are allowed", file, n, most)
		}
		t.Logf("%s: %d bytes minified and gzipped", file, n)
		figure, _ := strconv.Atoi(string(said[i][1]) + string(said[i][2]))
		if max(figure-n, n-figure) > 10 { // another compressor may differ by a little
			t.Errorf("README.md says that %s has %d bytes, measured are %d", file, figure, n)
		}
	}
}

// The types fit a page that uses them, and refuse what is wrong.
func TestTypes(t *testing.T) {
	out, err := tool(t, "tsc", "--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext",
		"testdata/types.ts").CombinedOutput()
	if err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

// package.json offers what there is, and its version is the changelog's newest.
func TestPackage(t *testing.T) {
	text, err := os.ReadFile("package.json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Version string
		Exports map[string]map[string]string
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	for entry, files := range p.Exports {
		for _, file := range files {
			if _, ok := client.Get(strings.TrimPrefix(file, "./")); !ok {
				t.Errorf("%s is %s, which is not there", entry, file)
			}
		}
	}
	changes, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	version := "0.0.0" // before the first release
	if m := regexp.MustCompile(`(?m)^## \[(\d[^]]*)\]`).FindSubmatch(changes); m != nil {
		version = string(m[1])
	}
	if p.Version != version {
		t.Errorf("package.json has version %s, CHANGELOG.md %s", p.Version, version)
	}
}

// Every file has a strong tag of its own, and a script's type.
func TestFiles(t *testing.T) {
	script, ok := client.Get("comet.js")
	types, there := client.Get("comet.d.ts")
	if !ok || !there || script.ETag == types.ETag || !strings.HasPrefix(script.ETag, `"`) || script.Type != "text/javascript; charset=utf-8" {
		t.Errorf("%+v\n%+v", script.ETag, types.ETag)
	}
	if _, ok := client.Get("client.go"); ok {
		t.Error("Go code is served")
	}
}

// The clocks: back-off, watchdog, idle pauses (eliom.md 1d and 2.7), by a clock
// that the test moves.
func TestActivity(t *testing.T) { inNode(t, "testdata/activity.test.mjs") }

// What ends a Comet or a channel, and what a page does when it hears of it.
func TestEnds(t *testing.T) { inNode(t, "testdata/ends.test.mjs") }

// Whose an event is that tabs share.
func TestSharing(t *testing.T) { inNode(t, "testdata/shared.test.mjs") }

// Sends: their order and numbers, what is repeated and when, what is refused.
func TestSending(t *testing.T) { inNode(t, "testdata/send.test.mjs") }

func inNode(t *testing.T, file string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node is not installed (Debian: apt-get install nodejs)")
		}
		t.Skip("node is not installed (Debian: apt-get install nodejs)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a test that fails may leave timers
	defer cancel()
	if out, err := exec.CommandContext(ctx, node, "--no-warnings", "--test", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
