package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// readWithin bounds how long a request takes to come. Without it the end of the program would wait for whoever is connected
// and has asked for nothing, which browsers are. No event stream is cut by it.
const readWithin = 5 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`address` to listen on")
	flag.Parse()
	if err := run(*addr); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// run serves the room until a signal asks it to end. Comet goes first: its event streams are connections that Fiber has
// handed over and knows nothing of. Shutdown tells each tab when to come back; cut by the end of the program instead, all
// of them would come back at once.
func run(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := newRoom()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("chat: open http://%s in two tabs\n", listener.Addr())

	app, served := r.app(), make(chan error, 1)
	go func() { served <- app.Listener(pluggable{listener}) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(r.site.Shutdown(ending), app.ShutdownWithContext(ending), <-served)
}
