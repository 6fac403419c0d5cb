// Package docs_test holds the tables of this directory against the tests that they
// name.
package docs_test

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the repository's, its modules for tests alone (e2e, middleware/stock)
// included.
const root = ".."

// testsOf returns the names that go test runs, as package.Test, with the string
// literals of the test's file: a subtest's name is one of them.
func testsOf(t *testing.T) map[string][]string {
	t.Helper()
	tests := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(file, "_test.go"):
			return read(file, tests)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

func read(file string, tests map[string][]string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir, err := filepath.Rel(root, filepath.Dir(file))
	if err != nil {
		return err
	}
	dir = filepath.ToSlash(dir)
	if dir == "." {
		dir = "comet"
	}
	var literals []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil {
				literals = append(literals, s)
			}
		}
		return true
	})
	for _, decl := range parsed.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && isTest.MatchString(f.Name.Name) {
			tests[dir+"."+f.Name.Name] = literals
		}
	}
	return nil
}

var (
	isTest = regexp.MustCompile(`^(Test|Fuzz|Example)([^a-z]|$)`)
	named  = regexp.MustCompile("`([a-z0-9/-]+)\\.((?:Test|Fuzz|Example)[A-Za-z0-9_]*)(?:/([^`]+))?`")
	later  = regexp.MustCompile(`later: (comet\.js|notif|engines|WebKit|metrics)\b`)
)

// proofs returns how many tests text names, and complains of those that there are
// not.
func proofs(t *testing.T, where, text string, tests map[string][]string) (n int) {
	t.Helper()
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		literals, there := tests[m[1]+"."+m[2]]
		switch {
		case !there:
			t.Errorf("%s: there is no test %s.%s", where, m[1], m[2])
		case m[3] != "" && !slices.Contains(literals, m[3]):
			t.Errorf("%s: %s.%s has no subtest %q", where, m[1], m[2], m[3])
		default:
			n++
		}
	}
	return n
}

// A row is one of a table, in cells.
type row struct {
	section string // the heading that it stands under
	line    int
	cells   []string
}

func (r row) String() string { return fmt.Sprintf("line %d, row %s", r.line, r.cells[0]) }

// rowsOf returns the rows of a page's tables, without their heads.
func rowsOf(t *testing.T, page string) (rows []row) {
	t.Helper()
	section, inTable := "", false
	for i, line := range linesOf(t, page) {
		switch {
		case strings.HasPrefix(line, "## "):
			section, _, _ = strings.Cut(strings.TrimPrefix(line, "## "), ". ")
			section, _, _ = strings.Cut(section, " ")
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case strings.HasPrefix(line, "|---"):
			inTable = true
		case inTable:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, row{section, i + 1, cells})
		}
	}
	return rows
}

