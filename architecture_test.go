package comet_test

import (
	"go/build"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ocsigo/comet"

// arrows are docs/architecture.md's: what each package may import of this
// module, "" standing for the door.
var arrows = map[string][]string{
	"":                           {"middleware", "scope"},
	"middleware":                 {"scope", "engine", "sse", "internal/wire", "client", "doctor"},
	"doctor":                     {"sse"},
	"cmd/comet-doctor":           {"doctor"},
	"client":                     {},
	"comettest":                  {"channel", "scope", "sse"},
	"typescript":                 {},
	"channel":                    {"scope", "engine"},
	"scope":                      {"sse", "engine", "engine/memory", "internal/ring", "internal/mailbox", "internal/cursor", "internal/wheel"},
	"engine":                     {},
	"engine/memory":              {"engine", "internal/ring"},
	"engine/enginetest":          {"engine"},
	"engine/enginetest/sitetest": {"scope", "sse", "engine", "engine/enginetest"},
	"sse":                        {},
	"internal/wire":              {"sse", "internal/wheel"},
	"internal/ring":              {},
	"internal/mailbox":           {"internal/ring"},
	"internal/cursor":            {"engine"},
	"internal/wheel":             {},
	"internal/leak":              {},
	"examples/chat":              {"", "channel", "scope"},
	"examples/mailcount":         {"", "channel", "scope"},
}

// outside are the packages beyond the standard library, and who may import them.
var outside = map[string][]string{
	"github.com/gofiber/fiber/v2":          {"", "middleware", "comettest", "examples/chat", "examples/mailcount"},
	"github.com/gofiber/storage/memory/v2": {"middleware", "comettest"},
	"github.com/valyala/fasthttp":          {"middleware", "internal/wire"},
	"github.com/klauspost/compress":        {"internal/wire"},
	"golang.org/x/sys":                     {"internal/wire"},
}

// TestArrows holds the imports of every package against the drawing.
func TestArrows(t *testing.T) {
	for _, dir := range packages(t) {
		allowed, drawn := arrows[dir]
		if !drawn {
			if dir != "docs" && !strings.HasPrefix(dir, "internal/apptest") {
				t.Errorf("package %s is not in docs/architecture.md", dir)
			}
			continue
		}
		pkg, err := build.ImportDir(filepath.Join(".", dir), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range pkg.Imports {
			if rest, ours := strings.CutPrefix(path, module); ours {
				if !slices.Contains(allowed, strings.TrimPrefix(rest, "/")) {
					t.Errorf("%s imports %s: no such arrow in docs/architecture.md", dir, path)
				}
				continue
			}
			checkOutside(t, dir, path)
		}
	}
}

func checkOutside(t *testing.T, dir, path string) {
	if !strings.Contains(strings.Split(path, "/")[0], ".") {
		return
	}
	for prefix, who := range outside {
		if (path == prefix || strings.HasPrefix(path, prefix+"/")) && slices.Contains(who, dir) {
			return
		}
	}
	t.Errorf("%s imports %s, which it may not", dir, path)
}

// packages returns the directories of this module that hold Go code.
func packages(t *testing.T) []string {
	var dirs []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != "." {
			return fs.SkipDir
		}
		if files, _ := filepath.Glob(filepath.Join(path, "*.go")); len(files) > 0 {
			dirs = append(dirs, strings.TrimPrefix(filepath.ToSlash(path), "."))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// dependencies are all modules that the library links, Fiber's own included.
var dependencies = []string{
	"github.com/andybalholm/brotli", "github.com/gofiber/fiber", "github.com/gofiber/storage/memory", "github.com/google/uuid",
	"github.com/klauspost/compress", "github.com/mattn/go-colorable", "github.com/mattn/go-isatty", "github.com/mattn/go-runewidth",
	"github.com/rivo/uniseg", "github.com/valyala/bytebufferpool", "github.com/valyala/fasthttp", "github.com/valyala/tcplisten",
	"golang.org/x/sys", module,
}

// TestDependencies: the library brings Fiber, fasthttp, one storage, and nothing
// that these do not bring themselves.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		known := slices.ContainsFunc(dependencies, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
		if !known {
			t.Errorf("the library links %s", path)
		}
	}
}
