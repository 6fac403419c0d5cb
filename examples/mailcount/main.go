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
	every := flag.Duration("every", 2*time.Second, "a mail arrives this often; 0 for none")
	flag.Parse()
	if err := run(*addr, *every); err != nil {
		fmt.Fprintln(os.Stderr, "mailcount:", err)
		os.Exit(1)
	}
}

// run serves the mailbox until a signal asks it to end. Comet goes first: its event streams are connections that Fiber has
// handed over and knows nothing of. Shutdown tells each tab when to come back; cut by the end of the program instead, all
// of them would come back at once.
func run(addr string, every time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := newOffice()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("mailcount: open http://%s\n", listener.Addr())

	app, served := o.app(), make(chan error, 1)
	go o.receive(ctx, every)
	go func() { served <- app.Listener(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(o.site.Shutdown(ending), app.ShutdownWithContext(ending), <-served)
}
