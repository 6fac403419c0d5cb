package redistest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Patience bounds every wait for a server; it only guards against hanging.
const Patience = time.Minute

// A Server is one redis-server. Its methods fail the test when they cannot do what
// they are asked.
type Server struct {
	Addr string // host:port
	Dir  string // where it works, which outlives its ends

	tb   testing.TB
	file string   // its configuration, or ""
	args []string // the last of its options

	mu  sync.Mutex
	cmd *exec.Cmd
	log bytes.Buffer
	end chan struct{} // closed when the process is over
}

// Program returns the path of a program of Redis, or skips the test.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("COMET_REDIS") == "required" {
		tb.Fatalf("COMET_REDIS=required, but %s is not installed: on Debian, apt-get install redis-server", name)
	}
	tb.Skipf("%s is not installed: on Debian, apt-get install redis-server", name)
	return ""
}

// Start starts a server that keeps nothing on disk. args are more of its options, as
// "--appendonly", "yes".
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	Program(tb, "redis-server")
	s := newServer(tb)
	s.args = append([]string{
		"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes",
	}, args...)
	s.Restart()
	tb.Cleanup(s.Kill)
	return s
}

func newServer(tb testing.TB) *Server {
	return &Server{Addr: "127.0.0.1:" + strconv.Itoa(freePort(tb)), Dir: tb.TempDir(), tb: tb}
}

// StartReplica starts a server that copies primary, and waits until it does.
func StartReplica(tb testing.TB, primary *Server, args ...string) *Server {
	tb.Helper()
	host, port, _ := net.SplitHostPort(primary.Addr)
	s := Start(tb, append([]string{"--replicaof", host + " " + port}, args...)...)
	c := s.Client()
	s.until("the link to the primary is up", func() bool {
		text, err := c.Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(text, "master_link_status:up")
	})
	return s
}

// ports were given away already.
var ports sync.Map

func freePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		// A node of a cluster listens on the port 10000 above, too. Both are below those that systems give to whoever asks for any.
		port := 10000 + rand.IntN(10000)
		if _, taken := ports.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatal("none of 1000 ports is free")
	return 0
}

// Restart starts a server that has ended, on its address and in its directory.
func (s *Server) Restart() {
	s.tb.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", s.Dir, "--daemonize", "no"}, s.args...)
	if s.file != "" {
		args = append([]string{s.file}, args...)
	}
	s.mu.Lock()
	cmd := exec.Command(Program(s.tb, "redis-server"), args...)
	s.log.Reset()
	cmd.Stdout = &s.log
	dieWithParent(cmd)
	started, end := make(chan error), make(chan struct{})
	go func() {
		// The system tells the child of the end of the thread that made it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(end)
		}
	}()
	if err := <-started; err != nil {
		s.mu.Unlock()
		s.tb.Fatal(err)
	}
	s.cmd, s.end = cmd, end
	s.mu.Unlock()
	c := s.Client()
	s.until("the server answers", func() bool {
		select {
		case <-end:
			s.tb.Fatalf("redis-server ended:\n%s", s.log.String())
		default:
		}
		return c.Ping(context.Background()).Err() == nil
	})
}

func (s *Server) until(what string, true func() bool) {
	s.tb.Helper()
	Until(s.tb, what, true)
}

// Until waits until something is true.
func Until(tb testing.TB, what string, true func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(Patience); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Kill ends the server as kill -9 does, and waits for its end.
func (s *Server) Kill() { s.stop(os.Kill) }

// Terminate ends the server as a system that shuts down does: it saves what it may.
func (s *Server) Terminate() { s.stop(terminate) }

func (s *Server) stop(signal os.Signal) {
	s.mu.Lock()
	cmd, end := s.cmd, s.end
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	resume(cmd.Process) // a paused one hears no other signal
	_ = cmd.Process.Signal(signal)
	<-end
}

// Pause stops the server where it stands: its connections stay open and are not
// served. Resume lets it go on.
func (s *Server) Pause()  { pause(s.process()) }
func (s *Server) Resume() { resume(s.process()) }

func (s *Server) process() *os.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.tb.Fatal("the server does not run")
	}
	return s.cmd.Process
}

// Promote makes a primary of a replica.
func (s *Server) Promote() {
	s.tb.Helper()
	if err := s.Client().ReplicaOf(context.Background(), "NO", "ONE").Err(); err != nil {
		s.tb.Fatal(err)
	}
}

// Client returns a client of the server, which is closed at the end of the test.
func (s *Server) Client(change ...func(*goredis.Options)) *goredis.Client {
	o := &goredis.Options{Addr: s.Addr}
	for _, f := range change {
		f(o)
	}
	c := goredis.NewClient(o)
	s.tb.Cleanup(func() { _ = c.Close() })
	return c
}
