package scope

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/ring"
)

// A siteChannel is one site channel on this node: its follower, and the event
// streams to wake. It knows no reader's position. It is held by handles, by
// attached readers and, if named, by its Feed; when none is left it is collected
// (rule 14).
type siteChannel struct {
	site     *Site
	spec     Spec
	state    *life
	slot     *slot
	follower *follower
	publish  *publisher  // nil: the engine is in this process
	closed   atomic.Bool // by the app: readers hear closed, whatever ended it

	mu      sync.Mutex
	readers []listener
	waking  bool     // a goroutine is waking the readers
	stale   bool     // news came since it last took them
	awake   []func() // its scratch
	crowd   *crowd   // nil until somebody asks who hears
}

// A listener is a reader and what wakes it, side by side: who wakes ten thousand
// touches nothing else of theirs.
type listener struct {
	reader *siteReader
	wake   func() // nil: its event stream has not started
}

// A slot is a name's entry in the registry. It outlives the channel, so it must
// not lead to it.
type slot struct {
	site    *Site
	name    string
	channel weak.Pointer[siteChannel] // with opened, under site.mu
	opened  bool
	state   *life
	account *channelAccount
	cancel  context.CancelFunc // of the follower's repairs
	ensured bool
	once    sync.Once

	mu      sync.Mutex
	unwatch func()
	freed   bool
}

// watching keeps what ends the watch of the log, in place of an older watch, which
// it ends.
func (s *slot) watching(stop func()) {
	s.mu.Lock()
	old := s.unwatch
	if s.freed {
		old = stop
	} else {
		s.unwatch = stop
	}
	s.mu.Unlock()
	if old != nil {
		old()
	}
}

