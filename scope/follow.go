package scope

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/internal/ring"
)

// FollowSpec says which log is followed, and from where.
type FollowSpec struct {
	// Prefix is the namespace of the other instance in the engine; Name is that of
	// its channel.
	Prefix, Name string
	// Newest: the channel is a newest one there.
	Newest bool
	// History is how many of the last values come first, or as many as are kept.
	History int
	// After is where to go on, if it is not zero; History then means nothing.
	After engine.Position
	// Wait waits for a log that does not exist yet, which is then heard from its
	// oldest value on.
	Wait bool
	// Size and MaxBytes bound what waits here to be read, in values and bytes. 0: the
	// defaults.
	Size, MaxBytes int
}

// A HoleError says that values of a channel are not to be had any more. It comes in
// their place: what is read next follows Resume.
type HoleError struct {
	Channel string
	// Reason is trimmed (they are no longer kept, there or here), reset (the log has
	// another history than the one that was read) or future (the position was never
	// reached).
	Reason string
	// After is the position that was read last; the zero Position for none.
	After engine.Position
	// Resume is the position before the oldest value kept.
	Resume engine.Position
}

// Error names the channel, the reason and where it goes on.
func (e *HoleError) Error() string {
	return fmt.Sprintf("channel %s: values after position %q are not kept (%s); it goes on after %q", e.Channel, e.After, e.Reason, e.Resume)
}

// waitPause is how often a log that does not exist is asked for.
const waitPause = 500 * time.Millisecond

// A Following reads a log that belongs to another instance, or to this one, and
// changes nothing in it. It is open until Close, the end of the log or of the Site.
// Safe for concurrent use.
type Following struct {
	site     *Site
	follower *follower
	state    *life
	cancel   context.CancelFunc
	news     chan struct{} // room for one
	turn     chan struct{} // held by whoever reads

	mu      sync.Mutex
	unwatch func() // once the log is watched

	// The reader's, who has the turn.
	ordinal uint64 // of the entry that is next
	at      engine.Position
	full    reason
	ahead   bool // at is after the tail, until repair has passed
	repair  uint64
}

// Follow begins to read a log of the Site's engine. Errors: ErrBadName, ErrBadSpec,
// ErrShutdown, ErrNotFound (there is no such log, and Wait is not set), ctx's, the
// engine's. It blocks as long as the engine does, and with Wait as long as ctx
// allows.
func (s *Site) Follow(ctx context.Context, spec FollowSpec) (*Following, error) {
	spec, err := spec.normal()
	if err != nil {
		return nil, err
	}
	f := s.newFollowing(spec)
	if err := s.enlist(f); err != nil {
		f.cancel()
		return nil, err
	}
	defer s.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.follower.ctx, cancel)()
	waited, err := f.open(ctx, spec.Wait)
	if err == nil {
		f.begin(ctx, spec, waited)
		f.follower.ready()
		if !s.caps.ReliableFeed {
			s.startProbing()
		}
		return f, nil
	}
	f.end(ErrClosed)
	switch {
	case errors.Is(f.state.err(), ErrShutdown), s.ctx.Err() != nil: // followings end first
		err = ErrShutdown
	case errors.Is(err, engine.ErrNoChannel):
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return nil, fmt.Errorf("channel %s: %w", spec.Name, err)
}

func (s FollowSpec) normal() (FollowSpec, error) {
	s.Prefix, s.Name = strings.Clone(s.Prefix), strings.Clone(s.Name)
	if err := (engine.Name{Prefix: s.Prefix, Channel: s.Name}).Validate(); err != nil {
		return s, fmt.Errorf("%w: channel %.140q: %w", ErrBadName, s.Name, err)
	}
	if s.Size == 0 {
		s.Size = DefaultSize
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = DefaultMaxBytes
	}
	if s.Size < 0 || s.MaxBytes < 0 || s.History < 0 || s.History > s.Size {
		return s, fmt.Errorf("%w: channel %s: Size %d, MaxBytes %d, History %d: none may be negative, and History no more than Size",
			ErrBadSpec, s.Name, s.Size, s.MaxBytes, s.History)
	}
	if s.Newest {
		s.Size = 1
	}
	return s, nil
}

func (s *Site) newFollowing(spec FollowSpec) *Following {
	f := &Following{site: s, state: newLife(nil), news: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(s.ctx)
	f.follower = &follower{
		log: s.config.Engine, gate: s.reading, name: engine.Name{Prefix: spec.Prefix, Channel: spec.Name}, ctx: ctx,
		size: spec.Size, newest: spec.Newest, ring: ring.New[*entry](spec.Size, spec.MaxBytes),
		notify: f.notify, fail: func(err error) { f.end(fmt.Errorf("%w: %w", ErrClosed, err)) },
	}
	return f
}

// enlist lets Shutdown and the probe find f. work is held until Follow is done.
func (s *Site) enlist(f *Following) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return ErrShutdown
	}
	s.followings[f] = struct{}{}
	s.work.Add(1)
	return nil
}

