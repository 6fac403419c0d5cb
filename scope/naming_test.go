package scope_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// A listener hears as a page that knows only what hello has named: each life of a
// channel has an event name of its own, NAME.LIFE, and its values count up from 1.
type listener struct {
	named      map[string]string
	life, last map[string]int
	log        []string
}

// hear returns what no page should hear.
func (l *listener) hear(events []heard) error {
	for _, e := range events {
		l.log = append(l.log, e.id+" "+e.name+" "+e.data)
		var err error
		switch e.name {
		case "comet:hello":
			err = l.hello(e.data)
		case "comet:closed":
			err = l.closed(e.data)
		case "comet:hb":
		default:
			err = l.value(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *listener) hello(data string) error {
	type channel struct{ Channel, Event string }
	var h struct {
		Channels  []channel
		Processes []struct{ Channels []channel }
	}
	if err := json.Unmarshal([]byte(data), &h); err != nil {
		return err
	}
	for _, p := range h.Processes {
		h.Channels = append(h.Channels, p.Channels...)
	}
	for _, c := range h.Channels {
		l.named[c.Channel] = c.Event
	}
	return nil
}

func (l *listener) closed(data string) error {
	var n notice
	if err := json.Unmarshal([]byte(data), &n); err != nil {
		return err
	}
	if l.named[n.Channel] == "" {
		return fmt.Errorf("the end of %s, which is not named", n.Channel)
	}
	delete(l.named, n.Channel)
	return nil
}

func (l *listener) value(e heard) error {
	name, of, ok := strings.Cut(e.name, ".")
	if !ok || l.named[name] != e.name {
		return fmt.Errorf("%s, and %s is named %q", e.name, name, l.named[name])
	}
	var life, value int
	if _, err := fmt.Sscan(of+" "+e.data, &life, &value); err != nil {
		return err
	}
	if life < l.life[name] || life == l.life[name] && value <= l.last[name] {
		return fmt.Errorf("value %d of %s after %d of %d", value, e.name, l.last[name], l.life[name])
	}
	l.life[name], l.last[name] = life, value
	return nil
}

// A namingStorm is one process of the first of three nodes, whose channels live and end,
// and its tab, which goes from node to node.
type namingStorm struct {
	*nodes
	random *rand.Rand
	p      *scope.ClientProcess
	tb     *tab
	page   *listener
	living map[string]*scope.Handle
	life   map[string]int
	values map[string]int
	faulty atomic.Bool // one answer in six to a relay is lost
}

func (s *namingStorm) create(name string) {
	s.life[name]++
	s.values[name] = 0
	s.living[name] = s.kits[0].private(s.p, scope.Spec{Name: name, Event: fmt.Sprintf("%s.%d", name, s.life[name])})
}

func (s *namingStorm) put(name string) {
	s.values[name]++
	s.kits[0].put(s.living[name], fmt.Sprint(s.values[name]))
}

// connect has the page begin anew with what it is told, from where its tab is.
func (s *namingStorm) connect(node int) {
	s.page.log = append(s.page.log, fmt.Sprint("on node ", node))
	s.on(s.tb, node)
	clear(s.page.named)
}

// listen has the page hear what there is, or, cut, some bytes of it.
func (s *namingStorm) listen(cut bool) error {
	synctest.Wait()
	wire := s.tb.bytes()
	if cut {
		wire = wire[:s.random.IntN(len(wire)+1)]
		s.tb.cut()
	}
	return s.page.hear(s.tb.take(wire))
}

// step is one thing that happens to one channel or to the tab.
func (s *namingStorm) step() error {
	name := []string{"a", "b"}[s.random.IntN(2)]
	there, connected := s.living[name] != nil, s.tb.stream != nil
	switch op := s.random.IntN(14); {
	case op < 3 && there:
		s.put(name)
	case op < 5 && there:
		s.living[name].Close()
		s.living[name] = nil
	case op < 8 && !there:
		s.create(name)
	case op < 10:
		return s.register(name)
	case op == 10 && connected:
		return s.listen(true)
	case op == 11:
		s.connect(s.random.IntN(3))
	case connected:
		return s.listen(false)
	}
	return nil
}

// register may find nobody of the name.
func (s *namingStorm) register(name string) error {
	_, err := s.tb.command("register", name)
	if err != nil && s.living[name] != nil {
		return fmt.Errorf("register %s: %w", name, err)
	}
	return nil
}

// calm has all that lives be heard of: another value of each comes.
func (s *namingStorm) calm() error {
	s.faulty.Store(false)
	for name, h := range s.living {
		if h == nil {
			continue
		}
		s.put(name)
		if err := s.register(name); err != nil {
			return err
		}
	}
	s.connect(s.random.IntN(3))
	for range 10 {
		if err := s.listen(false); err != nil {
			return err
		}
		time.Sleep(hold)
	}
	for name, h := range s.living {
		if h != nil && (s.page.life[name] != s.life[name] || s.page.last[name] != s.values[name]) {
			return fmt.Errorf("heard %d of %s.%d, want %d of %s.%d",
				s.page.last[name], name, s.page.life[name], s.values[name], name, s.life[name])
		}
	}
	return nil
}

// TestNamingStorm proves rule 15 in every order: whatever comes of a channel comes after
// the hello that names it and after the end of the one that had its name, once, and its
// newest value at last: over cuts at any byte, moves between nodes and lost answers.
func TestNamingStorm(t *testing.T) {
	for _, seed := range seeds(t, 500) {
		synctest.Test(t, func(t *testing.T) {
			s := &namingStorm{
				nodes: newNodes(t, 3), random: rand.New(rand.NewPCG(seed, 0)), life: map[string]int{}, values: map[string]int{},
				living: map[string]*scope.Handle{}, page: &listener{named: map[string]string{}, life: map[string]int{}, last: map[string]int{}},
			}
			s.p = s.kits[0].process("s")
			s.tb = newTab(t, s.kits[0].site, "s", s.p)
			s.faulty.Store(s.random.IntN(2) == 0)
			for i, v := range s.views {
				random := rand.New(rand.NewPCG(seed, uint64(i+1)))
				v.set(func(v *view) {
					v.faults = locked(func(request []byte) (lose, late chan error) {
						if s.faulty.Load() && request[0] == scope.AskNext && random.IntN(6) == 0 {
							return make(chan error), nil
						}
						return nil, nil
					})
				})
			}
			s.connect(s.random.IntN(3))
			var err error
			for range 80 {
				if err = s.step(); err != nil {
					break
				}
				if s.random.IntN(10) == 0 {
					time.Sleep(time.Duration(s.random.IntN(5000)) * time.Millisecond)
				}
			}
			if err == nil {
				err = s.calm()
			}
			if err != nil {
				t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(s.page.log, "\n"))
			}
		})
		if t.Failed() {
			return
		}
	}
}
