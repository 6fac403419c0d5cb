package wire_test

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// Benchmarks whose readers are a process of their own, so that this one's CPU
// and memory are the server's.

// BenchmarkFanOut says one event to 1,000 event streams, and waits until all
// were written before it says the next. CPU is that of the server's process.
func BenchmarkFanOut(b *testing.B) {
	const streams = 1000
	for _, size := range []int{64, 1024} {
		for _, k := range []kind{{way: best, listen: listenTCP}, {way: parked, listen: shy(listenTCP)}} {
			b.Run(fmt.Sprintf("%s/%dB", k.way.name, size), func(b *testing.B) {
				h := newHall(b, k, streams, size)
				measure(b, streams, func() {
					h.missing.Add(streams)
					for _, s := range h.streams {
						s.say()
					}
					h.missing.Wait()
				})
			})
		}
	}
}

// BenchmarkFanOutCompressed is BenchmarkFanOut of events that are made anew each
// time and shared: compressed once, then sent to 1,000. The text is prose of this
// repository's.
func BenchmarkFanOutCompressed(b *testing.B) {
	const streams = 1000
	prose, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{600, 5000} {
		for _, coding := range []string{"", "gzip", "zstd"} {
			b.Run(fmt.Sprintf("%s/%dB", cmp.Or(coding, "identity"), size), func(b *testing.B) {
				h, at := newHall(b, kind{way: best, listen: listenTCP, coding: coding}, streams, 0), 0
				measure(b, streams, func() {
					at = (at + 7) % (len(prose) - size)
					if h.frame, err = sse.NewFrame("chat", prose[at:at+size]); err != nil {
						b.Fatal(err)
					}
					h.missing.Add(streams)
					for _, s := range h.streams {
						s.say()
					}
					h.missing.Wait()
				})
			})
		}
	}
}

// BenchmarkPrivate says one event to one of 1,000 event streams, and waits until
// it was written.
func BenchmarkPrivate(b *testing.B) {
	const streams = 1000
	for _, k := range []kind{{way: best, listen: listenTCP}, {way: parked, listen: shy(listenTCP)}} {
		b.Run(k.way.name, func(b *testing.B) {
			h, i := newHall(b, k, streams, 64), 0
			measure(b, 1, func() {
				h.missing.Add(1)
				h.streams[i%streams].say()
				i++
				h.missing.Wait()
			})
		})
	}
}

// BenchmarkIdle is what 5,000 idle event streams cost: connecting them, and the
// process's memory for each when they are quiet.
func BenchmarkIdle(b *testing.B) {
	const streams = 5000
	for _, k := range []kind{{way: best, listen: listenTCP}, {way: parked, listen: shy(listenTCP)}} {
		b.Run(k.way.name, func(b *testing.B) {
			for b.Loop() {
				before, heapBefore, cpuBefore := rss(), heap(), cpu()
				h := newHall(b, k, streams, 64)
				connecting := cpu() - cpuBefore
				b.ReportMetric(float64(connecting.Microseconds())/streams, "cpu-µs/connect")
				b.ReportMetric(float64(rss()-before)/streams, "rss-B/stream")
				b.ReportMetric(float64(heap()-heapBefore)/streams, "heap-B/stream")
				h.close()
			}
		})
	}
}

// measure reports the server's CPU time for each of the deliveries of a turn.
func measure(b *testing.B, deliveries int, turn func()) {
	turn()
	b.ReportAllocs()
	start := cpu()
	for b.Loop() {
		turn()
	}
	used := cpu() - start
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N*deliveries), "cpu-µs/delivery")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N*deliveries), "wall-µs/delivery")
}

// cpu is the CPU time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss is how much memory this process has, without what is only garbage.
func rss() int {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(status))[1])
	if err != nil {
		panic(err)
	}
	return pages * os.Getpagesize()
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// hall is a server with its event streams, and the process that reads them.
type hall struct {
	streams []*seat
	frame   *sse.Frame     // of the event that is due; nil: it is each one's own
	missing sync.WaitGroup // deliveries that were not written yet
	close   func()
}

