package scope_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// TestBudgetCountsThePath proves rule 4: whatever register accepts, URL and cursor
// together stay within the budget, the path included, and the cursor is one that a
// reconnect may present.
func TestBudgetCountsThePath(t *testing.T) {
	accepted := map[int]int{}
	for _, path := range []int{6, 1300} {
		k := newKit(t)
		p := k.process("s")
		q := k.private(p, scope.Spec{Name: "q"})
		tb := newTabAt(t, k.site, path, "s", p, q).connect()
		tb.hear()
		for {
			chat := k.channel(scope.Spec{Name: fmt.Sprintf("%0100d", accepted[path])})
			if _, err := tb.command("register", chat.Name()); err != nil {
				wantRefused(t, err, "refused")
				break
			}
			k.put(chat, "x")
			accepted[path]++
		}
		k.put(q, "1")
		tb.want("q", "1")
		if n := path + len("?") + len(tb.query) + len(tb.lastID); n > 2048 {
			t.Fatalf("path %d: URL and cursor take %d bytes", path, n)
		}
		tb.cut()
		k.put(q, "2")
		tb.connect().want("q", "2")
	}
	if accepted[6] <= accepted[1300] || accepted[1300] == 0 {
		t.Fatal("channels accepted by the path's length:", accepted)
	}
}

// TestCommandsLeaveNothing proves rule 13: what commands add and take away again
// leaves nothing on the event stream, nor fills its bounds.
func TestCommandsLeaveNothing(t *testing.T) {
	const rounds, most = 5000, 8
	k := newKit(t, scope.SiteConfig{MaxChannels: 3, MaxCommandRate: 1e9, MaxSessionCommandRate: 1e9})
	b := k.process("s")
	tb := newTab(t, k.site, "s", k.process("s")).connect()
	var names []string
	for i := range 5 {
		names = append(names, k.channel(scope.Spec{Name: fmt.Sprint("c", i)}).Name())
	}
	round := func(i int) {
		for _, pair := range [][]string{
			{"attach", b.Token()}, {"detach", b.Token()}, {"register", names[i%5]}, {"close", names[i%5]},
		} {
			tb.do(pair...)
		}
		tb.batch.Reset()
		_, _ = tb.stream.Collect(&tb.batch, 1<<20)
	}
	round(0)
	if grown := heapOf(rounds, round); grown > most {
		t.Errorf("each round left %d bytes, want at most %d", grown, most)
	}
}

// TestCommandsToAPeerThatReadsNothing proves rule 13: over 100 answers that nobody
// reads further commands are refused, and one Collect keeps to its budget.
func TestCommandsToAPeerThatReadsNothing(t *testing.T) {
	const budget = 4096
	k := newKit(t)
	tb, b := newTab(t, k.site, "s", k.process("s")).connect(), k.process("s")
	tb.hear()
	k.channel(scope.Spec{Name: "chat"})
	said := 0
	for ; said < 1000; said += 2 {
		if _, err := tb.command("attach", b.Token()); err != nil {
			wantRefused(t, err, "busy")
			break
		}
		tb.do("detach", b.Token())
	}
	if said != 100 {
		t.Fatalf("%d commands were taken, want 100", said)
	}
	_, err := tb.command("register", "chat")
	wantRefused(t, err, "busy")
	tb.batch.Reset()
	more, err := tb.stream.Collect(&tb.batch, budget)
	if n := tb.batch.Len(); err != nil || !more || n > 2*budget {
		t.Fatalf("a Collect of %d bytes gave %d; more %v, %v", budget, n, more, err)
	}
	tb.hear()
	tb.do("register", "chat")
}

// TestEndedUnsentCounts proves rule 13: channels whose end their tab has not heard
// count against the process, and make room once it has.
func TestEndedUnsentCounts(t *testing.T) {
	k := newKit(t, scope.SiteConfig{MaxChannels: 3})
	p := k.process("s")
	tb := newTab(t, k.site, "s", p)
	for i := range 3 {
		h := k.private(p, scope.Spec{Name: "q"})
		newTab(t, k.site, "s", p, h) // has it heard
		k.put(h, fmt.Sprint(i))
		h.Close()
	}
	if _, err := scope.Register(p, scope.Spec{Name: "q"}); !errors.Is(err, scope.ErrTooMany) {
		t.Fatal(err)
	}
	tb.connect().want("q", "0", "1", "2")
	k.private(p, scope.Spec{Name: "q"})
}

// TestForgottenEnds proves rules 1, 8 and 13: a process remembers the ends of 100
// channels. A reader from before that hears gone, and the process, its other
// channels and its tab go on.
func TestForgottenEnds(t *testing.T) {
	for ends, remembered := range map[int]bool{100: true, 101: false} {
		k := newKit(t)
		p := k.process("s")
		live := k.private(p, scope.Spec{Name: "live"})
		tb := newTab(t, k.site, "s", p, live).connect()
		for range ends {
			q := k.private(p, scope.Spec{Name: "q"})
			tb.do("register", "q")
			q.Close()
			tb.hear()
		}
		tb.cut().connect().hear() // acknowledges all of it
		duplicate := tb.duplicate().connect()
		events := duplicate.hear()
		duplicate.cut()
		full, gone := len(of(events, "comet:full")), len(of(events, "comet:gone"))
		if remembered && (full != ends || gone != 0) || !remembered && (full != 0 || gone != 1) {
			t.Fatalf("of %d ends an older reader heard %d full and %d gone", ends, full, gone)
		}
		if p.Err() != nil || live.Err() != nil {
			t.Fatal("a reader ended the process, or its channel:", p.Err(), live.Err())
		}
		k.put(live, "on")
		tb.cut().connect().want("live", "on")
	}
}