func linesOf(t *testing.T, page string) (lines []string) {
	t.Helper()
	f, err := os.Open(page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// sections are those of the study of Eliom, and how many rows each has.
var sections = map[string]int{
	"1a": 15, "1b": 11, "1c": 17, "1e": 4, "2.1": 13, "2.2": 10, "2.3": 3, "2.4": 5, "2.5": 6, "2.6": 4, "2.7": 4, "2.8": 11, "2.9": 6,
	"4a": 33, "4b": 17,
}

const reasons = "0020-eliom-rows.md"

// TestEliom: every row of eliom.md names a test that exists, a reason that is
// given, or the part of Comet that is yet to come; and none is missing.
func TestEliom(t *testing.T) {
	tests, given := testsOf(t), map[string]bool{}
	for _, r := range rowsOf(t, path.Join("decisions", reasons)) {
		given[r.cells[0]] = true
	}
	count, seen := map[string]int{}, map[string]bool{}
	for _, r := range rowsOf(t, "eliom.md") {
		id := r.cells[0]
		if len(r.cells) != 4 || seen[id] {
			t.Errorf("%v: %d cells, or not the first of its number", r, len(r.cells))
			continue
		}
		count[r.section]++
		seen[id] = true
		if n := count[r.section]; !strings.HasPrefix(r.section, "4") && id != fmt.Sprintf("%s.%d", r.section, n) {
			t.Errorf("%v: want %s.%d", r, r.section, n)
		}
		proof := r.cells[3]
		n := proofs(t, "eliom.md, "+r.String(), proof, tests)
		cited := strings.Contains(proof, reasons)
		if cited != given[id] {
			t.Errorf("%v: it cites %s: %v; that has such a row: %v", r, reasons, cited, given[id])
		}
		if n == 0 && !cited && !later.MatchString(proof) {
			t.Errorf("%v: neither a test nor a reason", r)
		}
		delete(given, id)
	}
	for id := range given {
		t.Errorf("%s: eliom.md has no row %s", reasons, id)
	}
	for section, n := range sections {
		if count[section] != n {
			t.Errorf("section %s has %d rows, want %d", section, count[section], n)
		}
	}
}

const rules = 21

// TestRules: every rule of rules.md has a test, and every test that it names
// exists.
func TestRules(t *testing.T) {
	tests := testsOf(t)
	proven := make([]int, rules+1)
	rule := 0
	for i, line := range linesOf(t, "rules.md") {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			number, _, _ := strings.Cut(heading, ".")
			if n, err := strconv.Atoi(number); err != nil || n != rule+1 {
				t.Errorf("rules.md, line %d: want rule %d", i+1, rule+1)
			}
			rule++
		}
		if rule < len(proven) {
			proven[rule] += proofs(t, fmt.Sprintf("rules.md, line %d", i+1), line, tests)
		}
	}
	if rule != rules {
		t.Errorf("rules.md has %d rules, want %d", rule, rules)
	}
	for n := 1; n <= rules; n++ {
		if proven[n] == 0 {
			t.Errorf("rule %d has no test", n)
		}
	}
}

// TestBrowsers: every row of browsers.md names a test that pins it.
func TestBrowsers(t *testing.T) {
	tests := testsOf(t)
	for _, r := range rowsOf(t, "browsers.md") {
		if proofs(t, "browsers.md, "+r.String(), r.cells[len(r.cells)-1], tests) == 0 {
			t.Errorf("browsers.md, %v: no test pins it", r)
		}
	}
}

// TestPeers: every trap and every claim of the study of Comet's peers has a test
// that exists, or is of a part that is yet to come; none is missing.
func TestPeers(t *testing.T) {
	tests, count := testsOf(t), map[string]int{}
	for _, r := range rowsOf(t, "peers.md") {
		section, _, _ := strings.Cut(r.cells[0], ".")
		count[section]++
		if want := fmt.Sprintf("%s.%d", section, count[section]); r.cells[0] != want {
			t.Errorf("peers.md, %v: want %s", r, want)
		}
		if proofs(t, "peers.md, "+r.String(), r.cells[len(r.cells)-1], tests) == 0 && !later.MatchString(r.cells[2]) {
			t.Errorf("peers.md, %v: no test", r)
		}
	}
	if count["4B"] != 16 || count["5A"] != 15 {
		t.Errorf("peers.md has rows %v, want 16 of 4B and 15 of 5A", count)
	}
}

// TestSecurity: every threat has a test that exists.
func TestSecurity(t *testing.T) {
	tests, threats := testsOf(t), 0
	for _, r := range rowsOf(t, "security.md") {
		threats++
		if proofs(t, "security.md, "+r.String(), r.cells[len(r.cells)-1], tests) == 0 {
			t.Errorf("security.md, %v: no test shows that it is held", r)
		}
	}
	if threats < 20 {
		t.Errorf("security.md has %d threats", threats)
	}
}

// TestAround: every row of around.md, which its tests hold to their own tables,
// names a test, and so does what stands below the tables.
func TestAround(t *testing.T) {
	tests, rows := testsOf(t), rowsOf(t, "around.md")
	for _, r := range rows {
		if proofs(t, "around.md, "+r.String(), r.cells[len(r.cells)-1], tests) == 0 {
			t.Errorf("around.md, %v: no test", r)
		}
	}
	if len(rows) < 45 {
		t.Errorf("around.md has %d rows", len(rows))
	}
	for i, line := range linesOf(t, "around.md") {
		if !strings.HasPrefix(line, "|") {
			proofs(t, fmt.Sprintf("around.md, line %d", i+1), line, tests)
		}
	}
}

// linked matches a link to a file of the repository.
var linked = regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)

// TestLinks: what these pages link to is there.
func TestLinks(t *testing.T) {
	pages := []string{
		"architecture.md", "around.md", "browsers.md", "commands.md", "eliom.md", "events.md", "external.md", "nodes.md", "peers.md", "presence.md", "rules.md", "scaling.md", "security.md", "sending.md", "types.md",
		path.Join("decisions", reasons),
	}
	for _, page := range pages {
		code := false
		for i, line := range linesOf(t, page) {
			if code = code != strings.HasPrefix(line, "```"); code {
				continue
			}
			for _, m := range linked.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join(path.Dir(page), m[1])); err != nil {
					t.Errorf("%s, line %d: %v", page, i+1, err)
				}
			}
		}
	}
}
