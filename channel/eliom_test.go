package channel_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ocsigo/comet/channel"
	"github.com/ocsigo/comet/scope"
)

// Eliom row 1a.1: the default size is 1000, and exact: in a process 1000 values wait and one more is too many; a site keeps
// the last 1000.
func TestDefaultSize(t *testing.T) {
	site := newSite(t)
	p := newProcess(t, site)
	posts, stream := channel.Push[int]()
	mine := must(channel.Create(p, stream))
	for i := range 1000 {
		if err := posts.Send(t.Context(), i); err != nil {
			t.Fatalf("value %d: %v", i+1, err)
		}
	}
	mustBe(t, "value 1001", posts.Send(t.Context(), 1000), channel.ErrFull, channel.ErrClosed)
	mustBe(t, "the channel", mine.Err(), channel.ErrFull)

	news, sent := channel.Push[int]()
	all := must(channel.Create(site, sent))
	for i := range 1500 {
		if err := news.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	values, _ := must2(all.Recent(t.Context(), 5000))
	if len(values) != 1000 || values[0] != 500 || values[999] != 1499 {
		t.Fatalf("%d values are kept, from %v on", len(values), values[:1])
	}
}

// Eliom row 2.1.2: a bounded channel's source is read as fast as it yields, whether or not its tab ever comes, up to the
// value that makes the channel full; that stops the source (2.1.5).
func TestSourceIsReadEagerly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := newSite(t)
		reads := 0 // by one reader
		var source context.Context
		ch := must(channel.Create(newProcess(t, site), channel.From(func(ctx context.Context) (int, error) {
			source = ctx
			reads++
			return reads, nil
		}), channel.Config{Size: 5}))
		synctest.Wait()
		mustBe(t, "Err", ch.Err(), channel.ErrFull)
		if reads != 6 {
			t.Errorf("the source was read %d times, want 6: five that fit, and the one that does not", reads)
		}
		mustBe(t, "the source's context", context.Cause(source), channel.ErrFull)
	})
}

// Eliom row 4a 6ee7114b1 and rule 2, with values of T: a history of n, what comes live, and what comes while the page is
// away are one sequence.
func TestHistoryJoinsLive(t *testing.T) {
	site := newSite(t)
	posts, stream := channel.Push[int]()
	ch := must(channel.Create(site, stream, channel.Config{Name: "chat", Size: 4}))
	send := func(v int) {
		t.Helper()
		if err := posts.Send(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= 6; i++ {
		send(i)
	}
	for _, n := range []int{0, 1, 3, 4, 5} {
		pg := newPage(t, site, nil, ch.History(n))
		var want []string
		for i := 7 - min(n, 4); i <= 6; i++ {
			want = append(want, fmt.Sprint("chat ", i))
		}
		if got := pg.now(); !slices.Equal(got, want) {
			t.Errorf("a history of %d was heard as %q, want %q", n, got, want)
		}
		pg.leave()
	}
	pg := newPage(t, site, nil, ch.History(2))
	pg.want(t, "chat 5", "chat 6")
	send(7)
	pg.want(t, "chat 7")
	pg.leave()
	send(8)
	if err := pg.connect(); err != nil {
		t.Fatal(err)
	}
	pg.want(t, "chat 8")
	runtime.KeepAlive(ch)
}

// Eliom rows 1e and 4b "S.Down stateful": the scope that is asked for is the one that is used. One constructor makes a
// site's channel or a tab's own, and who hears it differs.
func TestScopeIsHonoured(t *testing.T) {
	site := newSite(t)
	p, q := newProcess(t, site), newProcess(t, site)
	owners := map[string]scope.Owner{"all": site, "p": p, "q": q}
	senders := map[string]*channel.Sender[string]{}
	refs := map[string]scope.Ref{}
	for who, owner := range owners {
		s, stream := channel.Push[string]()
		name := "mine"
		if who == "all" {
			name = "all"
		}
		refs[who], senders[who] = must(channel.Create(owner, stream, channel.Config{Name: name})), s
	}
	pages := map[string]*page{"p": newPage(t, site, p, refs["all"], refs["p"]), "q": newPage(t, site, q, refs["all"], refs["q"])}
	for who, s := range senders {
		if err := s.Send(t.Context(), "for "+who); err != nil {
			t.Fatal(err)
		}
	}
	for who, pg := range pages {
		got := pg.hear(2)
		slices.Sort(got)
		if want := []string{`all "for all"`, fmt.Sprintf(`mine "for %s"`, who)}; !slices.Equal(got, want) {
			t.Errorf("the tab %s heard %q, want %q", who, got, want)
		}
	}
}
