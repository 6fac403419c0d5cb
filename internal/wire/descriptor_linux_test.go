package wire

import (
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPair gives two connected sockets; ours is what a server would have.
func socketPair(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return s.(*net.UnixConn), c.(*net.UnixConn)
}

// still makes a stream whose news are recorded, and that no worker ever holds.
func still(t testing.TB, c syscall.Conn) *taken {
	t.Helper()
	s := &taken{src: new(guard)}
	s.state.Store(scheduled)
	if err := s.sock.open(c, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.sock.close)
	return s
}

// inode tells which socket a number stands for; 0: none.
func inode(number int32) uint64 {
	var st unix.Stat_t
	if unix.Fstat(int(number), &st) != nil {
		return 0
	}
	return st.Ino
}

// A number that is in use is not given back when its descriptor is closed; it is
// when the last use is over, and no use begins after close.
func TestCloseWaitsForUse(t *testing.T) {
	ours, _ := socketPair(t)
	d := &still(t, ours).sock
	socket := inode(d.number)
	if socket == 0 || !d.use() || !d.use() {
		t.Fatal("the descriptor is not open")
	}
	d.close()
	d.close()
	if d.use() {
		t.Error("a use began after close")
	}
	for range 2 {
		if inode(d.number) != socket {
			t.Error("the number was given back while in use")
		}
		d.done()
	}
	if inode(d.number) == socket {
		t.Error("the number was not given back")
	}
}

// What is not open does nothing: neither the zero value, whose number is that of
// the standard input, nor what was closed.
func TestClosedDescriptor(t *testing.T) {
	ours, _ := socketPair(t)
	closed := still(t, ours)
	closed.sock.close()
	stdin := inode(0)
	for name, d := range map[string]*descriptor{"zero": {}, "closed": &closed.sock} {
		_, sent := d.send([]byte("x"))
		_, received := d.receive(make([]byte, 1))
		for call, err := range map[string]error{
			"send": sent, "receive": received, "shutdown": d.shutdown(),
			"failure": d.failure(), "watchWritable": d.watchWritable(),
		} {
			if err != errClosed {
				t.Errorf("%s: %s: %v", name, call, err)
			}
		}
		d.close()
	}
	if inode(0) != stdin {
		t.Error("the standard input was closed")
	}
}

// Uses and a close at any moment, while other goroutines take every number that
// comes free: within a use the number is always our socket, and never after.
func TestDescriptorUnderReuse(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	stop := make(chan struct{})
	var takers, users sync.WaitGroup
	for range 2 {
		takers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if number, err := unix.Eventfd(0, unix.EFD_CLOEXEC); err == nil {
					_ = unix.Close(number)
				}
			}
		})
	}
	var uses, foreign atomic.Int32
	for range 300 {
		ours, theirs := socketPair(t)
		d := &still(t, ours).sock
		ours.Close()
		socket := inode(d.number)
		closeAt := int32(random.IntN(200))
		var n atomic.Int32
		for range 4 {
			users.Go(func() {
				for d.use() {
					if inode(d.number) != socket {
						foreign.Add(1)
					}
					uses.Add(1)
					if n.Add(1) == closeAt {
						d.close()
					}
					d.done()
				}
			})
			if closeAt == 0 {
				d.close()
			}
		}
		users.Wait()
		theirs.Close()
	}
	close(stop)
	takers.Wait()
	if foreign.Load() > 0 {
		t.Errorf("%d of %d uses were of another's descriptor", foreign.Load(), uses.Load())
	}
}

// An event of a closed descriptor that comes late, when the number is another
// stream's, is told to nobody.
func TestLateEvent(t *testing.T) {
	ours, _ := socketPair(t)
	keep := still(t, ours) // or the poller would change
	first := still(t, ours)
	p, number, generation := first.sock.set, first.sock.number, first.sock.generation
	late := unix.EpollEvent{Events: unix.EPOLLRDHUP, Fd: number, Pad: int32(generation)}
	first.sock.close()
	p.tell(&late, nil)
	second := still(t, ours)
	if second.sock.number != number || second.sock.set != p {
		t.Fatalf("the number was not reused: %d, then %d", number, second.sock.number)
	}
	p.tell(&late, nil)
	for _, s := range []*taken{keep, first, second} {
		if got := s.state.Load(); got != scheduled {
			t.Errorf("state %b: a late event was told", got)
		}
	}
	late.Pad = int32(second.sock.generation)
	p.tell(&late, nil)
	if got := second.state.Load(); got != scheduled|left {
		t.Errorf("state %b: its own event was not told", got)
	}
}

