package scope_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
	"github.com/ocsigo/comet/sse"
)

// lateLast is an engine whose first Last answers late, with what was then.
type lateLast struct {
	*memory.Engine
	calls   atomic.Int32
	release chan struct{}
}

func (e *lateLast) Last(ctx context.Context, n engine.Name, k int) (engine.Batch, error) {
	b, err := e.Engine.Last(ctx, n, k)
	if e.calls.Add(1) == 1 {
		<-e.release
	}
	return b, err
}

// TestLateLoadUndoesNothing proves rules 1 and 2: what the feed tells while a
// channel's log is first read is not undone by the older answer.
func TestLateLoadUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &lateLast{Engine: memory.New(), release: make(chan struct{})}
		k := newKit(t, scope.SiteConfig{Engine: e})
		registered := make(chan *scope.Handle)
		go func() {
			h, err := scope.Register(k.site, scope.Spec{Name: "c"})
			if err != nil {
				t.Error(err)
			}
			registered <- h
		}()
		for _, value := range numbers(1, 2) { // by another node
			synctest.Wait()
			if _, err := e.Append(context.Background(), engine.Name{Channel: "c"}, engine.Item{Data: []byte(value)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		close(e.release)
		h := <-registered
		synctest.Wait()
		values, _, err := h.Recent(context.Background(), 10)
		if err != nil || fmt.Sprintf("%s", values) != "[1 2]" {
			t.Fatalf("the log has 1 and 2, the node %s, %v", values, err)
		}
	})
}

// TestEverythingAtOnce proves rule 13 for the race detector: processes, channels,
// event streams and commands under tight bounds and short lives, until a Shutdown
// in the middle of it, which ends.
func TestEverythingAtOnce(t *testing.T) {
	for begin := time.Now(); time.Since(begin) < 1500*time.Millisecond; {
		seed := rand.Uint64()
		site := scope.NewSite(scope.SiteConfig{
			MaxProcesses: 4, MaxStreams: 8, MaxChannels: 5, ConnectWithin: 5 * time.Millisecond, ReturnWithin: 5 * time.Millisecond,
		})
		var work sync.WaitGroup
		for g := range uint64(6) {
			work.Go(func() {
				c := chaos{site: site, random: rand.New(rand.NewPCG(seed, g))}
				for c.life() {
				}
			})
		}
		time.Sleep(100 * time.Millisecond) // a round
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := site.Shutdown(ctx); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		cancel()
		work.Wait()
	}
}

// chaos does to a Site whatever its random numbers say.
type chaos struct {
	site   *scope.Site
	random *rand.Rand
	tokens []string
}

// life is that of one process. It reports whether the Site goes on.
func (c *chaos) life() bool {
	p, err := c.site.NewProcess("s")
	if err != nil {
		return !errors.Is(err, scope.ErrShutdown)
	}
	c.tokens = append(c.tokens, p.Token())
	var refs []scope.Ref
	chat, err := scope.Register(c.site, scope.Spec{Name: fmt.Sprint("c", c.random.IntN(3)), Size: 2})
	if err == nil {
		refs = append(refs, chat)
	}
	if q, err := scope.Register(p, scope.Spec{Name: "q", Kind: scope.Pull, Continuous: true, Pull: sometimes}); err == nil {
		refs = append(refs, q)
	}
	p.AfterInactive(time.Millisecond, func(error) {})
	link, err := c.site.Link(context.Background(), p, 6, refs...)
	if err != nil {
		return true // it was evicted
	}
	request := scope.Request{Query: link.Query, Reader: scope.Reader{Session: "s"}}
	stream, err := c.site.OpenStream(context.Background(), request)
	if err != nil {
		return true
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { read(stream) })
	for range 6 {
		c.command(request)
		if chat != nil {
			_ = chat.Feed().Put(context.Background(), []byte("x"))
		}
	}
	switch c.random.IntN(4) {
	case 0:
		p.Close()
	case 1:
		c.site.EndSession("s")
	case 2:
		if chat != nil {
			chat.Close()
		}
	}
	return true
}

func (c *chaos) command(request scope.Request) {
	pick := func(of ...string) string { return of[c.random.IntN(len(of))] }
	name := pick("attach", "detach", "register", "close", "pull")
	_, _ = c.site.Command(context.Background(), request, map[string][]string{name: {pick("c0", "c1", "q", pick(c.tokens...))}})
}

// sometimes is a source that waits to be interrupted, or has a value.
func sometimes(ctx context.Context) ([]byte, error) {
	if rand.IntN(3) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []byte(strings.Repeat("v", 100)), nil
}

// read is a peer that takes a little of an event stream and leaves.
func read(stream *scope.EventStream) {
	defer stream.Gone(nil)
	woken := make(chan struct{}, 1)
	stream.Start(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	var b sse.Batch
	for range 20 {
		b.Reset()
		if _, err := stream.Collect(&b, 500); err != nil {
			return
		}
		select {
		case <-woken:
		case <-time.After(time.Millisecond):
		}
	}
}
