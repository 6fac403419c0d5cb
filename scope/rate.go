package scope

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// rates are token buckets by key: of those who sent a command lately. One that is
// full again is as one that never was, and is forgotten.
type rates struct {
	mu      sync.Mutex
	buckets map[string]bucket
	forget  int       // forget the full ones when there are as many
	looked  time.Time // for full ones
}

type bucket struct {
	tokens  float64
	counted time.Time // when tokens was right
}

const (
	burst     = 10      // seconds of a rate may be spent at once
	leastRate = 1024    // buckets, before any is looked at to be forgotten
	mostRates = 200_000 // buckets
)

// spend takes one off the bucket of key, or tells how long to wait.
func (r *rates) spend(key string, rate float64) (wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	b, there := r.buckets[key]
	switch {
	case there:
		b = b.at(now, rate)
	case !r.room(now, rate):
		return time.Second
	default:
		b = bucket{burst * rate, now}
	}
	if b.tokens < 1 {
		wait = time.Duration(math.Ceil((1 - b.tokens) / rate * float64(time.Second)))
	} else {
		b.tokens--
	}
	r.buckets[key] = b
	return wait
}

func (b bucket) at(now time.Time, rate float64) bucket {
	return bucket{min(burst*rate, b.tokens+now.Sub(b.counted).Seconds()*rate), now}
}

// room forgets full buckets when there are twice as many as were left last time.
// It reports false while mostRates others are in use: those who are known are not
// forgotten for newcomers. It needs r.mu.
func (r *rates) room(now time.Time, rate float64) bool {
	if r.buckets == nil {
		r.buckets, r.forget = map[string]bucket{}, leastRate
	}
	if len(r.buckets) < r.forget {
		return true
	}
	if len(r.buckets) >= mostRates && now.Sub(r.looked) < time.Second {
		return false
	}
	r.looked = now
	for key, b := range r.buckets {
		if b.at(now, rate).tokens >= burst*rate {
			delete(r.buckets, key)
		}
	}
	r.forget = min(max(2*len(r.buckets), leastRate), mostRates)
	return len(r.buckets) < mostRates
}

// commandRates bound how many commands come in.
type commandRates struct{ processes, sessions, addresses rates }

// ofAddress counts one command, whoever sent it, against its network address.
func (r *commandRates) ofAddress(c *SiteConfig, address string) error {
	return r.addresses.count(address, c.MaxAddressCommandRate, "network address")
}

// of counts one command of a living process, whose session it is known to be of,
// against both.
func (r *commandRates) of(c *SiteConfig, token, session string) error {
	if err := r.processes.count(token, c.MaxCommandRate, "client process"); err != nil {
		return err
	}
	return r.sessions.count(session, c.MaxSessionCommandRate, "session")
}

// count spends one of what a key may send, without a bound if most is 0.
func (r *rates) count(key string, most int, whose string) error {
	if most == 0 {
		return nil
	}
	wait := r.spend(key, float64(most))
	if wait == 0 {
		return nil
	}
	return &CommandError{
		Code: "busy", RetryAfter: max(wait, time.Millisecond),
		Message: fmt.Sprintf("a %s may send %d commands a second, and %d at once", whose, most, burst*most),
	}
}
