package typescript_test

import (
	"bytes"
	"errors"
	"flag"
	"image"
	"os"
	"strings"
	"testing"

	ts "github.com/ocsigo/comet/typescript"
)

var update = flag.Bool("update", false, "write testdata/channels.ts anew")

// golden is an app's channels.
var golden = []ts.Entry{
	ts.Channel[message]("chat"),
	ts.Text("lines"),
	ts.Channel[embedding]("embedding"),
	ts.Channel[page[person]]("people"),
	ts.Channel[*page[int]]("numbers"),
	ts.Channel[tree]("tree"),
	ts.Channel[methods]("methods"),
	ts.Channel[int64]("count"),
	ts.Channel[[]Number]("jobs/1:a"),
	ts.Channel[Channels]("names"),
	ts.Channel[object]("object"),
	ts.Channel[image.Rectangle]("selection"), // of Points that are not these
	ts.Channel[Point]("pen"),
	ts.Channel[any]("any"),
	ts.Inbox[link]("chat"),
}

// TestGolden: what encoding/json has rules for is told by them, and the same types
// give the same text.
func TestGolden(t *testing.T) {
	const file = "testdata/channels.ts"
	var got bytes.Buffer
	if err := ts.Write(&got, golden...); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what is written now; see with -update what has changed:\n%s", file, &got)
	}
}

type loop *loop

// TestRefused: what JSON cannot carry is told with the path to it, and nothing is
// written.
func TestRefused(t *testing.T) {
	type inner struct {
		F map[string][]chan int `json:"f"`
	}
	for _, c := range []struct {
		entry ts.Entry
		says  string
	}{
		{ts.Channel[struct{ In inner }]("jobs"), `channel "jobs".In.f[][]: JSON cannot carry chan int`},
		{ts.Channel[func()]("f"), `channel "f": JSON cannot carry func()`},
		{ts.Inbox[complex64]("c"), `inbox "c": JSON cannot carry complex64`},
		{ts.Channel[map[float64]int]("m"), `a map's keys are`},
		{ts.Channel[loop]("p"), `points to nothing but itself`},
		{ts.Text("fine"), `channel "fine" is there twice`},
	} {
		var out bytes.Buffer
		err := ts.Write(&out, ts.Text("fine"), c.entry)
		if err == nil || !strings.Contains(err.Error(), c.says) || out.Len() > 0 {
			t.Errorf("%v, want an error that says %s; wrote %d bytes", err, c.says, out.Len())
		}
	}
}

type brokenPipe struct{}

var errPipe = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestWriterFails(t *testing.T) {
	if err := ts.Write(brokenPipe{}); !errors.Is(err, errPipe) {
		t.Error(err)
	}
}
