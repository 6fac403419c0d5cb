package scope_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/engine/memory"
	"github.com/ocsigo/comet/scope"
)

// lossy is one log with tags whose end can be lost, as by a failover to a replica
// that was behind: what comes then takes the numbers of what was lost.
type lossy struct {
	*memory.Engine // what is not here, and the bounds

	mu      sync.Mutex
	entries []engine.Entry
	made    uint32
	sink    engine.Sink
	deaf    bool // the feed is lost
}

func (l *lossy) Caps() engine.Caps {
	return engine.Caps{Durability: engine.Primary, MaxEntry: 1 << 20, ContiguousSeq: true, Shared: true, Tags: true}
}

// tail needs l.mu.
func (l *lossy) tail() engine.Position {
	if n := len(l.entries); n > 0 {
		return l.entries[n-1].Position
	}
	return engine.Position{Epoch: "e"}
}

func (l *lossy) Append(_ context.Context, _ engine.Name, items ...engine.Item) ([]engine.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var positions []engine.Position
	for _, item := range items {
		l.made++
		before := l.tail()
		e := engine.Entry{
			Position: engine.Position{Epoch: "e", Seq: before.Seq + 1, Tag: l.made},
			Prev:     before.Seq, PrevTag: before.Tag, Data: append([]byte(nil), item.Data...),
		}
		l.entries = append(l.entries, e)
		positions = append(positions, e.Position)
		if l.sink != nil && !l.deaf {
			l.sink.Offer(e)
		}
	}
	return positions, nil
}

func (l *lossy) Read(_ context.Context, _ engine.Name, after engine.Position, _ int) (engine.Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	top := l.tail()
	if after.Seq > top.Seq || after.Seq > 0 && after.Tag != l.entries[after.Seq-1].Position.Tag {
		return engine.Batch{}, engine.ErrEpoch
	}
	return engine.Batch{Entries: l.entries[after.Seq:], Top: top}, nil
}

func (l *lossy) Last(_ context.Context, _ engine.Name, k int) (engine.Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return engine.Batch{Entries: l.entries[max(0, len(l.entries)-k):], Top: l.tail()}, nil
}

func (l *lossy) Tail(context.Context, engine.Name) (engine.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail(), nil
}

func (l *lossy) Tails(ctx context.Context, names []engine.Name) ([]engine.Position, error) {
	if len(names) != 1 {
		return nil, errors.New("there is one log")
	}
	tail, err := l.Tail(ctx, names[0])
	return []engine.Position{tail}, err
}

func (l *lossy) Watch(_ context.Context, _ engine.Name, s engine.Sink) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sink = s
	return func() {}, nil
}

// rewind loses all but the oldest entries, and the feed until told otherwise.
func (l *lossy) rewind(keep int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.deaf = l.entries[:keep], true
}

func (l *lossy) reconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = false
}

// TestRewoundLog proves rule 1 where a store loses what it acknowledged and gives
// its numbers to other values: a reader that heard the lost ones hears full, reason
// reset, and then the log as it is; never new values as if they followed the lost.
// The feed is gone during the failover, and nothing but the next value or the probe
// tells this node of it.
func TestRewoundLog(t *testing.T) {
	for _, c := range []struct {
		name        string
		kept, after int // values that survive, values that come during the failover
		next        bool
	}{
		{"shorter, found by the probe", 3, 1, false},
		{"as long, found by the probe", 3, 2, false},
		{"longer, found by the probe", 3, 6, false},
		{"shorter, next value", 3, 0, true},
		{"as long, next value", 3, 2, true},
		{"longer, next value", 3, 6, true},
		{"nothing kept", 0, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { rewound(t, c.kept, c.after, c.next) })
		})
	}
}

func rewound(t *testing.T, kept, after int, next bool) {
	log := &lossy{Engine: memory.New()}
	site := scope.NewSite(scope.SiteConfig{Engine: log})
	k := kit{t, site}
	chat := k.channel(scope.Spec{Name: "chat"})
	tb := newTab(t, site, "", nil, chat).connect()
	k.put(chat, numbers(1, 5)...)
	tb.want("chat", numbers(1, 5)...)

	log.rewind(kept)
	want := numbers(1, kept)
	for i := range after {
		want = append(want, "new "+strconv.Itoa(i))
		k.put(chat, want[len(want)-1])
	}
	log.reconnect()
	if next {
		k.put(chat, "next")
		want = append(want, "next")
	}
	time.Sleep(time.Minute) // the probe's
	synctest.Wait()
	events := tb.wantNotice("full", notice{Channel: "chat", Reason: "reset", Resume: "*"})
	if got := of(events, "chat"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("after full came %q, want %q", got, want)
	}
	k.put(chat, "on it goes")
	tb.want("chat", "on it goes")
	tb.cut()
	if err := site.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}
