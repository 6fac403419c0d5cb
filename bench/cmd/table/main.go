// Command table measures all servers side by side and writes the README's tables
// and the plot. From the repository's root:
//
//	go run ./bench/cmd/table
//
// takes about half an hour and wants the machine for itself. Smaller runs are for
// trying things out:
//
//	go run ./bench/cmd/table -n 200 -runs 1 -rows 'comet|floor' -out /some/dir
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocsigo/comet/bench/internal/harness"
	"github.com/ocsigo/comet/bench/internal/results"
)

const module = "github.com/ocsigo/comet/bench"

// settings are what the flags say.
type settings struct {
	sizes   []int
	runs    int
	rows    *regexp.Regexp
	cases   *regexp.Regexp
	out     string
	draw    bool
	profile string
}

func main() {
	s, err := parse()
	if err == nil {
		err = run(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func parse() (s settings, err error) {
	sizes := flag.String("n", "1000,10000", "how many streams, comma-separated")
	rows := flag.String("rows", "", "which rows, a regular expression on kind/mode, such as comet/site")
	cases := flag.String("cases", "", "which parts, a regular expression: crowd, stalled, cost")
	flag.IntVar(&s.runs, "runs", 3, "how many runs; medians are told")
	flag.StringVar(&s.out, "out", "", "the directory of README.md, results.json and the plot; default: the module's")
	flag.BoolVar(&s.draw, "draw", false, "measure nothing: write README.md and the plot again, from results.json")
	flag.StringVar(&s.profile, "profile", "", "measure nothing: write a CPU profile of the first of the rows, paced, to this file")
	flag.Parse()
	if s.rows, err = regexp.Compile(*rows); err != nil {
		return s, err
	}
	if s.cases, err = regexp.Compile(*cases); err != nil {
		return s, err
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 10 || n == harness.Readers {
			return s, fmt.Errorf("-n %q: write numbers of streams from 10, but not %d, which the case of the stalled reader has", *sizes, harness.Readers)
		}
		s.sizes = append(s.sizes, n)
	}
	if s.out == "" {
		s.out, err = moduleDir()
	}
	return s, err
}

func moduleDir() (string, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("finding the module %s: run this in the repository, or say -out: %w", module, err)
	}
	return strings.TrimSpace(string(dir)), nil
}

func run(s settings) error {
	path := filepath.Join(s.out, "results.json")
	var set results.Set
	if s.draw {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &set); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return write(s.out, set)
	}
	if err := roomFor(s.sizes); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "comet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "server")
	if set.Machine, err = build(binary); err != nil {
		return err
	}
	m := measuring{settings: s, binary: binary, set: &set}
	if s.profile != "" {
		return m.profileOne()
	}
	began := time.Now()
	m.all()
	fmt.Fprintf(os.Stderr, "%d figures in %v\n", len(set.Samples), time.Since(began).Round(time.Second))
	text, err := json.MarshalIndent(set, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return write(s.out, set)
}

// roomFor wants a descriptor for each stream, here and in each server, which
// inherits the limit.
func roomFor(sizes []int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for _, n := range sizes {
		if uint64(n+100) > limit.Max {
			return fmt.Errorf("%d streams need as many open files, and a process may open %d here: raise the limit (ulimit -Hn), or say less with -n", n, limit.Max)
		}
	}
	return nil
}

// build makes the servers' binary, and tells what it is made of.
func build(binary string) (m results.Machine, err error) {
	if out, err := exec.Command("go", "build", "-o", binary, module+"/server").CombinedOutput(); err != nil {
		return m, fmt.Errorf("building the servers: %w: %s", err, out)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return m, err
	}
	return results.Here(info, command(), revision()), nil
}

// command is what gives the same figures again; where they are written is nobody
// else's business.
func command() string {
	text := "go run ./bench/cmd/table"
	flag.Visit(func(f *flag.Flag) {
		if f.Name != "out" {
			text += fmt.Sprintf(" -%s '%s'", f.Name, f.Value)
		}
	})
	return text
}

// revision is the commit that is measured, with a + if the tree differs from it.
func revision() string {
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "(no revision)"
	}
	r := strings.TrimSpace(string(commit))
	if exec.Command("git", "diff", "--quiet", "HEAD").Run() != nil {
		r += "+"
	}
	return r
}

// write makes README.md and the plot of the largest size.
func write(dir string, set results.Set) error {
	path := filepath.Join(dir, "README.md")
	readme, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		readme, err = []byte(results.Empty), nil
	}
	if err != nil {
		return err
	}
	text, err := results.Insert(string(readme), set.Markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "figures.svg"), []byte(set.SVG()), 0o644)
}
