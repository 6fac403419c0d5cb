package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

// capacity bounds the mailbox: the oldest mail makes room for a new one.
const capacity = 10_000

// A Mail is one that arrived.
type Mail struct {
	From    string    `json:"from"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
}

var (
	senders  = [...]string{"Ada", "Barbara", "Edsger", "Frances", "Grace", "Ken", "Radia", "Tony"}
	subjects = [...]string{"Lunch?", "Minutes of Monday", "Build 0142 is up", "Your parcel", "Re: Re: Fwd: agenda", "Photos", "Slides for Friday", "Invoice 2207"}
)

// newMail makes one up.
func newMail() Mail {
	return Mail{From: senders[rand.IntN(len(senders))], Subject: subjects[rand.IntN(len(subjects))], At: time.Now().UTC()}
}

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
