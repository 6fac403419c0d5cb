package scope_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// TestFailedSourceIsLogged: a source's failure reaches the logger, by its
// channel's name; an ordinary end does not.
func TestFailedSourceIsLogged(t *testing.T) {
	k := newKit(t)
	var log bytes.Buffer
	if err := k.site.Bind(scope.Hooks{Logger: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
		t.Fatal(err)
	}
	p := k.process("s")
	for name, cause := range map[string]error{"fails": errors.New("no ink"), "ends": io.EOF, "closes": scope.ErrClosed, "fills": scope.ErrFull} {
		for _, owner := range []scope.Owner{k.site, p} {
			h, err := scope.Register(owner, scope.Spec{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			h.Feed().End(cause)
			h.Close()
		}
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || strings.Count(got, "channel=fails") != 2 || !strings.Contains(got, "no ink") {
		t.Fatalf("logged:\n%s", got)
	}
}

// TestOpenHearsEveryPrivateChannel: what the process has by the time of Open is
// heard, named by a ref or not; what comes later, by register (rule 1: never
// nothing).
func TestOpenHearsEveryPrivateChannel(t *testing.T) {
	k := newKit(t)
	p := k.process("s")
	named, unnamed := k.private(p, scope.Spec{Name: "named"}), k.private(p, scope.Spec{Name: "unnamed"})
	tb := newTab(t, k.site, "s", p, named).connect()
	later := k.private(p, scope.Spec{Name: "later"})
	for _, h := range []*scope.Handle{named, unnamed, later} {
		k.put(h, "1")
	}
	events := tb.hear()
	if len(of(events, "named")) != 1 || len(of(events, "unnamed")) != 1 || len(of(events, "later")) != 0 {
		t.Fatal(events)
	}
	if _, err := k.site.Link(context.Background(), p, 0, k.channel(scope.Spec{Name: "later"})); !errors.Is(err, scope.ErrNameTaken) {
		t.Fatal(err)
	}
}
