package scope

import (
	"math/rand/v2"
	"time"

	"github.com/ocsigo/comet/internal/cursor"
)

const (
	// returnShare is which part of the rate is promised to those who were told to come
	// later: the rest is for who comes for the first time, and for chance.
	returnShare = 0.9

	// maxTurnedAway is the longest that one is told to stay away.
	maxTurnedAway = 5 * time.Minute
)

// An admission lets event streams begin at a rate: a token bucket with one second's
// worth. Who finds it empty is given the next time that nobody was given yet, and no
// more are promised than tokens come; so who returns in time finds one. Nobody is
// known by name: who comes anew may take it, and then a next time is given. The
// Site's lock guards it.
type admission struct {
	tokens  float64
	counted time.Time // when tokens was right
	next    time.Time // to be given
	turned  int       // away, since the herd began
}

// spend takes a token. Without one it tells how long to stay away, least at least.
func (a *admission) spend(rate float64, least time.Duration) (wait time.Duration, ok bool) {
	now := time.Now()
	a.tokens = min(rate, a.tokens+now.Sub(a.counted).Seconds()*rate) // at first it is full
	a.counted = now
	if a.tokens >= 1 {
		a.tokens--
		return 0, true
	}
	a.turned++
	if soon := now.Add(least); a.next.Before(soon) {
		a.next = soon
	}
	wait = a.next.Sub(now)
	if wait >= maxTurnedAway { // there is no telling: with luck there is room
		return maxTurnedAway/2 + rand.N(maxTurnedAway/2), false
	}
	slot := time.Duration(float64(time.Second) / (returnShare * rate))
	a.next = a.next.Add(slot)
	return wait + rand.N(slot/10), false // no two are closer than tokens are
}

// calm reports that a herd is over, and of how many: the times that were given are past,
// and the bucket is full.
func (a *admission) calm(rate float64) (herd int, over bool) {
	if a.turned == 0 || a.tokens < rate-1 || time.Now().Before(a.next) {
		return 0, false
	}
	herd, a.turned = a.turned, 0
	return herd, true
}

// Admit reports whether an event stream may begin now; if not, how long its reader is
// to stay away: while the Site shuts down or its engine is not healthy, where the
// address has too many, or over SiteConfig.MaxStreamRate, of which it takes one. A
// client process of this node does not expire for that, whoever asks.
//
// It does not wait, and is for a front to ask before it looks anything up for the
// request: what a herd must not reach comes after. OpenStream does not ask it. query is
// the URL's, raw.
func (s *Site) Admit(query, address string) (wait time.Duration, ok bool) {
	if wait, ok = s.letIn(address); !ok {
		s.excuse(query, wait)
	}
	return wait, ok
}

func (s *Site) letIn(address string) (wait time.Duration, ok bool) {
	s.mu.Lock()
	if s.down || s.checkup.sick || !s.carried.room(&s.config, "", address) {
		defer s.mu.Unlock()
		return s.away(true), false
	}
	if s.config.MaxStreamRate == 0 {
		s.mu.Unlock()
		return 0, true
	}
	a, rate := &s.admission, float64(s.config.MaxStreamRate)
	wait, ok = a.spend(rate, s.hooks.Retry)
	begun := a.turned == 1 && !ok
	herd, over := a.calm(rate)
	log := s.hooks.Logger
	s.mu.Unlock()
	if begun {
		log.Warn("comet: more event streams begin than SiteConfig.MaxStreamRate: readers are told to come later", "rate", s.config.MaxStreamRate)
	}
	if over {
		log.Info("comet: no reader is told to come later any more", "turned_away", herd)
	}
	return wait, ok
}

// excuse has the clock of the address's client process begin when its tab is to be
// back: it would be there now.
func (s *Site) excuse(query string, wait time.Duration) {
	address, err := cursor.ParseAddress(query)
	if err != nil || address.Process.Token == "" {
		return
	}
	s.mu.Lock()
	p := s.processes[digest(address.Process.Token)]
	s.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if back := time.Now().Add(wait); p.current == nil && back.After(p.away) {
		p.away = back
	}
}
