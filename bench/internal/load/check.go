//go:build linux

package load

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ocsigo/comet/bench/internal/message"
)

// Faults are what must not happen.
type Faults struct {
	Count int
	First string
}

func (f *Faults) add(format string, args ...any) {
	if f.Count == 0 {
		f.First = fmt.Sprintf(format, args...)
	}
	f.Count++
}

// Err is nil if there were none.
func (f *Faults) Err() error {
	switch f.Count {
	case 0:
		return nil
	case 1:
		return errors.New(f.First)
	}
	return fmt.Errorf("%s (and %d faults more)", f.First, f.Count-1)
}

// hole tells what the names of Comet's control events mean to a client that is
// to miss nothing; "" is nothing bad.
func hole(event []byte) string {
	switch string(event) {
	case "comet:full", "comet:end", "comet:closed", "comet:gone", "comet:superseded":
		return string(event)
	}
	return ""
}

// check counts one delivery: the stream's channel must have been one before.
func (h *hearing) check(m message.Message) {
	s := h.stream
	i := m.Channel - s.first
	if i < 0 || i >= len(s.next) {
		h.crowd.faults.add("stream %d heard channel %d, which it does not hear", s.number, m.Channel)
		return
	}
	last := s.next[i]
	again := s.again
	s.again = false
	switch {
	case m.Seq == last+1:
	case m.Seq == last && again:
		return
	case m.Seq <= last:
		h.crowd.faults.add("stream %d heard value %d of channel %d after %d: doubled", s.number, m.Seq, m.Channel, last)
		return
	default:
		h.crowd.faults.add("stream %d heard value %d of channel %d after %d: %d lost", s.number, m.Seq, m.Channel, last, m.Seq-last-1)
	}
	s.next[i] = m.Seq
	h.crowd.delivered++
	h.crowd.latencies = append(h.crowd.latencies, h.now-m.At)
}

// Last is the id of the last event that stream i heard, and the number of the
// last value of its first channel.
func (c *Crowd) Last(i int) (id string, seq int64) {
	s := c.conns[i]
	return string(s.id), s.next[0]
}

// quantile sorts sample.
func quantile(sample []int64, q float64) time.Duration {
	if len(sample) == 0 {
		return 0
	}
	slices.Sort(sample)
	return time.Duration(sample[min(int(q*float64(len(sample))), len(sample)-1)])
}
