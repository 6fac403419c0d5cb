//go:build unix

package natstest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ocsigo/comet/engine/nats"
	"github.com/ocsigo/comet/engine/nats/embedded"
)

// childConfig is the environment variable that makes a test program a server.
const childConfig = "COMET_NATSTEST_CHILD"

// Main is to be called first in the TestMain of a package that uses Processes,
// whose servers are the test program itself started again:
//
//	func TestMain(m *testing.M) {
//		natstest.Main()
//		leak.Main(m)
//	}
//
// In the test's own process it returns at once. In a server's it never does: it
// runs the server until SIGTERM, which stops it in an orderly way, or until the
// test's process ends.
func Main() {
	text := os.Getenv(childConfig)
	if text == "" {
		return
	}
	if err := serve(text); err != nil {
		fmt.Fprintln(os.Stderr, "natstest:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(text string) error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	var c embedded.Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	var s *embedded.Server
	go func() {
		var err error
		s, err = embedded.Start(ctx, c)
		started <- err
	}()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case <-terminated:
		cancel()
		<-started
		return nil
	}
	fmt.Println("ready")
	<-terminated
	s.Stop()
	return nil
}

// Processes is a cluster of servers, each a process of its own.
type Processes struct {
	t       testing.TB
	configs []embedded.Config
	mu      sync.Mutex
	running []*process
}

type process struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when it said so
	ended chan struct{} // closed when it has ended
}

// Start starts a cluster of n servers, 3 or 5, and waits until all can store.
func Start(t testing.TB, n int) *Processes {
	t.Helper()
	return StartConfigs(t, Configs(t, n))
}

// StartConfigs is Start with servers that somebody else configured: on addresses
// in other network namespaces, say.
func StartConfigs(t testing.TB, configs []embedded.Config) *Processes {
	t.Helper()
	p := &Processes{t: t, configs: configs, running: make([]*process, len(configs))}
	t.Cleanup(p.end)
	for i := range configs {
		p.Restart(i)
	}
	for i := range configs {
		p.Ready(i)
	}
	return p
}

// URL is where clients of server i connect.
func (p *Processes) URL(i int) string { return "nats://" + p.configs[i].Listen }

// Open returns an engine that is a client of server i alone, as an app is that has
// it embedded. It is closed with the test. Replicas 0 means all servers.
func (p *Processes) Open(i int, c nats.Config) *nats.Engine {
	p.t.Helper()
	if c.Replicas == 0 {
		c.Replicas = len(p.configs)
	}
	return Open(p.t, p.URL(i), c)
}

// PID is that of server i while it runs.
func (p *Processes) PID(i int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[i].cmd.Process.Pid
}

// Restart starts server i, which does not run, with the files that it has.
func (p *Processes) Restart(i int) {
	p.t.Helper()
	text, err := json.Marshal(p.configs[i])
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attributes()
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	c := &process{cmd: cmd, ready: make(chan struct{}), ended: make(chan struct{})}
	p.mu.Lock()
	p.running[i] = c
	p.mu.Unlock()
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" {
				close(c.ready)
			}
		}
		cmd.Wait() // how it ended is what the test did to it
		close(c.ended)
	}()
}

// Ready waits until server i can store.
func (p *Processes) Ready(i int) {
	p.t.Helper()
	p.mu.Lock()
	c := p.running[i]
	p.mu.Unlock()
	select {
	case <-c.ready:
	case <-c.ended:
		p.t.Fatalf("server %d ended before it was ready", i)
	case <-time.After(Patience):
		p.t.Fatalf("server %d is not ready after %v", i, Patience)
	}
}

// Kill ends server i as a crash does, SIGKILL, and waits for its end.
func (p *Processes) Kill(i int) { p.signal(i, syscall.SIGKILL, true) }

// Terminate asks server i to stop, and waits for its end.
func (p *Processes) Terminate(i int) { p.signal(i, syscall.SIGTERM, true) }

// Pause stops server i in the middle of what it does, SIGSTOP; Resume lets it go
// on.
func (p *Processes) Pause(i int)  { p.signal(i, syscall.SIGSTOP, false) }
func (p *Processes) Resume(i int) { p.signal(i, syscall.SIGCONT, false) }

func (p *Processes) signal(i int, s os.Signal, wait bool) {
	p.t.Helper()
	p.mu.Lock()
	c := p.running[i]
	p.mu.Unlock()
	if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("server %d: %v", i, err)
	}
	if !wait {
		return
	}
	select {
	case <-c.ended:
	case <-time.After(Patience):
		p.t.Fatalf("server %d has not ended %v after %v", i, Patience, s)
	}
}

// end kills what still runs, stopped or not.
func (p *Processes) end() {
	for _, c := range p.running {
		if c != nil {
			c.cmd.Process.Kill() // one that has ended is no error
			<-c.ended
		}
	}
}

// Leader returns which server leads a stream, as server asked knows it; -1 while
// nobody does.
func (p *Processes) Leader(asked int, stream string) int {
	p.t.Helper()
	info := p.info(asked, stream)
	if info == nil || info.Cluster == nil {
		return -1
	}
	for i, c := range p.configs {
		if c.Name == info.Cluster.Leader {
			return i
		}
	}
	return -1
}

func (p *Processes) info(asked int, stream string) *jetstream.StreamInfo {
	p.t.Helper()
	conn, err := nats.Connect(p.URL(asked))
	if err != nil {
		return nil
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	return s.CachedInfo()
}

// Streams returns the names of the streams that server asked knows of.
func (p *Processes) Streams(asked int) []string {
	p.t.Helper()
	conn, err := nats.Connect(p.URL(asked))
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var names []string
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		if strings.HasPrefix(name, "COMET_") {
			names = append(names, name)
		}
	}
	if err := list.Err(); err != nil {
		p.t.Fatal(err)
	}
	return names
}
