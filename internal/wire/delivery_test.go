package wire_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ocsigo/comet/internal/wire"
	"github.com/ocsigo/comet/sse"
)

// The conformance suite, second part: everything said arrives, in order.

// No wake is lost and nothing reordered, whoever wakes and whenever: 8
// goroutines say 500 events each, with a wake for every one.
func TestEveryEventArrives(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		const speakers, each = 8, 500
		src := newScript(t)
		src.early = true
		srv := k.stream(t, src, wire.Options{Budget: 256})
		resp := srv.connect(get).response(http.MethodGet)
		var wg sync.WaitGroup
		for i := range speakers {
			wg.Go(func() {
				for _, event := range numbered(fmt.Sprint(i), each) {
					src.say(event)
				}
			})
		}
		got := events(t, bufio.NewReader(resp.Body), speakers*each)
		wg.Wait()
		for i := range speakers {
			prefix := fmt.Sprint(i) + " "
			mine := slices.DeleteFunc(slices.Clone(got), func(e string) bool { return !strings.HasPrefix(e, prefix) })
			if !slices.Equal(mine, numbered(fmt.Sprint(i), each)) {
				t.Errorf("events of speaker %d: %q", i, mine)
			}
		}
		src.finish(nil)
		src.waitGone(nil)
	})
}

// One event, one wake, over and over: the writer goes idle between them, and
// each is heard before the next is said.
func TestEveryWakeIsHeard(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		r := bufio.NewReader(k.stream(t, src, wire.Options{}).connect(get).response(http.MethodGet).Body)
		for _, event := range numbered("turn", 300) {
			src.say(event)
			if got := events(t, r, 1); got[0] != event {
				t.Fatalf("heard %q, want %q", got, event)
			}
		}
		src.finish(nil)
		src.waitGone(nil)
	})
}

// The budget of the options is what Collect is asked for, and what does not
// fit comes in later batches.
func TestBudget(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		const budget, n = 1000, 2000
		src := newScript(t)
		src.say(numbered("event", n)...)
		src.finish(nil)
		resp := k.stream(t, src, wire.Options{Budget: budget}).connect(get).response(http.MethodGet)
		if got := events(t, bufio.NewReader(resp.Body), n); !slices.Equal(got, numbered("event", n)) {
			t.Error("events are lost or out of order")
		}
		src.waitGone(nil)
		if len(src.budgets) != 1 || src.budgets[budget] == 0 || src.budgets[budget] > budget+50 {
			t.Errorf("budgets asked for and largest batches: %v", src.budgets)
		}
	})
}

// An event beyond every buffer arrives whole.
func TestHugeEvent(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		huge := strings.Repeat("comet ", 200_000) + "end"
		src := newScript(t)
		src.say(huge, "next")
		src.finish(nil)
		resp := k.stream(t, src, wire.Options{Budget: 512}).connect(get).response(http.MethodGet)
		if got := events(t, bufio.NewReader(resp.Body), 2); got[0] != huge || got[1] != "next" {
			t.Errorf("heard %d and %d bytes, want %d and 4", len(got[0]), len(got[1]), len(huge))
		}
		src.waitGone(nil)
	})
}

// After a write that was accepted Collect is called again, if it said so: a source
// may be paced by it (rule 9, continuous), with no wake at all.
func TestCollectAfterWrite(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		calls := 0
		src.collect = func(b *sse.Batch, budget int) (bool, error) {
			if calls++; calls <= 5 {
				b.Event(nil, "", fmt.Append(nil, "pull ", calls-1))
				return true, nil
			}
			return src.take(b, budget)
		}
		resp := k.stream(t, src, wire.Options{}).connect(get).response(http.MethodGet)
		if got := events(t, bufio.NewReader(resp.Body), 5); !slices.Equal(got, numbered("pull", 5)) {
			t.Errorf("heard %q", got)
		}
		src.finish(nil)
		src.waitGone(nil)
		if calls > 7 {
			t.Errorf("Collect was called %d times, want 6 or 7", calls)
		}
	})
}

