// Package child is the server as a process of its own, which may be killed, stopped and
// started again at the same address. It is this very program: main calls Main first.
package child

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const variable = "COMET_SOAK_SERVER"

// Main serves, if the process is a server, and does not return then. serve calls ready
// with its address.
func Main(serve func(config []byte, ready func(addr string)) error) {
	config := os.Getenv(variable)
	if config == "" {
		return
	}
	err := serve([]byte(config), func(addr string) { fmt.Println("ready", addr) })
	fmt.Fprintln(os.Stderr, "soak: the server ended:", err)
	os.Exit(1)
}

// A Server is one process. It ends with the program that started it, however that ends.
type Server struct {
	Addr string
	cmd  *exec.Cmd
	done chan struct{}
}

// starting: the kernel sends Pdeathsig when the thread that forked ends, so one thread
// that never ends forks all.
var starting = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts a server with a config, which becomes JSON, and waits until it serves.
func Start(config any, env ...string) (*Server, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &Server{cmd: exec.Command(self), done: make(chan struct{})}
	s.cmd.Env = append(append(os.Environ(), variable+"="+string(text)), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	starting() <- func() { started <- s.cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if addr, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- addr
			}
		}
		_ = s.cmd.Wait()
		close(s.done)
	}()
	select {
	case s.Addr = <-ready:
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("the server ended before it was ready: %v", s.cmd.ProcessState)
	case <-time.After(time.Minute):
		s.Kill()
		return nil, fmt.Errorf("the server is not ready after a minute")
	}
}

// Kill is SIGKILL; it waits until the process is gone.
func (s *Server) Kill() {
	select {
	case <-s.done: // and its id may be another's
	default:
		_ = s.cmd.Process.Kill()
	}
	<-s.done
}

// Stop is SIGSTOP, and Continue its end: to the server the clocks jump.
func (s *Server) Stop() error     { return s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *Server) Continue() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// Dump has the process write what all its goroutines are at, and end.
func (s *Server) Dump() error {
	err := s.cmd.Process.Signal(syscall.SIGQUIT)
	<-s.done
	return err
}

// Done is closed when the process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }
