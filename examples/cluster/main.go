package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if config, ok := os.LookupEnv(nodeVariable); ok {
		if err := runNode(config); err != nil {
			fmt.Fprintln(os.Stderr, "cluster: a node:", err)
			os.Exit(1)
		}
		return
	}
	addr := flag.String("addr", "127.0.0.1:3000", "`address` to listen on")
	again := flag.Duration("again", 8*time.Second, "how long a node that has ended stays away")
	flag.Parse()
	if err := run(*addr, *again); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run serves the front until a signal asks it to end. The nodes end with it, at once: what they keep is a demonstration's.
func run(addr string, again time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	cluster, err := startCluster(again)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer cluster.stop()
	fmt.Printf("cluster: open http://%s (three nodes are starting)\n", listener.Addr())

	server := &http.Server{Handler: newFront(cluster), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	if err := errors.Join(server.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
