package around

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/ocsigo/comet/middleware"
)

// A Neighbour is a middleware around Comet, or a setting: one row of
// docs/around.md, written exactly as there.
type Neighbour struct {
	Name          string
	Before, After Verdict
	Note          string // what there is to know, and the remedy
	Test          string // of a test that proves it, where the table does not

	Handler func() fiber.Handler // makes the middleware; nil for a setting
	Setting Setup
	Browser []string // headers that the browser sends for it: names and values
	Again   bool     // the page is loaded twice: it is of a session that has begun

	Log      string               // what Comet's one line of the log contains, where a verdict is Logged
	Remedied func() fiber.Handler // the middleware with the remedy that the log tells
}

// A Verdict says what comes of it.
type Verdict string

const (
	Works  Verdict = "works"
	Harms  Verdict = "logged"           // a page does not get all; one line of the log says why, and the remedy
	Warned Verdict = "works, is logged" // all was well, and one line of the log tells of what may not be
	Apart  Verdict = "–"                // no such place, or a test of its own says
)

// Run proves every row.
func Run(t *testing.T, rows []Neighbour) {
	for _, n := range rows {
		for _, place := range []struct {
			name    string
			verdict Verdict
		}{{"before", n.Before}, {"after", n.After}} {
			if place.verdict == Apart {
				continue
			}
			t.Run(n.Name+"/"+place.name, func(t *testing.T) {
				n.prove(t, place.name == "before", place.verdict, n.Handler)
			})
			if place.verdict == Harms && n.Remedied != nil {
				t.Run(n.Name+"/"+place.name+"/remedied", func(t *testing.T) {
					n.prove(t, place.name == "before", Works, n.Remedied)
				})
			}
		}
	}
}

func (n *Neighbour) prove(t *testing.T, before bool, verdict Verdict, handler func() fiber.Handler) {
	setup := n.Setting
	if handler != nil {
		if before {
			setup.Before = append(setup.Before, handler())
		} else {
			setup.After = append(setup.After, handler())
		}
	}
	a := Serve(t, setup)
	p, err := a.Open(n.Browser...)
	if err == nil && n.Again {
		err = p.Load()
	}
	if err == nil {
		err = p.Everything()
	}
	want := n.Log
	if verdict == Works {
		want = ""
	}
	if verdict == Harms && err == nil {
		err = errors.New("no harm was done: the log says what is not so")
	} else if verdict == Harms {
		t.Log("the harm:", err)
		err = nil
	}
	if err != nil {
		t.Error(err)
	}
	a.Logged(want)
}

// Row is the neighbour's row in a table of Markdown.
func (n *Neighbour) Row(test string) string {
	if n.Test != "" {
		test = n.Test
	}
	return "| " + strings.Join([]string{n.Name, string(n.Before), string(n.After), n.Note, "`" + test + "`"}, " | ") + " |"
}

// Table holds the rows that name test, or a test of one of the rows, against the
// page: neither may have one that the other has not.
func Table(t *testing.T, page, test string, rows []Neighbour) {
	t.Helper()
	want := map[string]bool{}
	for _, n := range rows {
		want[n.Row(test)] = true
	}
	f, err := os.Open(page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case want[line]:
			delete(want, line)
		case strings.HasPrefix(line, "| ") && strings.Contains(line, "`"+test+"`"):
			t.Errorf("%s has a row that the test has not:\n%s", page, line)
		}
	}
	for row := range want {
		t.Errorf("%s lacks the row:\n%s", page, row)
	}
}

// SkipEndpoint is a Next that has a middleware skip Comet's endpoint.
func SkipEndpoint(c *fiber.Ctx) bool { return c.Path() == middleware.ConfigDefault.Path }
