package wire_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
)

// leftRunning are goroutines of others that no Shutdown ends: fasthttp's clock
// for the Date header, and the cleaner of its worker pool, which sleeps up to
// 10 s before it looks.
var leftRunning = []string{
	"fasthttp.updateServerDate.func1",
	"fasthttp.(*workerPool).Start.func2",
}

// TestMain fails the run if a goroutine is left that was not there before.
func TestMain(m *testing.M) {
	code := m.Run()
	var left []string
	for start := time.Now(); time.Since(start) < patience; time.Sleep(10 * time.Millisecond) {
		if left = slices.DeleteFunc(goroutines(), expected); len(left) == 0 {
			os.Exit(code)
		}
	}
	fmt.Printf("FAIL: %d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
	os.Exit(1)
}

func expected(stack string) bool {
	return strings.Contains(stack, "wire_test.TestMain") ||
		slices.ContainsFunc(leftRunning, func(f string) bool { return strings.Contains(stack, f) })
}

// goroutines gives every goroutine's stack.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
		}
		buf = make([]byte, 2*len(buf))
	}
}

// ours counts the goroutines that run code of package wire.
func ours() int {
	return len(slices.DeleteFunc(goroutines(), func(stack string) bool {
		return !strings.Contains(stack, "comet/internal/wire.")
	}))
}

// An idle event stream has one goroutine, or one with all others, and a lost one
// none: rule 13.
func TestIdleGoroutines(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.way.name+"/"+k.name, func(t *testing.T) {
			const streams = 20
			var mu sync.Mutex
			var sources []*script
			srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
				src := newScript(t)
				mu.Lock()
				sources = append(sources, src)
				mu.Unlock()
				k.answer(ctx, src, wire.Options{})
				src.say("hello")
			})
			var peers []*peer
			for range streams {
				p := srv.connect(get)
				events(t, bufio.NewReader(p.response(http.MethodGet).Body), 1)
				peers = append(peers, p)
			}
			want := streams
			if k.way.together {
				want = 1
			}
			eventually(t, fmt.Sprint(want, " goroutines"), func() bool { return ours() == want })
			for _, src := range sources {
				src.finish(nil)
				src.waitGone(nil)
			}
			for _, p := range peers {
				p.conn.Close()
			}
			if err := srv.stop(); err != nil {
				t.Error(err)
			}
			eventually(t, "none for none", func() bool { return ours() == 0 })
		})
	}
}

// Peers that come and break off at any moment leave nothing behind: 2,000 over
// TCP, fewer over the rest.
func TestAbortedConnections(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, k := range kinds {
		t.Run(k.way.name+"/"+k.name, func(t *testing.T) {
			cycles := 200
			if k.name == "tcp" {
				cycles = 2000
			}
			if testing.Short() {
				cycles /= 10
			}
			srv := k.serve(t, func(ctx *fasthttp.RequestCtx) {
				src := newScript(t)
				src.say(numbered("event", 5)...)
				k.answer(ctx, src, wire.Options{})
				go beat(src, k.way)
			})
			var wg sync.WaitGroup
			for worker := range 8 {
				random := rand.New(rand.NewPCG(seed, uint64(worker)))
				wg.Go(func() {
					for range cycles / 8 {
						abort(t, srv, random)
					}
				})
			}
			wg.Wait()
			if err := srv.stop(); err != nil {
				t.Error(err)
			}
			eventually(t, "no goroutine is left", func() bool { return ours() == 0 })
		})
	}
}

// beat says something now and then until the peer is gone, and no longer where
// the peer's leaving must be heard without.
func beat(src *script, w way) {
	for n := 0; src.left.Load() == 0 && (n < 3 || !w.hears); n++ {
		src.say("beat")
		time.Sleep(time.Millisecond)
	}
}

// abort is one peer that breaks off: before, while or after it asked, with a
// proper close or with a reset.
func abort(t *testing.T, srv *server, random *rand.Rand) {
	c, err := srv.dial()
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	request := get
	if random.IntN(4) == 0 {
		request = request[:random.IntN(len(request))]
	}
	_, _ = c.Write([]byte(request))
	if request == get && random.IntN(2) == 0 {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, _ = c.Read(make([]byte, 1+random.IntN(300)))
	}
	if tcp, ok := c.(*net.TCPConn); ok && random.IntN(2) == 0 {
		_ = tcp.SetLinger(0)
	}
	if random.IntN(2) == 0 {
		runtime.Gosched()
	}
}