// seat is the Source of one of them: an event of fixed size, or nothing.
type seat struct {
	hall *hall
	due  atomic.Bool
	data []byte
	wake func()
	gone sync.WaitGroup
}

func (s *seat) say() {
	s.due.Store(true)
	s.wake()
}

func (s *seat) Start(wake func()) {
	s.wake = wake
	s.hall.missing.Done()
}

func (s *seat) Collect(b *sse.Batch, _ int) (bool, error) {
	if s.due.Swap(false) {
		if f := s.hall.frame; f != nil {
			b.Frame([]byte("0.1a2b"), f)
		} else {
			b.Event(nil, "", s.data)
		}
		s.hall.missing.Done()
	}
	return false, nil
}

func (s *seat) Gone(error) { s.gone.Done() }

func newHall(tb testing.TB, k kind, streams, size int) *hall {
	h := &hall{}
	data := make([]byte, size)
	var mu sync.Mutex
	srv := &fasthttp.Server{Logger: mute{}, Handler: func(ctx *fasthttp.RequestCtx) {
		s := &seat{hall: h, data: data}
		s.gone.Add(1)
		mu.Lock()
		h.streams = append(h.streams, s)
		mu.Unlock()
		k.answer(ctx, s, wire.Options{})
	}}
	ln, _ := k.listen(tb)
	go func() { _ = srv.Serve(ln) }()
	h.missing.Add(streams)
	sink, stop := startSink(tb, ln.Addr().String(), streams, k.coding)
	h.close = sync.OnceFunc(func() {
		stop()
		_ = sink.Wait()
		for _, s := range h.streams {
			s.gone.Wait()
		}
		_ = srv.Shutdown()
	})
	tb.Cleanup(h.close)
	h.missing.Wait()
	return h
}

// sinkEnv, set to an address, a number and a coding, makes the test program a process that
// opens that many event streams there and reads them until its input ends.
const sinkEnv = "COMET_TEST_SINK"

func startSink(tb testing.TB, addr string, streams int, coding string) (sink *exec.Cmd, stop func()) {
	sink = exec.Command(os.Args[0])
	sink.Env = append(os.Environ(), fmt.Sprint(sinkEnv, "=", addr, " ", streams, " ", cmp.Or(coding, "identity")))
	sink.Stderr = os.Stderr
	in, err := sink.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := sink.Start(); err != nil {
		tb.Fatal(err)
	}
	return sink, func() { _ = in.Close() }
}

func init() {
	if task := os.Getenv(sinkEnv); task != "" {
		var addr, coding string
		var streams int
		if _, err := fmt.Sscan(task, &addr, &streams, &coding); err != nil {
			panic(err)
		}
		runSink(addr, streams, coding)
		os.Exit(0)
	}
}

// runSink reads all streams in one epoll loop: Go's own would need a goroutine
// and a buffer for each, and CPU that the server then lacks.
func runSink(addr string, streams int, coding string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		panic(err)
	}
	sa := &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}
	set, err := unix.EpollCreate1(0)
	if err != nil {
		panic(err)
	}
	for range streams {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Connect(fd, sa)
		}
		if err == nil {
			_, err = unix.Write(fd, []byte(strings.ReplaceAll(get, "Host:", "Accept-Encoding: "+coding+"\r\nHost:")))
		}
		if err == nil {
			err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		}
		if err != nil {
			panic(err)
		}
	}
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 64<<10)
	for {
		n, _ := unix.EpollWait(set, events, -1)
		for _, e := range events[:max(n, 0)] {
			if n, _ := unix.Read(int(e.Fd), buf); n <= 0 {
				_ = unix.Close(int(e.Fd))
			}
		}
	}
}