// While the server's copy of the socket is open, the registration of a closed
// descriptor would live on: it goes with the number and the socket, and both are
// there again.
func TestClosedIsNotWatched(t *testing.T) {
	ours, _ := socketPair(t)
	keep := still(t, ours)
	s := still(t, ours)
	s.sock.close()
	number, err := duplicate(ours)
	if err != nil || number != int(s.sock.number) {
		t.Fatalf("the number was not reused: %d, then %d, %v", s.sock.number, number, err)
	}
	defer unix.Close(number)
	if err := unix.EpollCtl(keep.sock.set.epoll, unix.EPOLL_CTL_MOD, number, &unix.EpollEvent{}); err != unix.ENOENT {
		t.Errorf("the closed descriptor is still registered: %v", err)
	}
}

// Streams come and go on all sides; there is a poller exactly while there are
// streams, and the streams of a time have the same.
func TestPollersComeAndGo(t *testing.T) {
	untilNoStreams(t)
	ours, _ := socketPair(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				a, b := still(t, ours), still(t, ours)
				if a.sock.set != b.sock.set {
					t.Error("two pollers at a time")
				}
				for _, s := range []*taken{a, b} {
					if s.sock.set.find(s.sock.number, s.sock.generation) != s {
						t.Error("an open descriptor's events would be lost")
					}
				}
				a.sock.close()
				b.sock.close()
			}
		})
	}
	wg.Wait()
	pollers.Lock()
	defer pollers.Unlock()
	if current != nil {
		t.Errorf("a poller with %d streams is left", current.streams)
	}
}

// The set cannot be had without descriptors, nor a descriptor of a connection
// that is closed: nothing is left of the attempt.
func TestOpenFails(t *testing.T) {
	untilNoStreams(t)
	ours, _ := socketPair(t)
	ours.Close()
	s := &taken{src: new(guard)}
	if err := s.sock.open(ours, s); err == nil {
		t.Error("a closed connection's descriptor was opened")
	}
	pollers.Lock()
	defer pollers.Unlock()
	if current != nil {
		t.Errorf("a poller with %d streams is left", current.streams)
	}
}

// untilNoStreams waits for the streams of tests before to be gone: a clean end
// lingers for a while.
func untilNoStreams(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		pollers.Lock()
		none := current == nil
		pollers.Unlock()
		switch {
		case none:
			return
		case time.Now().After(deadline):
			t.Fatal("streams of another test are left")
		}
	}
}

// openNumbers are the descriptors that the process has open.
func openNumbers(t *testing.T) []string {
	t.Helper()
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	own := strconv.Itoa(int(dir.Fd()))
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == own })
	slices.Sort(names)
	return names
}

// TestOpenRefused: whichever call the kernel refuses, nothing is left of the attempt: no
// descriptor, no stream in the set, no use of either.
func TestOpenRefused(t *testing.T) {
	untilNoStreams(t)
	for _, refuse := range []string{"epoll_create1", "dup", "epoll_ctl"} {
		t.Run(refuse, func(t *testing.T) {
			first, _ := socketPair(t)
			ours, _ := socketPair(t)
			other := &taken{}
			if refuse != "epoll_create1" { // there is a set, and a stream in it
				if err := other.sock.open(first, other); err != nil {
					t.Fatal(err)
				}
				defer other.sock.close()
			}
			before := openNumbers(t)
			var restore func()
			switch refuse {
			case "epoll_ctl": // a true refusal, for what stands in the set's place is none
				pollers.Lock()
				set := current
				current = &poller{epoll: -1, streams: 1}
				pollers.Unlock()
				restore = func() {
					pollers.Lock()
					defer pollers.Unlock()
					if current.streams != 1 {
						t.Errorf("%d streams are counted in the set that refused", current.streams)
					}
					current = set
				}
			default:
				restore = noDescriptors(t)
			}
			s := &taken{}
			err := s.sock.open(ours, s)
			restore()
			if err == nil {
				t.Fatal("it was opened")
			}
			if after := openNumbers(t); !slices.Equal(before, after) {
				t.Errorf("descriptors before: %v, after: %v", before, after)
			}
			if s.sock.use() {
				t.Error("it can be used")
			}
			pollers.Lock()
			defer pollers.Unlock()
			if refuse == "epoll_create1" {
				if current != nil {
					t.Errorf("a poller with %d streams is left", current.streams)
				}
			} else if current.streams != 1 {
				t.Errorf("%d streams are counted", current.streams)
			}
		})
	}
}

// noDescriptors has the kernel refuse every new descriptor, until the func it returns is
// called.
func noDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore = func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }
	t.Cleanup(restore)
	return restore
}
