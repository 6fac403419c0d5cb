package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A record is one place in the code that logs.
type record struct {
	where, level, message string
	keys                  []string
}

// text is a string that is written out, in parts or whole.
func text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		a, whole := text(e.X)
		b, too := text(e.Y)
		return a + b, whole && too
	}
	return "", false
}

// levels are the methods that log, and neighbours', which says a thing once.
var levels = map[string]string{"Debug": "DEBUG", "Info": "INFO", "Warn": "WARN", "Error": "ERROR", "say": "WARN"}

func logs(where string, call *ast.CallExpr) (r record, ok bool) {
	f, selects := call.Fun.(*ast.SelectorExpr)
	if !selects || levels[f.Sel.Name] == "" {
		return r, false
	}
	args := call.Args
	if f.Sel.Name == "say" && strings.HasSuffix(where, "neighbours.go") {
		args = args[1:]
	} else if f.Sel.Name == "say" || len(args) == 0 {
		return r, false
	}
	message, ok := text(args[0])
	if !ok {
		return r, false
	}
	r = record{where: where, level: levels[f.Sel.Name], message: message}
	for i := 1; i < len(args); i += 2 {
		key, written := text(args[i])
		if !written {
			key = "a key that is not written out"
		}
		r.keys = append(r.keys, key)
	}
	return r, true
}

// recordsOf are all of them in a directory of the library.
func recordsOf(t *testing.T, dir string) (records []record) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if r, ok := logs(file, call); ok {
					records = append(records, r)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// TestLog: every message that the library logs is in operations.md, at its level and with
// its keys, and nothing else is there. A row has the message's beginning, which no other
// message shares.
func TestLog(t *testing.T) {
	var rows []row
	for _, r := range rowsOf(t, "operations.md") {
		if len(r.cells) == 4 && slices.Contains([]string{"DEBUG", "INFO", "WARN", "ERROR"}, r.cells[0]) {
			rows = append(rows, r)
		}
	}
	found := make([]bool, len(rows))
	for _, dir := range []string{"scope", "channel", "middleware", "doctor", "internal/wire"} {
		for _, r := range recordsOf(t, dir) {
			message, named := strings.CutPrefix(r.message, "comet: ")
			if !named && !strings.HasSuffix(r.where, "neighbours.go") {
				t.Errorf("%s: %q does not begin with comet:", r.where, r.message)
			}
			var of []int
			for i, row := range rows {
				if strings.HasPrefix(message, row.cells[1]) {
					of = append(of, i)
				}
			}
			if len(of) != 1 {
				t.Errorf("%s: operations.md has %d rows of %q", r.where, len(of), message)
				continue
			}
			found[of[0]] = true
			row := rows[of[0]]
			var keys []string
			for _, key := range r.keys {
				keys = append(keys, "`"+key+"`")
			}
			if row.cells[0] != r.level || row.cells[2] != strings.Join(keys, ", ") {
				t.Errorf("operations.md, line %d: %s with %s; the code has %s with %s", row.line, row.cells[0], row.cells[2], r.level, fmt.Sprint(r.keys))
			}
		}
	}
	for i, row := range rows {
		if !found[i] {
			t.Errorf("operations.md, line %d: nothing logs %q", row.line, row.cells[1])
		}
	}
}