// More without a byte is an honest answer: there is something, but not for
// this batch. Collect is called again, without a wake.
func TestMoreOfNothing(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		src := newScript(t)
		calls := 0
		src.collect = func(b *sse.Batch, _ int) (bool, error) {
			if calls++; calls < 10 {
				return true, nil
			}
			b.Comment("at last")
			return false, io.EOF
		}
		body := k.stream(t, src, wire.Options{}).connect(get).rawBody()
		if !strings.Contains(string(body), "at last") {
			t.Errorf("body %q", body)
		}
		src.waitGone(nil)
	})
}

// While a peer takes nothing, its source is not asked for more: what is in
// memory is one batch, whatever the wakes (rule 13). When it reads again it gets
// all of it, with no hole.
func TestStuckPeerIsLeftAlone(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		if !k.way.deadlines {
			t.Skip("the server's buffers are in between")
		}
		const batches = 600 // of 16 KiB: more than any system takes ahead
		noise := make([]byte, 12<<10)
		rand.NewChaCha8([32]byte{}).Read(noise)
		padding := base64.StdEncoding.EncodeToString(noise) // hardly to be compressed
		src := newScript(t)
		var asked atomic.Int32
		src.collect = func(b *sse.Batch, _ int) (bool, error) {
			n := asked.Add(1)
			b.Event(nil, "", fmt.Append(nil, n, padding))
			if n == batches {
				return false, io.EOF
			}
			return true, nil
		}
		p := k.stream(t, src, wire.Options{WriteTimeout: time.Hour}).connect(get)
		before := settled(&asked)
		for range 100 {
			src.say("a wake")
			time.Sleep(100 * time.Microsecond)
		}
		if now := asked.Load(); now != before || now == batches {
			t.Errorf("asked %d times, and %d times after wakes", before, now)
		}
		for i, event := range events(t, bufio.NewReader(p.response(http.MethodGet).Body), batches) {
			if event != fmt.Sprint(i+1, padding) {
				t.Fatalf("event %d is %.20q", i+1, event)
			}
		}
		src.waitGone(nil)
	})
}

// settled waits until n has not grown for a while.
func settled(n *atomic.Int32) (now int32) {
	for stable := 0; stable < 10; time.Sleep(30 * time.Millisecond) {
		if last := now; last != n.Load() || last == 0 {
			now, stable = n.Load(), 0
		} else {
			stable++
		}
	}
	return now
}

// Event streams that always have more to do share with others, however many
// there are: more than there are processors do not keep one from its turn.
func TestBusyStreamsShare(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		var all, idle atomic.Bool
		var busy []*script
		for range 2*runtime.GOMAXPROCS(0) + 1 {
			src := newScript(t)
			src.collect = func(b *sse.Batch, _ int) (bool, error) {
				if idle.Load() {
					return false, io.EOF
				}
				return all.Load(), nil
			}
			busy = append(busy, src)
		}
		polite := newScript(t)
		next := make(chan *script, len(busy)+1)
		for _, src := range busy {
			next <- src
		}
		next <- polite
		srv := k.serve(t, func(ctx *fasthttp.RequestCtx) { k.answer(ctx, <-next, wire.Options{}) })
		defer idle.Store(true)
		for _, src := range busy {
			srv.connect(get)
			eventually(t, "it began", func() bool { return src.started.Load() > 0 })
		}
		r := bufio.NewReader(srv.connect(get).response(http.MethodGet).Body)
		all.Store(true)
		for _, src := range busy {
			src.say("never said")
		}
		for _, event := range numbered("turn", 10) {
			polite.say(event)
			if got := events(t, r, 1); got[0] != event {
				t.Fatalf("heard %q, want %q", got, event)
			}
		}
		polite.finish(nil)
		polite.waitGone(nil)
		idle.Store(true)
		for _, src := range busy {
			src.waitGone(nil)
		}
	})
}