// open watches the log, and reads what it keeps.
func (f *Following) open(ctx context.Context, wait bool) (waited bool, err error) {
	for {
		stop, err := f.follower.follow(ctx, f.follower)
		if err == nil {
			f.watches(stop)
			return waited, nil
		}
		if stop != nil {
			stop()
		}
		if !wait || !errors.Is(err, engine.ErrNoChannel) {
			return waited, err
		}
		waited = true
		select {
		case <-time.After(jitter(waitPause, 0.3)):
		case <-ctx.Done():
			return waited, ctx.Err()
		}
	}
}

// watches keeps what ends the watching, for the end, which may have come already.
func (f *Following) watches(stop func()) {
	f.mu.Lock()
	f.unwatch = stop
	f.mu.Unlock()
	if f.state.ended() {
		stop()
	}
}

// begin finds the place of the first value.
func (f *Following) begin(ctx context.Context, spec FollowSpec, waited bool) {
	switch {
	case !spec.After.IsZero():
		f.at = spec.After
		f.enter(func() place { return f.follower.why(ctx, f.at) })
		return
	case waited:
		f.ordinal, f.at = f.follower.oldest()
		return
	case spec.Newest:
		spec.History = 1
	}
	f.at = f.follower.back(spec.History)
	f.enter(func() place { return missed })
}

// enter goes on after f.at, or says why it cannot; why tells what the ring does not.
func (f *Following) enter(why func() place) {
	ordinal, where := f.follower.seek(f.at)
	f.ahead = false
	switch where {
	case kept:
		f.ordinal = ordinal
		return
	case ahead:
		if !f.site.caps.ReliableFeed && why != nil {
			f.ahead, f.repair = true, f.follower.repair()
			return
		}
		f.full = byFuture
	case missed:
		f.full = byTrimmed
		if why != nil && why() == reset {
			f.full = byReset
		}
	case reset:
		f.full = byReset
	}
	if f.follower.newest && f.full != byReset { // what a newer value replaced is no hole
		f.full = none
		f.ordinal, _ = f.follower.oldest()
	}
}

func (f *Following) notify() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// Next waits for the next value and returns it, shared and read-only, with its
// position. Each goes to one caller. A *HoleError stands where values are missing,
// and the call after it goes on. Any other error is final: ErrClosed after Close, and
// after the last value of a log that ended (then it is engine.ErrNoChannel or
// engine.ErrClosed, too); ErrShutdown; but not ctx's, which loses nothing.
func (f *Following) Next(ctx context.Context) ([]byte, engine.Position, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, engine.Position{}, ctx.Err()
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, engine.Position{}, err
		}
		over := f.state.err() // before the look: what is not there then never comes
		if over != nil && !f.logEnded(over) {
			return nil, engine.Position{}, over
		}
		e, hole := f.step()
		switch {
		case e != nil:
			return e.data, e.at, nil
		case hole != nil:
			return nil, engine.Position{}, hole
		case over != nil:
			return nil, engine.Position{}, over
		}
		select {
		case <-f.news:
		case <-f.state.ending():
		case <-ctx.Done():
		}
	}
}

// logEnded reports whether it was the log that ended, whose values can still be read.
func (f *Following) logEnded(cause error) bool {
	return errors.Is(cause, engine.ErrNoChannel) || errors.Is(cause, engine.ErrClosed)
}

// step returns the next entry or hole, if there is one.
func (f *Following) step() (*entry, error) {
	if f.ahead {
		if f.follower.passed() < f.repair && !f.state.ended() {
			return nil, nil
		}
		f.enter(nil)
	}
	if f.full != none {
		return nil, f.hole(f.full)
	}
	e, at, skipped := f.follower.next(f.ordinal)
	switch {
	case skipped && f.follower.isReborn(f.ordinal):
		return nil, f.hole(byReset)
	case skipped && !f.follower.newest:
		return nil, f.hole(byTrimmed)
	case e == nil:
		return nil, nil
	}
	f.at, f.ordinal = e.at, at+1
	return e, nil
}

// hole says what is missing, and goes on from the oldest entry kept.
func (f *Following) hole(why reason) error {
	e := &HoleError{Channel: f.follower.name.Channel, Reason: why.String(), After: f.at}
	f.full = none
	f.ordinal, f.at = f.follower.oldest()
	e.Resume = f.at
	return e
}

// Close ends the reading. It may be called again, and does not wait for Next.
func (f *Following) Close() { f.end(ErrClosed) }

// Done is closed when the following has ended, whatever the cause.
func (f *Following) Done() <-chan struct{} { return f.state.ending() }

// Err is nil before Done is closed, then why it ended: what Next says, or will say
// after the last value.
func (f *Following) Err() error { return f.state.err() }

func (f *Following) end(cause error) {
	if !f.state.end(cause) {
		return
	}
	f.cancel()
	f.mu.Lock()
	stop := f.unwatch
	f.mu.Unlock()
	if stop != nil {
		stop()
	}
	f.site.mu.Lock()
	defer f.site.mu.Unlock()
	delete(f.site.followings, f)
}
