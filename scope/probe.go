package scope

import (
	"context"
	"slices"
	"time"

	"github.com/ocsigo/comet/engine"
)

const (
	// defaultProbe is how often the tails of logs with an unreliable feed are asked
	// for.
	defaultProbe = 20 * time.Second

	// probePage is how many are asked for at once.
	probePage = 500

	// probeWait is how long the engine may take for one page. What is not answered
	// is asked again by the next probe.
	probeWait = 10 * time.Second
)

// startProbing has the tails of all site channels compared with their logs' now and
// then: a feed may have lost the last entry, which no later one would betray. Only
// the first call does anything.
func (s *Site) startProbing() {
	s.probing.Do(s.nextProbe)
}

func (s *Site) nextProbe() {
	s.wheel.After(jitter(s.probe, 0.3), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closing {
			return
		}
		s.work.Go(func() {
			s.probeAll()
			s.nextProbe()
		})
	})
}

// probeAll asks for all tails, a page at a time, and repairs what differs.
func (s *Site) probeAll() {
	for page := range slices.Chunk(s.followers(), probePage) {
		names := make([]engine.Name, len(page))
		for i, f := range page {
			names[i] = f.name
		}
		ctx, cancel := context.WithTimeout(s.ctx, probeWait)
		tails, err := s.config.Engine.Tails(ctx, names)
		cancel()
		if err != nil {
			continue
		}
		for i, f := range page {
			f.compare(tails[i])
		}
	}
}

// followers returns those of the channels that are open, and of what is followed.
func (s *Site) followers() []*follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	var followers []*follower
	for _, sl := range s.channels {
		if !sl.opened {
			continue
		}
		if c := sl.channel.Value(); c != nil {
			followers = append(followers, c.follower)
		}
	}
	for f := range s.followings {
		followers = append(followers, f.follower)
	}
	return followers
}

// compare looks into a tail that is not this node's.
func (f *follower) compare(tail engine.Position) {
	f.mu.RLock()
	have := f.tail
	f.mu.RUnlock()
	if tail != have && f.ctx.Err() == nil {
		f.repair()
	}
}
