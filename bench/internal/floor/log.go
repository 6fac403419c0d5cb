package floor

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A log is what all streams hear, each value ready to be sent: since all began
// at the same place and hear all channels, their ids are the same too.
type log struct {
	mu     sync.RWMutex
	seqs   []uint64      // of each channel's last value
	blocks [][]byte      // the last ones, at number modulo length
	head   atomic.Uint64 // how many there have been
}

func newLog(channels, keep int) *log {
	return &log{seqs: make([]uint64, channels), blocks: make([][]byte, keep)}
}

func (l *log) add(channel int, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seqs[channel]++
	head := l.head.Load()
	l.blocks[head%uint64(len(l.blocks))] = event(cursor(l.seqs), "load", data)
	l.head.Store(head + 1)
}

// place is where one who comes now begins.
func (l *log) place() (head uint64, seqs []uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head.Load(), slices.Clone(l.seqs)
}

// since appends what follows the place at, up to about budget bytes, and returns
// the place after it. It is false if some of that is kept no more.
func (l *log) since(at uint64, dst []byte, budget int) ([]byte, uint64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	head := l.head.Load()
	if head-at > uint64(len(l.blocks)) {
		return dst, at, false
	}
	for ; at < head && len(dst) < budget; at++ {
		dst = append(dst, l.blocks[at%uint64(len(l.blocks))]...)
	}
	return dst, at, true
}
