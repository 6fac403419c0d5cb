// Package embedded runs a NATS server with JetStream in the app's own process, so
// that package nats needs nothing else installed: one process whose logs survive
// its restarts, or three processes (or five) that are a cluster.
//
//	server, err := embedded.Start(ctx, embedded.Config{Dir: "/var/lib/app/comet"})
//	log, err := server.Engine(ctx)
//	site := comet.NewSite(comet.SiteConfig{Engine: log})
//
// In a cluster every process has its own Name and Dir, and Routes to all of them:
//
//	embedded.Config{Name: "a", Dir: dir, Cluster: &embedded.Cluster{
//		Listen: "10.0.0.1:6222",
//		Routes: []string{"10.0.0.1:6222", "10.0.0.2:6222", "10.0.0.3:6222"},
//		Password: secret,
//	}}
//
// A majority of them has to run for anything to be stored. A process that is
// deployed anew is a server that restarts: deploy one at a time, and wait for the
// Health of its engine before the next. Names and directories stay; a server with a
// new Name is a new member, and the old one is still counted.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/nats"
)

// Config says what server to run. The zero Config is a server in memory that only
// this process can reach.
type Config struct {
	// Dir is where the streams' files are; one server has one for itself. Without
	// it they are in memory, and gone with the process.
	Dir string
	// Name is the server's among those of a cluster, which needs it, and always the
	// same for the same Dir.
	Name string
	// Listen is a host and port where NATS clients may connect: tools, other
	// programs. Port 0 is any free one. Empty: none, the app itself needs none.
	// Clients are not asked who they are, so it should be a loopback address. (In a
	// cluster the server has a port on loopback all the same, which takes nobody.)
	Listen string
	// Cluster makes the server one of several.
	Cluster *Cluster
	// SyncAlways has a file synced before what it holds is acknowledged. Without it
	// files are synced every two minutes: a process may die at any time without
	// loss, but a machine that loses power, or with a cluster a majority of machines
	// at once, may lose what was acknowledged since.
	SyncAlways bool
	// MaxPayload is the largest message in bytes. Default 1 MiB, at most 8 MiB. The
	// same on all servers of a cluster.
	MaxPayload int
}

// Cluster says how a server finds the others.
type Cluster struct {
	// Listen is the host and port for the other servers.
	Listen string
	// Routes are the Listen addresses of all servers, this one's own included.
	// Their number is the Replicas of Server.Engine.
	Routes []string
	// Password is what servers tell each other. Empty: anyone who reaches Listen
	// may join, so the network has to keep others out.
	Password string
}

// Server is one that runs in this process.
type Server struct {
	server   *server.Server
	replicas int
	memory   bool
	password string // that its own clients have, where there shall be no others
}

const (
	maxPayload = 8 << 20
	user       = "comet"
)

func (c Config) options() (*server.Options, error) {
	o := &server.Options{
		ServerName: c.Name,
		JetStream:  true,
		StoreDir:   c.Dir,
		NoSigs:     true,
		NoLog:      true,
		DontListen: c.Listen == "",
		MaxPayload: int32(c.MaxPayload),
		SyncAlways: c.SyncAlways,
	}
	if c.MaxPayload < 0 || c.MaxPayload > maxPayload {
		return nil, fmt.Errorf("embedded: MaxPayload %d, want 1 to %d, or 0 for 1 MiB", c.MaxPayload, maxPayload)
	}
	var err error
	if c.Listen != "" {
		if o.Host, o.Port, err = hostPort(c.Listen); err != nil {
			return nil, fmt.Errorf("embedded: Listen: %w", err)
		}
	}
	if c.Cluster == nil {
		return o, nil
	}
	if c.Name == "" || c.Dir == "" {
		return nil, errors.New("embedded: a server of a cluster needs a Name and a Dir, the same ones each time it starts")
	}
	if n := len(c.Cluster.Routes); n != 3 && n != 5 {
		return nil, fmt.Errorf("embedded: Cluster.Routes has %d addresses, want those of all 3 or 5 servers", n)
	}
	o.Cluster.Name = "comet"
	if o.Cluster.Host, o.Cluster.Port, err = hostPort(c.Cluster.Listen); err != nil || o.Cluster.Port < 1 {
		return nil, fmt.Errorf("embedded: Cluster.Listen %q, want a host and a port that the Routes name", c.Cluster.Listen)
	}
	var info *url.Userinfo
	if c.Cluster.Password != "" {
		o.Cluster.Username, o.Cluster.Password = user, c.Cluster.Password
		info = url.UserPassword(user, c.Cluster.Password)
	}
	for _, route := range c.Cluster.Routes {
		if _, _, err := hostPort(route); err != nil {
			return nil, fmt.Errorf("embedded: Cluster.Routes: %w", err)
		}
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", User: info, Host: route})
	}
	return o, nil
}

