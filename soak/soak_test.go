//go:build linux

package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocsigo/comet/soak/internal/app"
	"github.com/ocsigo/comet/soak/internal/child"
)

func TestMain(m *testing.M) {
	child.Main(app.Serve)
	os.Exit(m.Run())
}

// TestSoak is a short soak, for every run of the tests: some twenty seconds of everything,
// and the waiting that proves that all was given back. COMET_SEED repeats one.
func TestSoak(t *testing.T) {
	seed := uint64(time.Now().UnixNano() % 1e9)
	if text := os.Getenv("COMET_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), config{tabs: 100, lasts: 20 * time.Second, seed: seed, say: t.Logf}); err != nil {
		t.Fatalf("COMET_SEED=%d: %v", seed, err)
	}
}

// TestMutants proves that a soak fails where a server breaks a rule, and says which.
func TestMutants(t *testing.T) {
	for mutant, rule := range map[app.Mutant]string{app.Drops: "rule 1: ", app.Doubles: "rule 2: ", app.NoID: "rule 4: ",
		app.Mute: "rule 15: ", app.Ends: "rule 12: ", app.Refuses: "rule 12: "} {
		t.Run(string(mutant), func(t *testing.T) {
			err := run(t.Context(), config{tabs: 12, lasts: 12 * time.Second, seed: 1, quiet: true, mutant: mutant, say: t.Logf})
			if err == nil || !strings.Contains(err.Error(), rule) {
				t.Errorf("%sis broken, and the soak says: %v", rule, err)
			}
		})
	}
}

// TestFlat proves that rule 13's bounds take what the longest soak measured (seed 7, 2,000
// tabs, half an hour), and nothing like a leak: one thing of each kind for every tenth tab.
func TestFlat(t *testing.T) {
	base := app.Stats{Goroutines: 15, Descriptors: 12, Heap: 405 << 10}
	at60 := app.Stats{Goroutines: 2059, Descriptors: 2104, Heap: 28643 << 10, Processes: 2135}
	at98 := app.Stats{Goroutines: 1990, Descriptors: 2124, Heap: 29233 << 10, Processes: 1934}
	gone := app.Stats{Goroutines: 15, Descriptors: 12, Heap: 3968 << 10}
	if err := errors.Join(grown(at60, at98), kept(base, gone, 2000)); err != nil {
		t.Error(err)
	}
	leaks := map[string]func(*app.Stats, int){
		"goroutines":  func(s *app.Stats, n int) { s.Goroutines += n },
		"descriptors": func(s *app.Stats, n int) { s.Descriptors += n },
		"heap":        func(s *app.Stats, n int) { s.Heap += uint64(n) << 16 },
	}
	for what, leak := range leaks {
		late, over := at98, gone
		leak(&late, 53226/10) // of every page that there was
		leak(&over, 2000/10)
		for _, err := range []error{grown(at60, late), kept(base, over, 2000)} {
			if err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("%s leak, and the soak says: %v", what, err)
			}
		}
	}
	for what, one := range map[string]app.Stats{"processes": {Processes: 1}, "goroutines": {Goroutines: 16}, "descriptors": {Descriptors: 13}} {
		if err := kept(base, one, 2000); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("one is left of the %s, and the soak says: %v", what, err)
		}
	}
}
