// Package proc runs parts of a test as processes of their own, which may be killed,
// stopped and started again. A process is this very program under another role: a
// program that has roles calls Main first.
package proc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Role is what a process does: it serves until it is told to end, and calls ready
// with what others have to know of it, once it serves.
type Role func(config []byte, ready func(string), end <-chan os.Signal) error

const variable = "COMET_FAULTS_ROLE"

// Main runs the role that the environment names, and does not return then.
func Main(roles map[string]Role) {
	name, config, ok := strings.Cut(os.Getenv(variable), " ")
	if !ok {
		return
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	err := roles[name]([]byte(config), func(said string) { fmt.Printf("ready %s\n", said) }, end)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A Process is one that was started. It ends with the test, and with the program that
// started it however that ends.
type Process struct {
	Said string // by ready
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error
}

// Start starts this program as a role. config becomes JSON. netns, where it is not
// empty, is the network namespace in which the process lives. Start returns when it is
// ready.
func Start(t testing.TB, role string, config any, netns string) *Process {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{name: role, done: make(chan struct{}), cmd: exec.Command(self)}
	if netns != "" {
		p.cmd = exec.Command("ip", "netns", "exec", netns, self) // which becomes self: exec keeps the process
	}
	p.cmd.Env = append(os.Environ(), variable+"="+role+" "+string(text))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start(p.cmd); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	go p.watch(out, lines)
	t.Cleanup(p.Kill)
	select {
	case p.Said = <-lines:
	case <-p.done:
		t.Fatalf("the process %s ended before it was ready: %v", role, p.err)
	case <-time.After(time.Minute):
		t.Fatalf("the process %s is not ready after a minute", role)
	}
	return p
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

func start(cmd *exec.Cmd) error {
	started := make(chan error)
	starting() <- func() { started <- cmd.Start() }
	return <-started
}

func (p *Process) watch(out io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if said, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			select {
			case ready <- said:
			default: // those that it started say so, too
			}
		}
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

// Kill is SIGKILL, to the process and those that it started; it waits until it is gone.
func (p *Process) Kill() {
	select {
	case <-p.done: // and its id may be another's
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	<-p.done
}

// Stop is SIGSTOP, and Continue its end.
func (p *Process) Stop() error     { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *Process) Continue() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// End is SIGTERM; it waits until the process has ended, and returns how.
func (p *Process) End(within time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		return fmt.Errorf("proc: %s still runs %v after SIGTERM", p.name, within)
	}
}

// PID is the process's.
func (p *Process) PID() int { return p.cmd.Process.Pid }
