//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ocsigo/comet/soak/internal/app"
	"github.com/ocsigo/comet/soak/internal/oracle"
	"github.com/ocsigo/comet/soak/internal/tab"
)

// config is what the command is told.
type config struct {
	tabs  int
	lasts time.Duration
	seed  uint64
	quiet bool
	// mutant has the server misbehave, and the first broken rule ends the soak: a proof that
	// soaks fail.
	mutant app.Mutant
	say    func(format string, args ...any)
}

// returnWithin is how long a process lives that is away: short, so that its end comes
// often, and soon after the last tab.
const returnWithin = 20 * time.Second

// patience is how long a server that lives may be silent on a machine that is busy.
const patience = 45 * time.Second

// enough is how many broken rules are told.
const enough = 5

// A soak is one run.
type soak struct {
	config
	host   *host
	world  *tab.World
	random *rand.Rand

	mu     sync.Mutex
	broken []error
	failed context.CancelFunc
}

// run is one soak. The error says which rules were broken, or what is not flat.
func run(ctx context.Context, c config) error {
	dir, err := os.MkdirTemp("", "comet-soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, failed := context.WithCancel(ctx)
	defer failed()
	s := &soak{config: c, random: rand.New(rand.NewPCG(c.seed, 0)), failed: failed}
	s.host = &host{config: app.Config{
		Sessions: filepath.Join(dir, "sessions"), Seed: c.seed, Return: returnWithin,
		Queues: 20, Newest: 5, Mortal: 5, Every: s.pace(), Mine: 2 * s.pace(), Mutant: c.mutant,
	}, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	if s.host.config.Addr, err = freeAddr(); err != nil {
		return err
	}
	c.say("seed %d: %d tabs for %v, a value of each channel every %v", c.seed, c.tabs, c.lasts, s.pace())
	if err := s.host.start(); err != nil {
		return err
	}
	defer s.host.kill()
	s.world = &tab.World{
		Addr: func() string { return s.host.config.Addr }, Client: s.host.client, Lives: &oracle.Lives{}, Disturbed: s.host.disturbed,
		Calm: make(chan struct{}), Broken: s.breaks, Patience: patience, Queues: 20, News: 5, Mortal: 5,
	}
	if c.mutant == app.Mute { // a test cannot wait for more
		s.world.Patience = 5 * time.Second
	}
	err = s.soak(ctx)
	s.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(append(s.broken, err)...)
}

// pace is one value of each channel: a thousand tabs hear of some 2 channels each, so
// that two cores, which have to carry both sides, have room.
func (s *soak) pace() time.Duration {
	return max(500*time.Millisecond, time.Duration(s.tabs)*2*time.Millisecond)
}

// breaks takes a rule that was broken.
func (s *soak) breaks(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.broken) < enough {
		s.broken = append(s.broken, err)
		s.say("BROKEN: %v", err)
	}
	if len(s.broken) == enough || s.mutant != "" {
		s.failed()
	}
}

func (s *soak) soak(ctx context.Context) error {
	base, err := s.host.stats()
	if err != nil {
		return err
	}
	s.measured("at rest", base)
	var tabs sync.WaitGroup
	ramp := min(s.lasts/6, 30*time.Second)
	for i := range s.tabs {
		t := &tab.Tab{World: s.world, Number: i, Random: rand.New(rand.NewPCG(s.seed, uint64(i)+1000))}
		tabs.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(ramp * time.Duration(i) / time.Duration(s.tabs)):
				t.Run(ctx)
			}
		})
	}
	flat, err := s.happen(ctx)
	if err == nil && ctx.Err() == nil {
		err = s.calm()
	}
	tabs.Wait()
	if err != nil || ctx.Err() != nil {
		return err
	}
	return errors.Join(flat, s.rest(ctx, base))
}

