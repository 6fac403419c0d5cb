package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet"
	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded"
	"github.com/ocsigo/comet/scope"
)

// nodeVariable makes of this program one of its nodes: its value is a nodeConfig.
const nodeVariable = "COMET_CLUSTER_NODE"

// A nodeConfig is what one node has to know.
type nodeConfig struct {
	Name     string
	Addr     string   // where its app listens
	Dir      string   // of its NATS server's files
	Routes   []string // of all NATS servers
	Route    string   // of its own
	Password string   // of the NATS servers, among each other
}

// shutdownWithin bounds how long a node hands over what waits in it, and stopWithin how long its server stops when the front
// has gone.
const (
	shutdownWithin = 10 * time.Second
	stopWithin     = 5 * time.Second
)

// runNode is a whole node: a NATS server, an engine on it, a Site on that and the app. SIGTERM shuts it down in that order
// backwards.
func runNode(text string) error {
	signal.Ignore(os.Interrupt) // the terminal sends it to all; the front sees to its nodes
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c nodeConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("%s: %w", nodeVariable, err)
	}
	gone := frontGone()
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(gone, cancel)
	server, err := embedded.Start(starting, embedded.Config{Name: c.Name, Dir: c.Dir, Cluster: &embedded.Cluster{
		Listen: c.Route, Routes: c.Routes, Password: c.Password,
	}})
	if gone.Err() != nil {
		leaveNothing(c.Dir)
		return nil
	}
	if err != nil {
		return err
	}
	defer server.Stop()
	context.AfterFunc(gone, func() {
		time.AfterFunc(stopWithin, func() { os.Exit(1) })
		server.Stop() // or it would go on writing files
		leaveNothing(c.Dir)
		os.Exit(0)
	})
	log, err := openEngine(ctx, server)
	if err != nil {
		return err
	}
	return errors.Join(serveNode(ctx, c, server, log), closeEngine(log))
}

// frontGone ends when the front has ended, however that came about: the standard input is a pipe from it that nothing is
// written to.
func frontGone() context.Context {
	gone, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return gone
}

// leaveNothing removes the files that a front which was killed has left behind: those of all nodes, for one may not run just
// now. The last one to stop finds nothing that is written to any more.
func leaveNothing(dir string) {
	_ = os.RemoveAll(filepath.Dir(dir))
}

// openEngine tries until there is an engine: servers that have just found each other may have no leader for each stream yet.
func openEngine(ctx context.Context, server *embedded.Server) (*nats.Engine, error) {
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		log, err := server.Engine(try)
		cancel()
		if err == nil || ctx.Err() != nil || !engine.Retryable(err) {
			return log, err
		}
	}
}

// openRoom tries again for the same reason.
func openRoom(ctx context.Context, site *scope.Site, name string) (*room, error) {
	for {
		r, err := newRoom(site, name)
		if err == nil || ctx.Err() != nil || !engine.Retryable(err) {
			return r, err
		}
	}
}

func closeEngine(log *nats.Engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownWithin)
	defer cancel()
	return log.Close(ctx)
}

// serveNode serves the app until ctx ends. The Site shuts down first: it hands its client processes over to another node and
// tells each tab to come back.
func serveNode(ctx context.Context, c nodeConfig, server *embedded.Server, log *nats.Engine) error {
	site := comet.NewSite(comet.SiteConfig{Engine: log})
	room, err := openRoom(ctx, site, c.Name)
	if err != nil {
		return err
	}
	app := room.app(comet.Config{Site: site, Storage: log.Storage("sessions"), Retry: retry})
	name := c.Name
	app.Get("/leads", func(c *fiber.Ctx) error { return c.JSON(leads(c.UserContext(), server, name)) })
	listener, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), shutdownWithin)
	defer cancel()
	return errors.Join(site.Shutdown(ending), app.ShutdownWithContext(ending), <-served)
}

// leads tells whether this node's server leads the stream that the chat's log is in. When such a server is killed, an
// election comes first: until it is over nobody can say anything.
func leads(ctx context.Context, server *embedded.Server, name string) bool {
	conn, err := server.Connect()
	if err != nil {
		return false
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, chatStream)
	if err != nil {
		return false
	}
	cluster := stream.CachedInfo().Cluster
	return cluster != nil && cluster.Leader == name
}
