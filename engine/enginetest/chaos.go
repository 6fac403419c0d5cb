package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
)

// Faults says how often Chaos does what to an offer. The first three are
// probabilities from 0 to 1.
type Faults struct {
	Drop      float64 // it is lost
	Duplicate float64 // it comes a second time, delayed
	Delay     float64 // it comes later, so that others overtake it
	// MaxDelay bounds the random time of a delay. Default 20 ms.
	MaxDelay time.Duration
	// Dirty is the part of the dropped offers that the sink is told of. With 0 a
	// loss is never announced, as when a leader dies between log and feed.
	Dirty float64
}

// DefaultFaults is a feed as bad as one may meet, which never says so.
var DefaultFaults = Faults{Drop: 0.3, Duplicate: 0.1, Delay: 0.3}

// ErrChaos is the cause of the Dirty that Chaos makes.
var ErrChaos = errors.New("enginetest: offer dropped by Chaos")

// Chaos returns e with a feed that drops, duplicates, delays and reorders offers
// as f says, each watch by a random source of its own made of seed. Its Caps do
// not say ReliableFeed. The log is untouched, and so are the Dirty that e itself
// makes. After stop or Close nothing delayed is delivered; Close closes e.
func Chaos(e engine.Engine, seed int64, f Faults) engine.Engine {
	if f.MaxDelay == 0 {
		f.MaxDelay = 20 * time.Millisecond
	}
	return &chaos{Engine: e, seed: seed, faults: f, feeds: make(map[*feed]struct{})}
}

type chaos struct {
	engine.Engine
	seed   int64
	faults Faults

	mu      sync.Mutex
	watches uint64
	feeds   map[*feed]struct{}
}

func (c *chaos) Caps() engine.Caps {
	caps := c.Engine.Caps()
	caps.ReliableFeed = false
	return caps
}

func (c *chaos) Watch(ctx context.Context, n engine.Name, sink engine.Sink) (stop func(), err error) {
	f := c.feed(sink)
	inner, err := c.Engine.Watch(ctx, n, f)
	if err != nil {
		c.end(f)
		return nil, err
	}
	return func() {
		inner()
		c.end(f)
	}, nil
}

func (c *chaos) Close(ctx context.Context) error {
	err := c.Engine.Close(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range c.feeds {
		f.end()
	}
	clear(c.feeds)
	return err
}

func (c *chaos) feed(sink engine.Sink) *feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches++
	f := &feed{
		sink:    sink,
		faults:  c.faults,
		random:  rand.New(rand.NewPCG(uint64(c.seed), c.watches)),
		delayed: make(map[*time.Timer]struct{}),
	}
	c.feeds[f] = struct{}{}
	return f
}

func (c *chaos) end(f *feed) {
	f.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.feeds, f)
}

// feed stands between the engine and one sink.
type feed struct {
	faults Faults

	mu      sync.Mutex // also makes the sink's calls come one at a time
	sink    engine.Sink
	random  *rand.Rand
	delayed map[*time.Timer]struct{}
	ended   bool
}

func (f *feed) Offer(entry engine.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
	case f.random.Float64() < f.faults.Drop:
		if f.random.Float64() < f.faults.Dirty {
			f.sink.Dirty(ErrChaos)
		}
	case f.random.Float64() < f.faults.Delay:
		f.later(entry)
	default:
		f.sink.Offer(entry)
		if f.random.Float64() < f.faults.Duplicate {
			f.later(entry)
		}
	}
}

// Dirty passes on what the engine says. After the end of the log or of the engine
// no offer may follow.
func (f *feed) Dirty(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.sink.Dirty(cause)
	if errors.Is(cause, engine.ErrNoChannel) || errors.Is(cause, engine.ErrClosed) {
		f.cancel()
	}
}

// later needs f locked.
func (f *feed) later(entry engine.Entry) {
	var timer *time.Timer
	timer = time.AfterFunc(time.Duration(f.random.Int64N(int64(f.faults.MaxDelay))), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, waiting := f.delayed[timer]; waiting {
			delete(f.delayed, timer)
			f.sink.Offer(entry)
		}
	})
	f.delayed[timer] = struct{}{}
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancel()
}

// cancel needs f locked.
func (f *feed) cancel() {
	f.ended = true
	for timer := range f.delayed {
		timer.Stop()
	}
	clear(f.delayed)
}
