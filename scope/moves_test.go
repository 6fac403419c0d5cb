package scope_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ocsigo/comet/scope"
)

// do carries out a command that must not be refused.
func (tb *tab) do(pairs ...string) scope.Reply {
	tb.t.Helper()
	r, err := tb.command(pairs...)
	if err != nil {
		tb.t.Fatalf("%v: %v", pairs, err)
	}
	return r
}

// two connects two tabs of one session, and makes a process that neither carries,
// with a channel that is heard.
func (k kit) two() (s1, s2 *tab, b *scope.ClientProcess, qb *scope.Handle) {
	k.t.Helper()
	s1, s2 = newTab(k.t, k.site, "s", k.process("s")).connect(), newTab(k.t, k.site, "s", k.process("s")).connect()
	s1.hear()
	s2.hear()
	b = k.process("s")
	qb = k.private(b, scope.Spec{Name: "qb"})
	newTab(k.t, k.site, "s", b, qb)
	return s1, s2, b, qb
}

// TestAttachAgainAfterSuperseded proves rules 4 and 11: a process that was taken
// from an event stream and attached to it again leaves a cursor that is read.
func TestAttachAgainAfterSuperseded(t *testing.T) {
	k := newKit(t)
	s1, s2, b, qb := k.two()
	s1.do("attach", b.Token())
	s1.hear()
	s2.do("attach", b.Token())
	s2.hear()
	s1.wantNotice("superseded", notice{Process: b.Token(), Reason: "newer"})
	s1.do("attach", b.Token())
	k.put(qb, "1")
	s1.want("qb@1", "1")
	s1.cut()
	k.put(qb, "2")
	s1.connect().want("qb@1", "2")
}

// TestAttachBeforeSupersededIsHeard proves rules 3 and 11: what attach answers is
// true also of a process which a newer event stream has taken a moment ago, before
// this one could say so.
func TestAttachBeforeSupersededIsHeard(t *testing.T) {
	k := newKit(t)
	s1, s2, b, qb := k.two()
	s1.do("attach", b.Token())
	s1.hear()
	s2.do("attach", b.Token())
	r := s1.do("attach", b.Token()) // s1 was not collected in between
	if r.State != "attached" {
		t.Fatal(r)
	}
	k.put(qb, "1")
	events := s1.want(fmt.Sprintf("qb@%d", r.K), "1")
	if hello := of(events, "comet:hello"); len(hello) != 1 || !strings.Contains(hello[0], b.Token()) {
		t.Fatal(events)
	}
	s2.wantNotice("superseded", notice{Process: b.Token(), Reason: "newer"})
}

// TestSupersededMakeRoom proves rule 3: processes that newer event streams have
// taken do not displace, at a reconnect, those that are carried here.
func TestSupersededMakeRoom(t *testing.T) {
	k := newKit(t)
	s1, s2, b, qb := k.two()
	for range scope.AttachMax - 1 {
		token := k.process("s").Token()
		for _, tb := range []*tab{s1, s2} {
			tb.do("attach", token)
			tb.hear()
		}
		s1.wantNotice("superseded", notice{Process: token, Reason: "newer"})
	}
	r := s1.do("attach", b.Token())
	s1.hear()
	s1.cut().connect()
	k.put(qb, "1")
	s1.want(fmt.Sprintf("qb@%d", r.K), "1")
}

// TestOwnProcessComesBack proves rules 7 and 11: the URL's own process, taken away
// and attached again beside itself, goes on where it was after a reconnect.
func TestOwnProcessComesBack(t *testing.T) {
	k := newKit(t)
	a, b := k.process("s"), k.process("s")
	qa := k.private(a, scope.Spec{Name: "q", Size: 2})
	s0, s1 := newTab(t, k.site, "s", a, qa).connect(), newTab(t, k.site, "s", k.process("s")).connect()
	s0.hear()
	s1.hear()
	s0.do("attach", b.Token())
	s1.do("attach", a.Token())
	s0.wantNotice("superseded", notice{Process: a.Token(), Reason: "newer"})
	r := newTab(t, k.site, "s", b).do("attach", a.Token()) // b is on s0: so is a again
	for i := range 5 {
		k.put(qa, fmt.Sprint(i))
		s0.want(fmt.Sprintf("q@%d", r.K), fmt.Sprint(i))
	}
	s0.cut()
	k.put(qa, "5")
	s0.connect().want(fmt.Sprintf("q@%d", r.K), "5")
}

// TestUnnamedEventOfAnAttached proves rule 3: of the event stream's own process an
// event without a name stays so; of an attached one it must tell whose it is.
func TestUnnamedEventOfAnAttached(t *testing.T) {
	k := newKit(t)
	a, b := k.process("s"), k.process("s")
	qa := k.private(a, scope.Spec{Name: "q", Unnamed: true})
	qb := k.private(b, scope.Spec{Name: "q", Unnamed: true})
	newTab(t, k.site, "s", b, qb)
	tb := newTab(t, k.site, "s", a, qa).connect()
	tb.do("attach", b.Token())
	k.put(qa, "A")
	k.put(qb, "B")
	events := tb.want("q@1", "B")
	if own := of(events, ""); fmt.Sprint(own) != "[A]" {
		t.Fatal(events)
	}
}
