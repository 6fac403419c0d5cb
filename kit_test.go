package comet_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// byHand is what a test does that is a browser or a server of its own, where
// comettest has both.
var byHand = map[string][]string{
	"net":                         {"Dial", "DialTimeout", "Dialer", "Listen", "ListenConfig", "ListenTCP", "DialTCP"},
	"net/http":                    {"Client", "DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm", "Transport", "Serve", "Server", "ListenAndServe"},
	"net/http/httptest":           {"NewServer", "NewTLSServer", "NewUnstartedServer"},
	"github.com/ocsigo/comet/sse": {"Read", "NewReader", "Reader"},
	"github.com/valyala/fasthttp/fasthttputil": {"NewInmemoryListener", "NewPipeConns"},
	"github.com/valyala/fasthttp":              {"Client", "HostClient", "Get", "Post", "Do"},
}

// below are the directories and files whose tests may do so. Decision record 0037
// says why of each.
var below = []string{
	"sse", "internal/wire", "scope", "channel/page_test.go", "internal/apptest/page_test.go", "internal/apptest/deploy_linux_test.go",
	"middleware/fuzz_test.go", "middleware/prefork_test.go", "middleware/silent_test.go", "middleware/stock/limits_test.go", "middleware/telemetry", "cmd/comet-doctor",
	"examples/cluster", "e2e", "faults", "bench",
}

// TestOnlyTheKit: Comet's own tests use what its users have (row 5A.15 of
// docs/peers.md): none dials, serves or reads event streams by itself but those that
// are about that. It looks at all modules.
func TestOnlyTheKit(t *testing.T) {
	record, err := os.ReadFile(filepath.Join("docs", "decisions", "0037-the-test-kit.md"))
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	err = filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return fs.SkipDir
		case !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		file = filepath.ToSlash(file)
		found := handmade(t, file)
		if len(found) == 0 {
			return nil
		}
		for dir := file; ; dir = path.Dir(dir) {
			if slices.Contains(below, dir) {
				used[dir] = true
				return nil
			}
			if dir == "." {
				t.Errorf("%s uses %s: use comettest, or say in docs/decisions/0037-the-test-kit.md why it cannot", file, strings.Join(found, ", "))
				return nil
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range below {
		if !used[name] {
			t.Errorf("%s does nothing by hand any more: take it out of the list and of the record", name)
		}
		if !strings.Contains(string(record), "`"+name+"`") {
			t.Errorf("the record does not say why %s is below the kit", name)
		}
	}
}

// handmade returns what the file uses of byHand.
func handmade(t *testing.T, file string) (found []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{} // by the package's name in the file
	for _, imp := range parsed.Imports {
		p := strings.Trim(imp.Path.Value, `"`)
		name := path.Base(p)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		if all, ok := byHand[p]; ok {
			names[name] = all
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(names[x.Name], sel.Sel.Name) {
				found = append(found, x.Name+"."+sel.Sel.Name)
			}
		}
		return true
	})
	slices.Sort(found)
	return slices.Compact(found)
}
