package scope_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ocsigo/comet/scope"
)

// TestSourceFailsDuringDetach proves rules 9 and 13: a panic in a read that a
// detach interrupts ends the channel, and its source is read no more.
func TestSourceFailsDuringDetach(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var reads atomic.Int32
		p := k.process("s")
		q := k.private(p, scope.Spec{Name: "q", Kind: scope.Pull, Pull: func(ctx context.Context) ([]byte, error) {
			reads.Add(1)
			<-ctx.Done()
			panic("broken for good")
		}})
		tb := newTab(t, k.site, "s", p, q).connect()
		tb.hear()
		tb.cut()
		synctest.Wait()
		var panicked *scope.PanicError
		if !errors.As(q.Err(), &panicked) {
			t.Fatal("the channel's end:", q.Err())
		}
		tb.connect().wantNotice("end", notice{Channel: "q", Reason: "error", Final: true})
		synctest.Wait()
		if n := reads.Load(); n != 1 {
			t.Fatalf("read %d times", n)
		}
	})
}

// TestReadOutlastsItsDetach proves rule 9: an attach while an interrupted read
// still runs waits for that one's value, and reads no second.
func TestReadOutlastsItsDetach(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var c counter
		release := make(chan struct{})
		p := k.process("s")
		q := k.private(p, scope.Spec{Name: "q", Kind: scope.Pull, Pull: func(ctx context.Context) ([]byte, error) {
			<-release // whatever ctx says
			return c.pull(ctx)
		}})
		tb := newTab(t, k.site, "s", p, q).connect()
		tb.hear()
		tb.cut().connect()
		close(release)
		c.want(t, 1)
		tb.want("q", "1")
		c.want(t, 1)
	})
}

// TestContinuousDoesNotReadAhead proves rule 9: where the last value is sent again,
// the next one is read when the socket has taken that, not before.
func TestContinuousDoesNotReadAhead(t *testing.T) {
	inBubble(t, scope.SiteConfig{}, func(t *testing.T, k kit) {
		var c counter
		p := k.process("s")
		q := k.private(p, scope.Spec{Name: "q", Kind: scope.Pull, Continuous: true, Pull: c.pull})
		tb := newTab(t, k.site, "s", p, q).connect()
		write := func() {
			tb.batch.Reset()
			_, _ = tb.stream.Collect(&tb.batch, 1<<20)
		}
		c.want(t, 1)
		write() // and it never arrives
		tb.cut().connect()
		write() // value 1 again
		c.want(t, 1)
		write() // the socket took it
		c.want(t, 2)
	})
}
