// Command server is one of the servers that the benchmark measures, in a process
// of its own. The harness starts it; see package control for how they talk.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/ocsigo/comet/bench/internal/control"
)

// A target is one way to serve event streams.
type target interface {
	// start begins to serve, and says where.
	start() (control.Ready, error)
	// publish sends one value to those who hear a channel. It may keep data.
	publish(channel int, data []byte) error
}

// config is what a server is told.
type config struct {
	mode     string // site, many, process, tabs or private: see modes
	channels int    // that exist, whoever hears them
}

// modes say what an event stream hears.
const (
	modeSite    = "site"    // channel 0
	modeMany    = "many"    // all channels
	modeProcess = "process" // channel 0, and a client process; 50 of them a session
	modeTabs    = "tabs"    // channel 0, and a client process; a session each
	modePrivate = "private" // a channel of its own, which nobody else hears
)

// keepAlive is how often servers write to silent streams, where they do: so
// seldom that none does while it is measured, yet what it costs to be ready for it
// is in the figures.
const keepAlive = 10 * time.Minute

// history is how many values servers keep for those who come back, where they do.
const history = 1000

var kinds = map[string]func(config) (target, error){
	"comet":      newComet,
	"floor":      newFloor,
	"fiberv2":    newFiberV2,
	"fiberv3":    newFiberV3,
	"gosse":      newGoSSE,
	"r3labs":     newR3Labs,
	"centrifuge": newCentrifuge,
}

func main() {
	kind := flag.String("kind", "comet", "which server: "+strings.Join(names(), ", "))
	var c config
	flag.StringVar(&c.mode, "mode", modeSite, "what an event stream hears: site, many, process, tabs, private")
	flag.IntVar(&c.channels, "channels", 1, "how many channels there are")
	flag.Parse()
	if err := run(*kind, c); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(kind string, c config) error {
	make, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("no kind %q; there are %s", kind, strings.Join(names(), ", "))
	}
	t, err := make(c)
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	ready, err := t.start()
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	p := publisher{target: t, seqs: map[int]int64{}}
	return control.Serve(os.Stdin, os.Stdout, p.answer)
}

// listen serves on a port of its own until the process ends.
func listen(serve func(net.Listener) error) (addr string, err error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		err := serve(ln)
		fmt.Fprintln(os.Stderr, "server: serving ended:", err)
		os.Exit(1)
	}()
	return ln.Addr().String(), nil
}

// path is the address of an event stream where the query says what it hears.
func path(mode string) string {
	if mode == modePrivate {
		return "/stream?ch=%d"
	}
	return "/stream?ch=0"
}

// errMode refuses a mode that a library has no notion of.
func errMode(mode string) error { return fmt.Errorf("it has no mode %q", mode) }
