package e2e

import (
	"errors"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// listenOn listens on an address that was reserved. A process that is being started has copies of this one's sockets until it is the
// program that it is to be: what was closed meanwhile listens on in it for some milliseconds, and the port is taken for so long.
func listenOn(t *testing.T, addr string) (listener net.Listener) {
	t.Helper()
	waitFor(t, "nobody listens on "+addr, func() bool {
		var err error
		listener, err = net.Listen("tcp", addr)
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		return err == nil
	})
	return listener
}

// While processes are started a port that was closed can be listened on again, each time.
func TestListenOn(t *testing.T) {
	addr := reserve(t)
	var starting sync.WaitGroup
	ended := make(chan struct{})
	for range 2 {
		starting.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					if err := exec.Command("true").Run(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 200 {
		listenOn(t, addr).Close()
	}
	close(ended)
	starting.Wait()
}
