package memory

import (
	"fmt"
	"strings"
	"time"

	"github.com/ocsigo/comet/engine"
)

// idWindow is the least time that an ID is remembered.
const idWindow = 2 * time.Minute

// ids remembers under which sequences the items with IDs were stored, in two
// generations: young takes what is new for one window, old keeps it for another.
// So an ID lives for one to two windows, and forgetting costs nothing.
type ids struct {
	young, old map[string]uint64
	turned     time.Duration // when young began
}

func (m *ids) expire(now time.Duration) {
	age := now - m.turned
	if m.young == nil || age < idWindow {
		return
	}
	if age >= 2*idWindow || len(m.young) == 0 {
		*m = ids{}
		return
	}
	m.young, m.old, m.turned = make(map[string]uint64), m.young, now
}

// room reports ErrUnavailable when there is none for all IDs of items that are
// not known yet.
func (m *ids) room(items []engine.Item, limit int) error {
	n := 0
	for _, item := range items {
		if _, known := m.find(item.ID); item.ID != "" && !known {
			n++
		}
	}
	if n > 0 && len(m.young)+len(m.old)+n > limit {
		return fmt.Errorf("%w: the channel remembers %d item IDs of the last minutes, at most %d are allowed: append later, or without IDs, or raise Config.MaxIDs", engine.ErrUnavailable, len(m.young)+len(m.old), limit)
	}
	return nil
}

func (m *ids) find(id string) (seq uint64, known bool) {
	if id == "" {
		return 0, false
	}
	if seq, known = m.young[id]; !known {
		seq, known = m.old[id]
	}
	return seq, known
}

func (m *ids) add(id string, seq uint64, now time.Duration) {
	if id == "" {
		return
	}
	if m.young == nil {
		m.young, m.turned = make(map[string]uint64), now
	}
	m.young[strings.Clone(id)] = seq // the caller's string may alias a request's buffer
}