// unwatched ends the watch, and every one that may still come.
func (s *slot) unwatched() {
	s.watching(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freed = true
}

// free gives the name back and lets go of the log. Only the first call does
// anything; it waits for a running one.
func (s *slot) free() {
	s.once.Do(func() {
		s.cancel()
		s.unwatched()
		s.account.free()
		if s.ensured && !s.site.caps.Shared { // nobody else can know the log
			_ = s.site.config.Engine.Delete(context.Background(), s.site.logName(s.name))
		}
		s.site.mu.Lock()
		defer s.site.mu.Unlock()
		if s.site.channels[s.name] == s {
			delete(s.site.channels, s.name)
		}
	})
}

// collected is the cleanup of a channel that nobody holds any more.
func collected(s *slot) {
	s.state.end(ErrClosed)
	if s.site.caps.Shared {
		go s.free() // a remote engine may take its time
		return
	}
	s.free()
}

func newSiteChannel(s *Site, spec Spec, sl *slot) *siteChannel {
	c := &siteChannel{site: s, spec: spec, state: sl.state, slot: sl}
	ctx, cancel := context.WithCancel(s.ctx)
	sl.cancel = cancel
	c.follower = &follower{
		log: s.config.Engine, gate: s.reading, name: s.logName(spec.Name), ctx: ctx, account: sl.account,
		size: spec.log().Size, newest: spec.Kind == Newest,
		notify: c.wakeReaders, fail: c.logGone,
	}
	if c.follower.newest {
		c.follower.size = 1
	}
	c.follower.ring = ring.New[*entry](c.follower.size, spec.MaxBytes)
	if s.caps.Shared {
		c.follower.remake = c.remake
		c.publish = newPublisher(s, spec, func() { c.follower.repair() })
	}
	runtime.AddCleanup(c, collected, sl)
	return c
}

// ensure makes the log, or joins it.
func (c *siteChannel) ensure(ctx context.Context) error {
	_, err := c.site.config.Engine.Ensure(ctx, c.follower.name, c.spec.log())
	if errors.Is(err, engine.ErrSpecConflict) {
		return fmt.Errorf("%w: channel %s: another node has it with another Size, MaxBytes or kind: %w", ErrNameTaken, c.spec.Name, err)
	}
	return err
}

// remake is the follower's, for a log that the store which it shares with others has
// lost. The channel is the app's, so it goes on in a new life.
func (c *siteChannel) remake(ctx context.Context) error {
	if err := c.ensure(ctx); err != nil {
		return err
	}
	unwatch, err := c.site.config.Engine.Watch(ctx, c.follower.name, weakSink{weak.Make(c.follower)})
	if err != nil {
		return err
	}
	c.slot.watching(unwatch)
	c.site.getHooks().Logger.Warn("comet: the engine had lost a channel's log, which is made again: its readers are told", "channel", c.spec.Name)
	return nil
}

// open ensures the log and follows it.
func (c *siteChannel) open(ctx context.Context) error {
	if err := c.ensure(ctx); err != nil {
		return err
	}
	c.slot.ensured = true
	unwatch, err := c.follower.follow(ctx, weakSink{weak.Make(c.follower)})
	c.slot.watching(unwatch)
	if err != nil {
		return err
	}
	c.follower.ready()
	if !c.site.caps.ReliableFeed {
		c.site.startProbing()
	}
	return nil
}

// weakSink lets the engine feed a channel's follower without holding either: the
// follower leads to the channel, and nothing but the channel to it.
type weakSink struct{ follower weak.Pointer[follower] }

func (s weakSink) Offer(e engine.Entry) {
	if f := s.follower.Value(); f != nil {
		f.Offer(e)
	}
}

func (s weakSink) Dirty(cause error) {
	if f := s.follower.Value(); f != nil {
		f.Dirty(cause)
	}
}

// logGone ends the channel whose log was deleted under it.
func (c *siteChannel) logGone(err error) {
	c.end(fmt.Errorf("%w: %w", ErrClosed, err))
}

func (c *siteChannel) name() string { return c.spec.Name }
func (c *siteChannel) life() *life  { return c.state }

func (c *siteChannel) put(ctx context.Context, data []byte) error { return c.putOnce(ctx, "", data) }

// putOnce is put with the ID that a shared engine shall know the value by.
func (c *siteChannel) putOnce(ctx context.Context, id string, data []byte) error {
	if c.state.ended() {
		return c.state.refusal(c.spec.Name)
	}
	if err := c.site.checkSize(c.spec, data); err != nil {
		return err
	}
	var err error
	if c.publish != nil {
		err = c.publish.publish(ctx, id, data)
	} else {
		_, err = c.site.config.Engine.Append(ctx, c.follower.name, engine.Item{Data: data})
	}
	switch {
	case err == nil:
		c.account().countPublished()
		return nil
	case c.state.ended() && errors.Is(err, engine.ErrUnknown):
		return fmt.Errorf("%w: %w", c.state.refusal(c.spec.Name), err)
	case c.state.ended():
		return c.state.refusal(c.spec.Name)
	case errors.Is(err, engine.ErrTooLarge):
		return fmt.Errorf("channel %s: %w: %w", c.spec.Name, ErrTooLarge, err)
	}
	return fmt.Errorf("channel %s: %w", c.spec.Name, err)
}

// end stops the source. After a Close the name is free at once; after the
// source's own end the channel stays, for late readers, until it is let go.
func (c *siteChannel) end(cause error) {
	closing := errors.Is(cause, ErrClosed) || errors.Is(cause, ErrShutdown)
	if closing {
		c.closed.Store(true)
	}
	if c.state.end(cause) {
		c.site.logFailure(c.spec.Name, cause)
	}
	if c.publish != nil {
		c.publish.close()
	}
	if closing {
		c.slot.free()
	}
	c.wakeReaders()
}

func (c *siteChannel) feed() *Feed {
	f := &Feed{life: c.state, name: c.spec.Name}
	if !c.spec.fresh {
		f.strong = c
		return f
	}
	w := weak.Make(c)
	f.weak = func() core {
		if c := w.Value(); c != nil {
			return c
		}
		return nil
	}
	return f
}

// add makes r one of those that are woken; wake is its event stream's, nil while
// that has not started.
func (c *siteChannel) add(r *siteReader, wake func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.index = int32(len(c.readers))
	c.readers = append(c.readers, listener{r, wake})
	if c.crowd != nil {
		c.crowd.enter(r.stream.reader)
	}
}

// arm gives a reader that was added what wakes it.
func (c *siteChannel) arm(r *siteReader, wake func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readers[r.index].wake = wake
}

func (c *siteChannel) remove(r *siteReader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, last := int(r.index), len(c.readers)-1
	if i > last || c.readers[i].reader != r {
		return
	}
	c.readers[i] = c.readers[last]
	c.readers[i].reader.index = r.index
	c.readers[last] = listener{}
	c.readers = c.readers[:last]
	if c.crowd != nil {
		c.crowd.leave(r.stream.reader)
	}
}

// wakeInline is up to how many readers whoever has news wakes them itself. With
// more, a goroutine does it: publishing costs the same for any number.
const wakeInline = 32

func (c *siteChannel) wakeReaders() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.readers) <= wakeInline {
		for _, l := range c.readers {
			if l.wake != nil {
				l.wake()
			}
		}
		return
	}
	c.stale = true
	if !c.waking {
		c.waking = true
		go c.wakeLoop()
	}
}

func (c *siteChannel) wakeLoop() {
	for {
		c.mu.Lock()
		if !c.stale {
			c.waking = false
			clear(c.awake)
			c.mu.Unlock()
			return
		}
		c.stale = false
		clear(c.awake)
		c.awake = c.awake[:0]
		for _, l := range c.readers {
			if l.wake != nil {
				c.awake = append(c.awake, l.wake)
			}
		}
		c.mu.Unlock()
		for _, wake := range c.awake {
			wake()
		}
	}
}
