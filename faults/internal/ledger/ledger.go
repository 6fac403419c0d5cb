// Package ledger keeps what was sent to channels and holds it against what readers
// heard: every acknowledged value once and in order, or a hole that was told.
package ledger

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Value is one of a sender's values in one channel, which the sender numbers from 1.
type Value struct {
	Sender string
	Number int
}

// String is what goes over the wire.
func (v Value) String() string { return v.Sender + ":" + strconv.Itoa(v.Number) }

// Parse reads what String wrote.
func Parse(s string) (Value, error) {
	sender, number, ok := strings.Cut(s, ":")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || sender == "" {
		return Value{}, fmt.Errorf("ledger: %q is no value", s)
	}
	return Value{sender, n}, nil
}

// A Heard is one thing that a reader heard of one channel: a value, or a hole.
type Heard struct {
	Value Value
	Hole  string // the reason that was told; "" of a value
	Epoch int    // how many holes with the reason reset came before
	At    time.Time
}

// A Ledger is safe for concurrent use.
type Ledger struct {
	mu    sync.Mutex
	acked map[string]map[string][]ack // by channel and sender, ascending
	sent  map[string]map[Value]bool   // every value that was tried
}

// An ack is a value that was acknowledged, and when its sender knew.
type ack struct {
	number int
	at     time.Time
}

// New returns an empty Ledger.
func New() *Ledger {
	return &Ledger{acked: map[string]map[string][]ack{}, sent: map[string]map[Value]bool{}}
}

// Try notes that a value will be sent. A sender tries its numbers in their order.
func (l *Ledger) Try(channel string, v Value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent[channel] == nil {
		l.sent[channel] = map[Value]bool{}
		l.acked[channel] = map[string][]ack{}
	}
	l.sent[channel][v] = true
}

// Ack notes that a value was acknowledged: from now on it has to be heard.
func (l *Ledger) Ack(channel string, v Value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[channel][v.Sender] = append(l.acked[channel][v.Sender], ack{v.Number, time.Now()})
}

// Acked is how many values of a channel were acknowledged.
func (l *Ledger) Acked(channel string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, numbers := range l.acked[channel] {
		n += len(numbers)
	}
	return n
}

// Last is a sender's newest acknowledged value in a channel.
func (l *Ledger) Last(channel, sender string) (v Value, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	numbers := l.acked[channel][sender]
	if len(numbers) == 0 {
		return Value{}, false
	}
	return Value{sender, numbers[len(numbers)-1].number}, true
}

// Check holds what one reader heard of a channel, from before its first value on,
// against what was sent. The error names the first fault.
func (l *Ledger) Check(channel string, heard []Heard) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := reading{acked: l.acked[channel], last: map[string]int{}, holes: map[string]bool{}, had: map[Value]bool{}}
	for i, h := range heard {
		v := h.Value
		switch {
		case h.Hole != "":
			r.hole(h)
			continue
		case !l.sent[channel][v]:
			return fmt.Errorf("event %d is %v, which nobody sent to %s", i, v, channel)
		case v.Number <= r.last[v.Sender]:
			return fmt.Errorf("event %d is %v, after number %d of that sender: doubled or out of order", i, v, r.last[v.Sender])
		}
		if n, lost := r.lost(v.Sender, v.Number); lost {
			return fmt.Errorf("event %d is %v, and %s:%d, which was acknowledged, was neither heard nor told as missing", i, v, v.Sender, n)
		}
		r.had[v], r.last[v.Sender], r.holes[v.Sender] = true, v.Number, false
	}
	for sender := range r.acked {
		if n, lost := r.lost(sender, math.MaxInt); lost {
			return fmt.Errorf("%s ends at number %d of sender %s, and %d, which was acknowledged, was neither heard nor told as missing", channel, r.last[sender], sender, n)
		}
	}
	return nil
}

// A reading is how far Check has come with one reader.
type reading struct {
	acked map[string][]ack
	last  map[string]int  // by sender: the newest heard
	holes map[string]bool // by sender: one was told since
	had   map[Value]bool
	reset time.Time // when the last one was told
}

// hole takes what was told. After a reset the channel is another life: what that kept
// of the old is heard again, and everything acknowledged before may be missing in it.
func (r *reading) hole(h Heard) {
	for sender := range r.acked {
		r.holes[sender] = true
	}
	if h.Hole == "reset" {
		clear(r.last)
		r.reset = h.At
	}
}

// lost returns a number of a sender, between the newest heard and next, that was
// acknowledged, never heard, and not told as missing.
func (r *reading) lost(sender string, next int) (n int, lost bool) {
	if r.holes[sender] {
		return 0, false
	}
	for _, a := range r.acked[sender] {
		if r.last[sender] < a.number && a.number < next && !r.had[Value{sender, a.number}] && a.at.After(r.reset) {
			return a.number, true
		}
	}
	return 0, false
}

// Agree demands that two readers of a channel heard what both heard in one order.
// What a failover took back may have been heard by one of them before: after a hole
// with the reason reset a reader's order begins anew.
func Agree(a, b []Heard) error {
	at := map[Value]int{}
	for i, h := range a {
		if h.Hole == "" {
			at[h.Value] = i
		}
	}
	before := -1
	var previous Value
	for _, h := range b {
		if h.Hole != "" {
			if h.Hole == "reset" {
				before = -1
			}
			continue
		}
		i, both := at[h.Value]
		if !both {
			continue
		}
		if i < before && a[i].Epoch == a[before].Epoch {
			return fmt.Errorf("one reader heard %v before %v, another after it", h.Value, previous)
		}
		before, previous = i, h.Value
	}
	return nil
}
