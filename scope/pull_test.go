package scope_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/scope"
)

// counter is a source that tells how often it was read.
type counter struct{ reads atomic.Int64 }

func (c *counter) pull(context.Context) ([]byte, error) {
	return fmt.Append(nil, c.reads.Add(1)), nil
}

func (c *counter) want(t *testing.T, n int64) {
	t.Helper()
	synctest.Wait()
	if got := c.reads.Load(); got != n {
		t.Fatalf("the source was read %d times, want %d", got, n)
	}
}

// inBubble runs f in a synctest bubble, with a Site that is shut down inside.
func inBubble(t *testing.T, config scope.SiteConfig, f func(*testing.T, kit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, newKit(t, config))
	})
}

// TestNativePull proves rule 9 for a plain EventSource: nothing before the
// attach, one value at it, one again at each later one, and a lost answer is sent
// again instead of read again.
func TestNativePull(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var c counter
		p := k.process("s")
		unread := k.private(p, scope.Spec{Name: "unread", Kind: scope.Pull, Pull: c.pull})
		tb := newTab(t, k.site, "s", p, unread)
		c.want(t, 0)
		tb.connect()
		c.want(t, 1)
		tb.want("unread", "1")
		time.Sleep(time.Hour / 2)
		c.want(t, 1)
		tb.hear() // heartbeats
		seen := tb.lastID

		tb.cut()
		time.Sleep(time.Minute)
		c.want(t, 1)
		tb.connect()
		c.want(t, 2)
		tb.hear()
		tb.lastID = seen // the answer was lost
		tb.cut().connect()
		c.want(t, 2)
		tb.want("unread", "2")
	})
}

// TestAskedPull proves rule 9 for pull=ask: only commands read.
func TestAskedPull(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var c counter
		p := k.process("s")
		tb := newTab(t, k.site, "s", p, k.private(p, scope.Spec{Name: "unread", Kind: scope.Pull, Pull: c.pull}))
		tb.query += "&pull=ask"
		answer := func(want scope.Reply, pairs ...string) {
			t.Helper()
			got, err := tb.command(pairs...)
			if err != nil || got != want {
				t.Fatalf("%v: %+v, %v; want %+v", pairs, got, err, want)
			}
		}
		refused := func(code string, expected uint64, pairs ...string) {
			t.Helper()
			_, err := tb.command(pairs...)
			var refusal *scope.CommandError
			if !errors.As(err, &refusal) || refusal.Code != code || refusal.Expected != expected {
				t.Fatalf("%v: %v; want %s, expected %d", pairs, err, code, expected)
			}
		}
		answer(scope.Reply{State: "waiting", N: 1}, "pull", "unread", "n", "1") // waits for an attach
		refused("busy", 2, "pull", "unread", "n", "2")
		c.want(t, 0)
		tb.connect()
		c.want(t, 1)
		tb.want("unread", "1")
		answer(scope.Reply{State: "sent", N: 1}, "pull", "unread", "n", "1")
		refused("conflict", 2, "pull", "unread", "n", "3")
		refused("bad", 0, "pull", "unread", "n", "x")
		refused("gone", 0, "pull", "nothing")
		before := tb.lastID
		answer(scope.Reply{State: "reading", N: 2}, "pull", "unread")
		c.want(t, 2)
		tb.hear() // lost
		tb.lastID = before
		tb.cut().connect()
		c.want(t, 2)
		answer(scope.Reply{State: "sent", N: 2}, "pull", "unread", "n", "2")
		tb.want("unread", "2")
		tb.cut().connect()
		answer(scope.Reply{State: "seen", N: 2}, "pull", "unread", "n", "2")
		c.want(t, 2)
		answer(scope.Reply{State: "reading", N: 3}, "pull", "unread", "n", "3") // across generations
		c.want(t, 3)
	})
}

// TestPullIsInterruptedByDetach proves rule 9: nothing is read for nobody, and a
// value that came in spite of that is kept.
func TestPullIsInterruptedByDetach(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		started, value := make(chan context.Context, 10), make(chan string, 1)
		p := k.process("s")
		h := k.private(p, scope.Spec{Name: "slow", Kind: scope.Pull, Pull: func(ctx context.Context) ([]byte, error) {
			started <- ctx
			select {
			case v := <-value:
				return []byte(v), nil
			case <-ctx.Done():
				select {
				case v := <-value: // it came at the same moment
					return []byte(v), nil
				default:
					return nil, ctx.Err()
				}
			}
		}})
		tb := newTab(t, k.site, "s", p, h).connect()
		ctx := <-started
		tb.hear()
		tb.cut()
		<-ctx.Done()
		synctest.Wait()
		tb.connect()
		<-started
		value <- "kept"
		tb.cut()
		synctest.Wait()
		tb.connect()
		tb.want("slow", "kept")
		synctest.Wait()
		if len(started) != 0 || h.Err() != nil {
			t.Fatal("read again, or ended:", len(started), h.Err())
		}
	})
}

// TestContinuousPull: the next value is read when the socket has taken the last.
func TestContinuousPull(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var c counter
		p := k.process("s")
		h := k.private(p, scope.Spec{Name: "n", Kind: scope.Pull, Continuous: true, Pull: c.pull})
		tb := newTab(t, k.site, "s", p, h).connect()
		for accepted := 0; accepted < 5; {
			tb.batch.Reset()
			_, _ = tb.stream.Collect(&tb.batch, 4096) // what was collected before is accepted by that
			c.want(t, int64(accepted)+1)              // sent with this batch, or waiting for the next
			accepted += len(of(tb.take(tb.batch.Bytes()), "n"))
		}
		tb.cut()
		synctest.Wait()
		reads := c.reads.Load()
		time.Sleep(time.Minute)
		c.want(t, reads)
	})
}

