package scope_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// live returns the bytes that are reachable, and how many goroutines there are.
func live() (heap int64, goroutines int) {
	for range 3 { // cleanups need a round of their own
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), runtime.NumGoroutine()
}

// TestReconnectsCostNothing proves eliom.md 4a (b18c2a4a6, 107a9092c, 9781f1e82,
// f2083d15d) and rule 13: a tab that connects, is woken and breaks off again
// 100,000 times, with waiters that come and go, leaves no goroutine and no memory.
func TestReconnectsCostNothing(t *testing.T) {
	cycles := 100_000
	if testing.Short() {
		cycles = 5_000
	}
	k := newKit(t)
	p := k.process("s")
	chat, mine := k.channel(scope.Spec{Name: "chat", Size: 10}), k.private(p, scope.Spec{Name: "mine", Size: 10})
	link := newTab(t, k.site, "s", p, chat, mine)
	lastID := ""
	cycle := func(i int) {
		s, err := k.site.OpenStream(context.Background(), scope.Request{
			Query: link.query, LastEventID: lastID, Reconnect: lastID != "", Reader: link.reader,
		})
		if err != nil {
			t.Fatalf("cycle %d: %v", i, err)
		}
		tb := &tab{t: t, site: k.site, stream: s, lastID: lastID}
		woken := 0
		s.Start(func() { woken++ })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := p.WaitTimeout(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		value := strconv.Itoa(i)
		k.put(chat, value)
		k.put(mine, value)
		events := tb.hear()
		if woken != 2 || fmt.Sprint(of(events, "chat"), of(events, "mine")) != fmt.Sprintf("[%s] [%s]", value, value) {
			t.Fatalf("cycle %d: woken %d times, heard %v", i, woken, events)
		}
		lastID = tb.lastID
		s.Gone(nil)
	}
	for i := range 1000 {
		cycle(i)
	}
	heap, goroutines := live()
	for i := range cycles {
		cycle(i)
	}
	heapNow, goroutinesNow := live()
	if goroutinesNow > goroutines {
		t.Errorf("%d goroutines more", goroutinesNow-goroutines)
	}
	if grown := heapNow - heap; grown > 256<<10 { // 2.6 bytes a cycle: less than anything kept
		t.Errorf("the heap grew by %d bytes in %d cycles", grown, cycles)
	}
}

// TestProcessesAreIsolated proves rule 7 and eliom.md 4a (caae54a65, the shared
// notification event): a hundred tabs with channels of one name, everything at
// once, and each hears its own values only.
func TestProcessesAreIsolated(t *testing.T) {
	const tabs, values = 100, 50
	k := newKit(t, scope.SiteConfig{MaxProcesses: tabs})
	var work sync.WaitGroup
	for i := range tabs {
		session := fmt.Sprint(i % 7)
		p := k.process(session)
		h := k.private(p, scope.Spec{Name: "mine"})
		tb := newTab(t, k.site, session, p, h)
		work.Go(func() {
			for v := range values {
				if err := h.Feed().Put(context.Background(), fmt.Appendf(nil, "%d of tab %d", v, i)); err != nil {
					t.Error(err)
				}
			}
		})
		work.Go(func() {
			got := tb.hearAcrossReconnects("mine", values)
			if len(got) != values {
				t.Errorf("tab %d heard %d values of %d", i, len(got), values)
			}
			for v, text := range got {
				if text != fmt.Sprintf("%d of tab %d", v, i) {
					t.Errorf("tab %d heard %q as its value %d", i, text, v)
					return
				}
			}
		})
	}
	work.Wait()
}

// hearAcrossReconnects hears n values, on a connection for each batch of them, or
// as many as come within ten seconds of the one before.
func (tb *tab) hearAcrossReconnects(name string, n int) (got []string) {
	for len(got) < n {
		got = append(got, of(tb.connect().hear(), name)...)
		if len(got) < n {
			select {
			case <-tb.wakes:
			case <-time.After(time.Minute):
				return got
			}
			got = append(got, of(tb.hear(), name)...)
		}
		tb.cut()
	}
	return got
}

// TestRetrySpreads proves rule 12 and eliom.md 4a (a83c47f90): a thousand event
// streams are told a thousand times to come back at, whether they lose the
// connection, are shut down, or are one too many.
func TestRetrySpreads(t *testing.T) {
	const streams = 1000
	k := newKit(t, scope.SiteConfig{MaxStreams: streams, MaxSessionStreams: streams})
	chat := k.channel(scope.Spec{Name: "chat"})
	var tabs []*tab
	var first, full, last []time.Duration
	for range streams {
		tb := newTab(t, k.site, "s", nil, chat).connect()
		tabs, first = append(tabs, tb), append(first, retryOf(t, tb.bytes()))
	}
	for range streams {
		full = append(full, retryOf(t, newTab(t, k.site, "s", nil, chat).connect().bytes()))
	}
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	_ = k.site.Shutdown(expired)
	for _, tb := range tabs {
		last = append(last, retryOf(t, tb.bytes()))
	}
	wantSpread(t, "at hello", first, 750*time.Millisecond, 1250*time.Millisecond)
	wantSpread(t, "one too many", full, time.Second, 3*time.Second)
	wantSpread(t, "at shutdown", last, time.Second, 3*time.Second)
}

func retryOf(t *testing.T, wire []byte) time.Duration {
	t.Helper()
	line, _, _ := strings.Cut(string(wire), "\n")
	ms, err := strconv.Atoi(strings.TrimPrefix(line, "retry: "))
	if err != nil {
		t.Fatalf("the first line is %q", line)
	}
	return time.Duration(ms) * time.Millisecond
}

// wantSpread divides the span into ten: each has at least a quarter of its share.
func wantSpread(t *testing.T, what string, times []time.Duration, from, to time.Duration) {
	t.Helper()
	var parts [10]int
	for _, d := range times {
		if d < from || d > to {
			t.Fatalf("%s: told to wait %v, out of %v to %v", what, d, from, to)
		}
		parts[min(9, int(10*(d-from)/(to-from)))]++
	}
	for _, n := range parts {
		if n < len(times)/40 {
			t.Fatalf("%s: a herd: %v of %d in the tenths of %v to %v", what, parts, len(times), from, to)
		}
	}
}

// TestExpiredAtAccess proves eliom.md 4a (b3dadc425, bd1a62b32) and rules 8 and
// 10: a tab that stayed away too long is gone for whoever asks next, with all its
// parts at once.
func TestExpiredAtAccess(t *testing.T) {
	inBubble(t, scope.SiteConfig{MaxSessions: 1}, func(t *testing.T, k kit) {
		p := k.process("s")
		stopped := make(chan error, 2)
		stop := func(err error) { stopped <- err }
		queue := k.private(p, scope.Spec{Name: "queue", Stop: stop})
		pull := k.private(p, scope.Spec{Name: "pull", Kind: scope.Pull, Stop: stop, Pull: func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		tb := newTab(t, k.site, "s", p, queue, pull).connect()
		tb.hear()
		tb.cut()
		waiting := returns(context.Background(), p, 2*time.Hour)
		time.Sleep(time.Hour - time.Millisecond)
		if _, err := k.site.Process("s", p.Token()); err != nil {
			t.Fatal("a millisecond too early:", err)
		}
		time.Sleep(time.Millisecond + 250*time.Millisecond) // the coarse clock's tick
		synctest.Wait()

		if _, err := k.site.Process("s", p.Token()); !errors.Is(err, scope.ErrNoProcess) {
			t.Error("Process:", err)
		}
		if _, err := scope.Register(p, scope.Spec{Name: "late"}); !errors.Is(err, scope.ErrNoProcess) {
			t.Error("Register:", err)
		}
		if _, err := k.site.Link(context.Background(), p, 0, queue); !errors.Is(err, scope.ErrNoProcess) {
			t.Error("Link:", err)
		}
		_, err := tb.command("register", "queue")
		wantRefused(t, err, "gone")
		for _, h := range []*scope.Handle{queue, pull} {
			if err := <-stopped; !errors.Is(err, scope.ErrProcessGone) || !errors.Is(h.Err(), scope.ErrProcessGone) {
				t.Error("a channel outlived its process:", err, h.Err())
			}
		}
		if err := queue.Feed().Put(context.Background(), []byte("x")); !errors.Is(err, scope.ErrClosed) || !errors.Is(err, scope.ErrProcessGone) {
			t.Error("Put:", err)
		}
		if err := <-waiting; !errors.Is(err, scope.ErrProcessGone) {
			t.Error("WaitTimeout:", err)
		}
		if _, err := k.site.NewProcess("another session"); err != nil {
			t.Error("the session outlived its last process:", err)
		}
		tb.connect().wantNotice("gone", notice{Process: p.Token(), Reason: "gone"})
	})
}
