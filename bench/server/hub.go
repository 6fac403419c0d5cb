package main

import (
	"strconv"
	"sync"
)

// A hub is what the recipes for server push from Fiber begin with: a Go channel
// for every reader. A full one makes whoever publishes wait; the other usual way
// is to lose the value.
type hub struct {
	mu      sync.RWMutex
	readers map[string]map[chan value]struct{} // by channel
	last    map[string]int64
}

type value struct {
	id   int64
	data []byte
}

func newHub() *hub {
	return &hub{readers: map[string]map[chan value]struct{}{}, last: map[string]int64{}}
}

// waiting is how many values may wait for one reader.
const waiting = 64

// enter makes a reader of a channel. leave is to be called once.
func (h *hub) enter(channel string) (values chan value, leave func()) {
	values = make(chan value, waiting)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers[channel] == nil {
		h.readers[channel] = map[chan value]struct{}{}
	}
	h.readers[channel][values] = struct{}{}
	return values, func() { h.leave(channel, values) }
}

// leave takes values until the hub has let go of the reader: it may be waiting
// for it.
func (h *hub) leave(channel string, values chan value) {
	left := make(chan struct{})
	go func() {
		h.mu.Lock()
		delete(h.readers[channel], values)
		h.mu.Unlock()
		close(left)
	}()
	for {
		select {
		case <-values:
		case <-left:
			return
		}
	}
}

func (h *hub) publish(channel int, data []byte) error {
	name := strconv.Itoa(channel)
	h.mu.RLock()
	defer h.mu.RUnlock()
	h.last[name]++ // one goroutine publishes
	v := value{h.last[name], data}
	for values := range h.readers[name] {
		values <- v
	}
	return nil
}