func hostPort(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q has no port number", address)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

// Start runs a server, and returns when it can store: in a cluster that is when a
// majority of the servers has started and agreed on a leader, which takes a second
// as a rule, and up to ten where their first votes are split. When ctx ends before,
// the server is stopped again.
func Start(ctx context.Context, c Config) (*Server, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	s := &Server{replicas: 1, memory: c.Dir == ""}
	if c.Cluster != nil {
		s.replicas = len(c.Cluster.Routes)
		if c.Listen == "" {
			s.password = listenForNobody(o)
		}
	}
	if s.memory { // the server itself wants a directory all the same
		if o.StoreDir, err = os.MkdirTemp("", "comet-nats-"); err != nil {
			return nil, fmt.Errorf("embedded: %w", err)
		}
		defer func() {
			if err != nil {
				os.RemoveAll(o.StoreDir)
			}
		}()
	}
	if s.server, err = server.NewServer(o); err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	s.server.Start()
	if err = s.ready(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("embedded: Start: %w", err)
	}
	return s, nil
}

// listenForNobody opens a port for clients that nobody has the password of: a
// server without one never begins to look for the other servers.
func listenForNobody(o *server.Options) (password string) {
	password = rand.Text()
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
	o.Username, o.Password = user, password
	o.Cluster.NoAdvertise = true
	return password
}

// ready waits until JetStream answers.
func (s *Server) ready(ctx context.Context) error {
	for !s.server.ReadyForConnections(50 * time.Millisecond) {
		if ctx.Err() != nil || !s.server.Running() {
			return fmt.Errorf("the server does not take connections (is its address free?): %w", ctx.Err())
		}
	}
	conn, err := s.Connect()
	for err != nil && ctx.Err() == nil { // a machine with too much to do
		conn, err = s.Connect()
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := js.AccountInfo(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: JetStream has no leader (do %d of the servers run?): %w", ctx.Err(), s.replicas/2+1, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connectTimeout is longer than that of a network: within a process a late answer
// only means that there is much to do.
const connectTimeout = 10 * time.Second

// Connect returns a connection to the server inside the process, which does not go
// through a socket. It ends with the server.
func (s *Server) Connect(options ...natsgo.Option) (*natsgo.Conn, error) {
	own := []natsgo.Option{natsgo.InProcessServer(s.server), natsgo.Timeout(connectTimeout)}
	if s.password != "" {
		own = append(own, natsgo.UserInfo(user, s.password))
	}
	return nats.Connect("", append(own, options...)...)
}

// URL is where NATS clients connect; "" where Config.Listen is.
func (s *Server) URL() string {
	if s.server.Addr() == nil || s.password != "" {
		return ""
	}
	return "nats://" + s.server.Addr().String()
}

// Engine returns a nats.Engine on the server, with as many Replicas as the cluster
// has servers, and in memory where there is no Dir, unless config says otherwise.
// It is closed before the server is stopped.
func (s *Server) Engine(ctx context.Context, config ...nats.Config) (*nats.Engine, error) {
	var c nats.Config
	if len(config) > 0 {
		c = config[0]
	}
	if c.Replicas == 0 {
		c.Replicas = s.replicas
	}
	c.Memory = c.Memory || s.memory
	conn, err := s.Connect()
	if err != nil {
		return nil, fmt.Errorf("embedded: %w: %w", engine.ErrUnavailable, err)
	}
	defer conn.Close()
	return nats.New(ctx, conn, c)
}

// Stop ends the server, and waits until it has ended. In a cluster it hands over
// what it leads first.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	if s.memory {
		os.RemoveAll(s.server.StoreDir())
	}
}
