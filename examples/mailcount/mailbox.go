package main

import (
	"sync"
	"time"
)

// capacity bounds the mailbox: the oldest mail makes room for a new one.
const capacity = 10_000

// A mailbox holds mails, read or not.
type mailbox struct {
	mu    sync.Mutex
	mails []mail
}

type mail struct {
	arrived time.Time
	read    bool
}

func (m *mailbox) add(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mails) == capacity {
		m.mails = m.mails[1:]
	}
	m.mails = append(m.mails, mail{arrived: at})
}

func (m *mailbox) readAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.mails {
		m.mails[i].read = true
	}
}

// unread looks at every mail: it stands for the query that one does not want to run for nobody.
func (m *mailbox) unread() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, mail := range m.mails {
		if !mail.read {
			n++
		}
	}
	return n
}
