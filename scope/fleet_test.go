package scope_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/ocsigo/comet/internal/cursor"
	"github.com/ocsigo/comet/scope"
)

// A fleet is three tabs of one browser, each with a process of its own, that hand
// their processes to each other's event streams; and what it has heard so far.
type fleet struct {
	kit
	processes []*scope.ClientProcess
	channels  [][]*scope.Handle // of each process: a and b
	chat      *scope.Handle
	tabs      []*tab
	puts      map[string]int      // by token: how many values
	known     map[string]uint64   // by token: the number that the browser knows
	said      map[string]string   // by token and number
	at        map[carriage]uint64 // the number after which the next is due
	log       []string
}

// A carriage is a process on one event stream, under one number.
type carriage struct {
	tab   *tab
	slot  int
	token string
}

func newFleet(k kit) *fleet {
	f := &fleet{
		kit: k, chat: k.channel(scope.Spec{Name: "chat"}), puts: map[string]int{}, known: map[string]uint64{},
		said: map[string]string{}, at: map[carriage]uint64{},
	}
	for range 3 {
		p := k.process("s")
		a, b := k.private(p, scope.Spec{Name: "a"}), k.private(p, scope.Spec{Name: "b"})
		f.processes = append(f.processes, p)
		f.channels = append(f.channels, []*scope.Handle{a, b})
		f.tabs = append(f.tabs, newTab(k.t, k.site, "s", p, a, b).connect())
	}
	return f
}

// hear has a tab hear all that is pending, and checks every event.
func (f *fleet) hear(tb *tab) error {
	address, err := cursor.ParseAddress(tb.query)
	if err != nil {
		return err
	}
	for _, e := range tb.hear() {
		if e.name == "comet:full" || e.name == "comet:gone" {
			return fmt.Errorf("nothing was lost, and came %v", e)
		}
		c, err := cursor.ParseCursor(e.id, address)
		if err != nil {
			return fmt.Errorf("%v: %w", e, err)
		}
		for _, place := range c.Processes {
			if place.Slot == 0 {
				place.Token = address.Process.Token
			}
			if err := f.place(tb, e, place); err != nil {
				return err
			}
		}
	}
	return nil
}

// place checks where an event says that one process stands.
func (f *fleet) place(tb *tab, e heard, place cursor.Process) error {
	if place.Removed {
		return nil
	}
	on := carriage{tb, place.Slot, place.Token}
	due := f.at[on]
	switch name, slot, attached := strings.Cut(e.name, "@"); {
	case (name == "a" || name == "b") && attached == (place.Slot > 0) && (!attached || slot == strconv.Itoa(place.Slot)):
		due++
		key, what := fmt.Sprint(place.Token, due), name+e.data
		if before, again := f.said[key]; again && before != what {
			return fmt.Errorf("number %d was %s, and is %s now", due, before, what)
		}
		f.said[key] = what
	case strings.HasPrefix(name, "comet:"): // here it may begin; settle finds what that skipped
		due = place.Number
	}
	if place.Number != due {
		return fmt.Errorf("%v: process %s stands at %d, want %d", e, place.Token, place.Number, due)
	}
	f.at[on], f.known[place.Token] = due, max(f.known[place.Token], due)
	return nil
}

// step is one thing that happens to a tab.
func (f *fleet) step(r *rand.Rand) error {
	i, j := r.IntN(3), r.IntN(3)
	tb, p := f.tabs[i], f.processes[j]
	op := r.IntN(10)
	f.log = append(f.log, fmt.Sprint(op, ":", i, j))
	switch {
	case tb.dead:
		return nil
	case tb.stream == nil || tb.ended:
		tb.cut().connect()
	case op < 2: // the page tells how far it is
		value := p.Token()
		if n := f.known[value]; n > 0 {
			value += "." + strconv.FormatUint(n, 36)
		}
		_, _ = tb.command("attach", value)
	case op == 2:
		_, _ = tb.command("detach", p.Token())
	case op == 3:
		_, _ = tb.command([]string{"register", "close"}[r.IntN(2)], "chat")
	case op == 4:
		tb.bytes() // written, and lost with the connection
		tb.cut()
		return nil
	case op == 5:
		f.put(f.chat, "v")
	case op < 9:
		f.puts[p.Token()]++
		f.put(f.channels[j][r.IntN(2)], strconv.Itoa(f.puts[p.Token()]))
		return nil
	}
	return f.hear(tb)
}

// settle opens every process once more, and has it say the rest.
func (f *fleet) settle() error {
	for i, p := range f.processes {
		tb := newTab(f.t, f.site, "s", p, f.channels[i][0], f.channels[i][1]).connect()
		f.tabs = append(f.tabs, tb)
		if err := f.hear(tb); err != nil {
			return err
		}
		for n := 1; n <= f.puts[p.Token()]; n++ {
			if f.said[fmt.Sprint(p.Token(), n)] == "" {
				return fmt.Errorf("of %d values number %d was never heard", f.puts[p.Token()], n)
			}
		}
	}
	return nil
}

func (f *fleet) run(r *rand.Rand) error {
	defer func() {
		for _, tb := range f.tabs {
			tb.cut()
		}
		if err := f.site.Shutdown(context.Background()); err != nil {
			f.t.Error(err)
		}
	}()
	for range 40 {
		if err := f.step(r); err != nil {
			return err
		}
	}
	return f.settle()
}

// TestMovedAndCut proves rules 1, 2, 3, 4, 7 and 11 for processes that move between
// event streams which are cut: on each, every number comes once and in order; a
// number means one value; nothing is lost, and every cursor is one that is read.
func TestMovedAndCut(t *testing.T) {
	for _, seed := range seeds(t, 300) {
		f := newFleet(kit{t, scope.NewSite()})
		if err := f.run(rand.New(rand.NewPCG(seed, 3))); err != nil {
			t.Fatalf("COMET_SEED=%d: %v; steps %v", seed, err, f.log)
		}
	}
}