// TestPullFails: a source's error, and its panic, end one channel visibly.
func TestPullFails(t *testing.T) {
	failure := errors.New("no database")
	for name, source := range map[string]func(context.Context) ([]byte, error){
		"error": func(context.Context) ([]byte, error) { return nil, failure },
		"panic": func(context.Context) ([]byte, error) { panic(failure) },
	} {
		inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
			p := k.process("s")
			bad := k.private(p, scope.Spec{Name: "bad", Kind: scope.Pull, Pull: source})
			good := k.private(p, scope.Spec{Name: "good"})
			tb := newTab(t, k.site, "s", p, bad, good).connect()
			<-bad.Done()
			synctest.Wait() // what is heard of it follows
			tb.wantNotice("end", notice{Channel: "bad", Reason: "error", Final: true})
			if name == "error" && !errors.Is(bad.Err(), failure) {
				t.Fatal(bad.Err())
			}
			k.put(good, "on")
			tb.want("good", "on")
		})
	}
}

// TestPullOnASharedStream: two processes on one event stream, each asked for by
// itself; attaching by command reads nothing.
func TestPullOnASharedStream(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var mine, theirs counter
		leader, follower := k.process("s"), k.process("s")
		a := k.private(leader, scope.Spec{Name: "n", Kind: scope.Pull, Pull: mine.pull})
		b := k.private(follower, scope.Spec{Name: "n", Kind: scope.Pull, Pull: theirs.pull})
		tb := newTab(t, k.site, "s", leader, a).connect()
		other := newTab(t, k.site, "s", follower, b)
		mine.want(t, 1)
		tb.want("n", "1")
		reply, err := tb.command("attach", follower.Token())
		if err != nil || reply.K != 1 {
			t.Fatal(reply, err)
		}
		theirs.want(t, 0)
		if _, err := other.command("pull", "n", "n", "1"); err != nil {
			t.Fatal(err)
		}
		theirs.want(t, 1)
		tb.want("n@1", "1")
		if _, err := tb.command("pull", "n", "n", "1", "comet", follower.Token()); err != nil {
			t.Fatal(err)
		}
		theirs.want(t, 1)
		mine.want(t, 1)
		if _, err := tb.command("detach", follower.Token()); err != nil {
			t.Fatal(err)
		}
		if _, err := other.command("pull", "n", "n", "2"); err != nil {
			t.Fatal(err)
		}
		theirs.want(t, 1) // waits for an attach
		tb.cut()
	})
}

// TestLookEndsAfterAnInterruptedRead: a look (wait=no) ends when nothing is on its way any more: also after a read
// that its channel's end interrupted. Only wakes are followed.
func TestLookEndsAfterAnInterruptedRead(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		p := k.process("s")
		release := make(chan struct{})
		h := k.private(p, scope.Spec{Name: "v", Kind: scope.Pull, Pull: func(ctx context.Context) ([]byte, error) {
			<-release
			return nil, ctx.Err()
		}})
		tb := newTab(t, k.site, "s", p, h)
		tb.query += "&wait=no"
		tb.connect()
		synctest.Wait()
		tb.hear()
		h.Close()
		synctest.Wait()
		tb.hear() // closed
		select {
		case <-tb.wakes:
		default:
		}
		close(release)
		synctest.Wait()
		if tb.ended {
			t.Fatal("ended too early for this test")
		}
		if len(tb.wakes) == 0 {
			t.Fatal("the read is over, and nobody wakes the look: it stays until a heartbeat")
		}
		tb.hear()
		if !tb.ended {
			t.Fatal("not ended")
		}
	})
}

// TestLookSaysWhatWasReadForIt: nor does a look end before it said what a read that
// is just over has brought: a value, or the source's end.
func TestLookSaysWhatWasReadForIt(t *testing.T) {
	for i := range 400 {
		end := i%2 == 0
		inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
			p := k.process("s")
			reading, release := make(chan struct{}), make(chan struct{})
			h := k.private(p, scope.Spec{Name: "v", Kind: scope.Pull, Pull: func(context.Context) ([]byte, error) {
				close(reading)
				<-release
				if end {
					return nil, io.EOF
				}
				return []byte("7"), nil
			}})
			tb := newTab(t, k.site, "s", p, h)
			tb.query += "&wait=no"
			tb.connect()
			<-reading
			close(release)
			var events []heard
			for !tb.ended { // at once, while the read returns
				events = append(events, tb.hear()...)
				if !tb.ended {
					<-tb.wakes
				}
			}
			if said := len(of(events, "v")) + len(of(events, "comet:end")); said != 1 {
				t.Fatalf("the look ended with %v", events)
			}
		})
	}
}

// sleepBeat lets one heartbeat pass.
func sleepBeat() {
	time.Sleep(15 * time.Second)
	synctest.Wait()
}

// TestReadWhileItsProcessEnds proves that a channel which is read while its process ends
// has ended with it, also where its source says then that it is at its end.
func TestReadWhileItsProcessEnds(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		p := k.process("s")
		k.private(p, scope.Spec{Name: "first", Stop: func(error) { synctest.Wait() }}) // until the read is over
		h := k.private(p, scope.Spec{Name: "read", Kind: scope.Pull, Pull: func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			return nil, io.EOF
		}})
		newTab(t, k.site, "s", p, h).connect().hear()
		synctest.Wait()
		p.Close()
		if err := h.Err(); !errors.Is(err, scope.ErrProcessGone) {
			t.Error("Err:", err)
		}
	})
}
