//go:build linux

// Command soak runs thousands of tabs of every kind against a server that is killed,
// stopped and started again, through cuts, stalls, half-open peers, duplicated tabs and
// lost sessions, and holds every event that any tab hears against the rules. It ends with
// the first rules that were broken, what happened before, and the seed; and it fails where
// memory, goroutines or descriptors of the server do not stay flat, or are not given back.
//
//	go run ./soak -tabs 2000 -for 30m -seed 7
//
// Everything is on loopback. Linux only.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"

	"github.com/ocsigo/comet/soak/internal/app"
	"github.com/ocsigo/comet/soak/internal/child"
)

func main() {
	child.Main(app.Serve)
	var c config
	flag.IntVar(&c.tabs, "tabs", 2000, "how many tabs")
	flag.DurationVar(&c.lasts, "for", 5*time.Minute, "how long things happen")
	flag.Uint64Var(&c.seed, "seed", rand.Uint64N(1e9), "of everything that is chosen by chance")
	flag.BoolVar(&c.quiet, "quiet", false, "no restarts and no stops of the server")
	flag.Parse()
	c.say = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintf(os.Stderr, "\nFAILED, seed %d:\n%v\n", c.seed, err)
		os.Exit(1)
	}
}