// happen has things happen to the server for as long as the soak lasts: it is killed in
// the first half, and stopped until near the end. flat says what grew meanwhile.
func (s *soak) happen(ctx context.Context) (flat, err error) {
	begun := time.Now()
	after := func(part float64) time.Time { return begun.Add(time.Duration(float64(s.lasts) * part)) }
	wait := func(at time.Time) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Until(at)):
			return true
		}
	}
	every := max(s.lasts/12, 8*time.Second)
	for ctx.Err() == nil && !s.quiet {
		at := time.Now().Add(every/2 + time.Duration(s.random.Int64N(int64(every))))
		if at.After(after(0.5)) {
			break
		}
		if !wait(at) {
			return nil, nil
		}
		if s.random.IntN(2) == 0 {
			err = s.host.restart(s.random.IntN(2) == 0)
		} else {
			err = s.host.pause(time.Duration(500+s.random.IntN(6000)) * time.Millisecond)
		}
		if err != nil {
			return nil, err
		}
	}
	var first, last app.Stats
	for i, part := range []float64{0.6, 0.8, 0.98} {
		if !wait(after(part)) {
			return nil, nil
		}
		if last, err = s.host.stats(); err != nil {
			return nil, err
		}
		s.measured(fmt.Sprintf("at %.0f %% of the time", 100*part), last)
		if i == 0 {
			first = last
		}
		if i < 2 && !s.quiet && wait(after(part+0.02)) {
			if err := s.host.pause(time.Duration(500+s.random.IntN(3000)) * time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
	return grown(first, last), nil
}

// grown says what is not flat while the tabs are there.
func grown(a, b app.Stats) error {
	switch {
	case b.Heap > a.Heap*5/4+16<<20:
		return fmt.Errorf("rule 13: the heap grew from %d to %d KiB", a.Heap>>10, b.Heap>>10)
	case b.Goroutines > a.Goroutines*3/2+200:
		return fmt.Errorf("rule 13: the goroutines grew from %d to %d", a.Goroutines, b.Goroutines)
	case b.Descriptors > a.Descriptors*3/2+200:
		return fmt.Errorf("rule 13: the descriptors grew from %d to %d", a.Descriptors, b.Descriptors)
	}
	return nil
}

// calm has nothing more happen; every tab is to hear what it has not yet.
func (s *soak) calm() (err error) {
	if s.world.Newest, err = s.host.newest(); err == nil {
		close(s.world.Calm)
	}
	return err
}

// rest waits until the server has given back all that the tabs cost.
func (s *soak) rest(ctx context.Context, base app.Stats) (err error) {
	for deadline := time.Now().Add(returnWithin + time.Minute); ; {
		now, problem := s.host.stats()
		if problem != nil {
			return problem
		}
		if err = kept(base, now, s.tabs); err == nil {
			s.measured("with all tabs gone", now)
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			s.measured("with all tabs gone", now)
			return err
		}
		time.Sleep(2 * time.Second)
	}
}

// kept says what was not given back when all tabs were gone.
func kept(base, now app.Stats, tabs int) error {
	switch {
	case now.Goroutines > base.Goroutines:
		return fmt.Errorf("rule 13: %d goroutines, and %d before there was a tab", now.Goroutines, base.Goroutines)
	case now.Descriptors > base.Descriptors:
		return fmt.Errorf("rule 13: %d descriptors, and %d before there was a tab", now.Descriptors, base.Descriptors)
	case now.Processes > 0:
		return fmt.Errorf("rule 13: %d client processes are left", now.Processes)
	case now.Heap > base.Heap+8<<20+uint64(tabs)<<10:
		return fmt.Errorf("rule 13: a heap of %d KiB, and %d KiB before there was a tab", now.Heap>>10, base.Heap>>10)
	}
	return nil
}

func (s *soak) measured(when string, m app.Stats) {
	s.say("%-24s %6d goroutines %6d descriptors %7d KiB heap %6d processes; storage asked %d times, failed %d",
		when, m.Goroutines, m.Descriptors, m.Heap>>10, m.Processes, m.Storage, m.Failed)
}

func (s *soak) tell() {
	c := &s.world.Counts
	s.say("heard: %d values, %d holes that were told, %d ends, %d gone, %d superseded, on %d event streams of %d pages; 204: %d",
		c.Values.Load(), c.Holes.Load(), c.Ends.Load(), c.Gone.Load(), c.Superseded.Load(), c.Streams.Load(), c.Pages.Load(), c.Over.Load())
	s.say("happened: %d cut, %d reset, %d stalled, %d half open, %d duplicated, %d cookies lost, %d logouts, %d bursts, %d restarts, %d stops",
		c.Cut.Load(), c.Reset.Load(), c.Stalled.Load(), c.HalfOpen.Load(), c.Duplicated.Load(), c.Lost.Load(), c.Logouts.Load(), c.Burst.Load(),
		s.host.restarts, s.host.stops)
	s.say("commands: %d, %d refused; %d requests without an answer", c.Commands.Load(), c.Refused.Load(), c.Failed.Load())
}
