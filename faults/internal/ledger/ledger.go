// Package ledger keeps what was sent to channels and holds it against what readers
// heard: every acknowledged value once and in order, or a hole that was told.
package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
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
}

// A Ledger is safe for concurrent use.
type Ledger struct {
	mu    sync.Mutex
	acked map[string]map[string][]int // by channel and sender, ascending
	sent  map[string]map[Value]bool   // every value that was tried
}

// New returns an empty Ledger.
func New() *Ledger {
	return &Ledger{acked: map[string]map[string][]int{}, sent: map[string]map[Value]bool{}}
}

// Try notes that a value will be sent. A sender tries its numbers in their order.
func (l *Ledger) Try(channel string, v Value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent[channel] == nil {
		l.sent[channel] = map[Value]bool{}
		l.acked[channel] = map[string][]int{}
	}
	l.sent[channel][v] = true
}

// Ack notes that a value was acknowledged: from now on it has to be heard.
func (l *Ledger) Ack(channel string, v Value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[channel][v.Sender] = append(l.acked[channel][v.Sender], v.Number)
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
	return Value{sender, numbers[len(numbers)-1]}, true
}

// Check holds what one reader heard of a channel, from before its first value on,
// against what was sent. The error names the first fault.
func (l *Ledger) Check(channel string, heard []Heard) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := map[string]int{}   // by sender: the newest heard
	holes := map[string]bool{} // by sender: a hole was told since
	for i, h := range heard {
		if h.Hole != "" {
			for sender := range l.acked[channel] {
				holes[sender] = true
			}
			if h.Hole == "reset" {
				clear(last) // another life: what it kept of the old is heard again
			}
			continue
		}
		v := h.Value
		if !l.sent[channel][v] {
			return fmt.Errorf("event %d is %v, which nobody sent to %s", i, v, channel)
		}
		if v.Number <= last[v.Sender] {
			return fmt.Errorf("event %d is %v, after number %d of that sender: doubled or out of order", i, v, last[v.Sender])
		}
		if n, lost := l.between(channel, v.Sender, last[v.Sender], v.Number); lost && !holes[v.Sender] {
			return fmt.Errorf("event %d is %v, and %s:%d, which was acknowledged, was neither heard nor told as missing", i, v, v.Sender, n)
		}
		last[v.Sender], holes[v.Sender] = v.Number, false
	}
	for sender, numbers := range l.acked[channel] {
		if n := numbers[len(numbers)-1]; n > last[sender] && !holes[sender] {
			return fmt.Errorf("%s ends at number %d of sender %s, and %d, which was acknowledged, was neither heard nor told as missing", channel, last[sender], sender, n)
		}
	}
	return nil
}

// between returns an acknowledged number of a sender that is above a and below b.
func (l *Ledger) between(channel, sender string, a, b int) (n int, ok bool) {
	for _, n := range l.acked[channel][sender] {
		if a < n && n < b {
			return n, true
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
