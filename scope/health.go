package scope

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// How event streams are sent away: in so many parts, one each so often.
	awayParts = 20
	awayEvery = 100 * time.Millisecond

	// maxAway is the longest that an event stream is told to stay away, in the mean.
	maxAway = 30 * time.Second
)

// A checkup is what a Site knows of the health of an engine that is elsewhere. The
// Site's lock guards it.
type checkup struct {
	armed   bool
	failing time.Time // when the first of the failures in a row was begun; zero: it is well
	sick    bool      // that is UnhealthyAfter ago: no event stream is carried
}

// Health is nil while the Site serves and its engine says that appends and tails can
// be served from here; otherwise ErrShutdown, the engine's reason, or ctx's error. It
// asks the engine each time, and blocks as long as that does.
func (s *Site) Health(ctx context.Context) error {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return ErrShutdown
	}
	if err := s.config.Engine.Health(ctx); err != nil {
		return fmt.Errorf("the site's engine: %w", err)
	}
	return nil
}

// startCheckups has the engine asked for its health while there are event streams,
// or it has none. It needs s.mu.
func (s *Site) startCheckups() {
	if !s.caps.Shared || s.config.UnhealthyAfter < 0 || s.checkup.armed {
		return
	}
	s.checkup.armed = true
	s.wheel.After(jitter(s.checkupEvery(), 0.25), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.checkup.armed = false; !s.closing && (s.carried.all > 0 || !s.checkup.failing.IsZero()) {
			s.work.Go(s.checkHealth)
		}
	})
}

func (s *Site) checkupEvery() time.Duration {
	return min(max(s.config.UnhealthyAfter/4, 250*time.Millisecond), 5*time.Second)
}

func (s *Site) checkHealth() {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, max(s.checkupEvery(), time.Second))
	err := s.config.Engine.Health(ctx)
	cancel()
	fell, recovered, lasted := s.diagnose(begun, err)
	switch log := s.getHooks().Logger; {
	case fell:
		log.Error("comet: the engine is not healthy: event streams are sent away until it is",
			"error", err, "for", lasted.Round(time.Millisecond))
		s.sendAwaySlowly()
	case recovered:
		log.Info("comet: the engine is healthy again, event streams are served")
	}
}

// diagnose takes note of an answer, has the next question asked, and tells what has
// changed.
func (s *Site) diagnose(begun time.Time, err error) (fell, recovered bool, lasted time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false, false, 0
	}
	defer s.startCheckups()
	c := &s.checkup
	if err == nil {
		recovered = c.sick && !s.down
		c.failing, c.sick = time.Time{}, false
		return false, recovered, 0
	}
	if c.failing.IsZero() {
		c.failing = begun
	}
	lasted = time.Since(c.failing)
	fell = !c.sick && lasted >= s.config.UnhealthyAfter
	c.sick = c.sick || fell
	return fell, false, lasted
}

// sendAwaySlowly tells the event streams to come back later, a part at a time, while
// the engine has not recovered.
func (s *Site) sendAwaySlowly() {
	streams := s.listStreams()
	for part := range slices.Chunk(streams, len(streams)/awayParts+1) {
		if !s.turnsAway() {
			return
		}
		for _, es := range part {
			es.shutdown()
		}
		select {
		case <-time.After(awayEvery):
		case <-s.ctx.Done():
			return
		}
	}
}

// turnsAway reports whether no event stream is let in, for now or for good.
func (s *Site) turnsAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down || s.checkup.sick
}

// away is how long an event stream that is sent away, or a newcomer, is told to wait:
// the longer, the longer the engine has had no health, for all nodes may be as this
// one. It needs s.mu.
func (s *Site) away(newcomer bool) time.Duration {
	if d := &s.departure; !d.begun.IsZero() && !(d.slow && newcomer) { // whom others may take at once
		return d.wait(s.hooks.Retry)
	}
	mean := 2 * s.hooks.Retry
	if failing := s.checkup.failing; !failing.IsZero() {
		mean = max(mean, min(time.Since(failing)/2, maxAway))
	}
	return jitter(mean, 0.5)
}
