package scope

import (
	"crypto/subtle"
	"fmt"
	"sync/atomic"
)

// A session is what the client processes of one browser session share. It lives
// while it has any.
type session struct {
	key       string
	processes []*ClientProcess // oldest first; guarded by Site.mu
	asked     atomic.Bool      // a question about it is open
}

// NewProcess mints a client process of a session, with a token that cannot be
// guessed. It lives SiteConfig.ConnectWithin, or as long as an event stream
// carries it and ReturnWithin beyond. ErrTooMany when the session has
// MaxProcesses attached ones, or the site MaxSessions sessions; ErrNoProcess for
// an empty session.
func (s *Site) NewProcess(key string) (*ClientProcess, error) {
	if key == "" {
		return nil, fmt.Errorf("%w: a client process needs a session", ErrNoProcess)
	}
	p := newProcess(s, key)
	s.mu.Lock()
	evicted, err := s.admit(p)
	s.mu.Unlock()
	if evicted != nil {
		evicted.end(ErrProcessGone)
	}
	if err != nil {
		return nil, err
	}
	p.begin()
	return p, nil
}

// admit enters p, and returns the process that has to go for it. It needs s.mu.
func (s *Site) admit(p *ClientProcess) (evicted *ClientProcess, err error) {
	if s.down {
		return nil, ErrShutdown
	}
	ses := s.sessions[p.session]
	if ses == nil {
		if len(s.sessions) >= s.config.MaxSessions {
			return nil, fmt.Errorf("%w: %d sessions have client processes (SiteConfig.MaxSessions)", ErrTooMany, len(s.sessions))
		}
		ses = &session{key: p.session}
	}
	if len(ses.processes) >= s.config.MaxProcesses {
		if evicted = oldestAway(ses.processes); evicted == nil {
			return nil, fmt.Errorf("%w: the session has %d tabs connected (SiteConfig.MaxProcesses)", ErrTooMany, len(ses.processes))
		}
		s.forget(evicted)
	}
	ses.processes = append(ses.processes, p)
	s.sessions[p.session] = ses
	s.processes[digest(p.token)] = p
	return evicted, nil
}

// oldestAway returns the process that has been without an event stream for
// longest, nil when all have one.
func oldestAway(processes []*ClientProcess) *ClientProcess {
	var oldest *ClientProcess
	for _, p := range processes {
		since, away := p.awaySince()
		if !away {
			continue
		}
		if oldest == nil {
			oldest = p
			continue
		}
		if before, still := oldest.awaySince(); !still || since.Before(before) {
			oldest = p
		}
	}
	return oldest
}

// forget takes p out of the registries. It needs s.mu.
func (s *Site) forget(p *ClientProcess) {
	if s.processes[digest(p.token)] != p {
		return
	}
	delete(s.processes, digest(p.token))
	ses := s.sessions[p.session]
	for i, q := range ses.processes {
		if q == p {
			ses.processes = append(ses.processes[:i:i], ses.processes[i+1:]...)
			break
		}
	}
	if len(ses.processes) == 0 {
		delete(s.sessions, p.session)
	}
}

// Process returns the living client process that a token names, if it is of the
// session. Anything else (unknown, another session's, ended) is the same
// ErrNoProcess (rule 8).
func (s *Site) Process(key, token string) (*ClientProcess, error) {
	id := digest(token)
	s.mu.Lock()
	p := s.processes[id]
	s.mu.Unlock()
	if p == nil || subtle.ConstantTimeCompare([]byte(p.session), []byte(key)) != 1 || p.Err() != nil {
		return nil, ErrNoProcess
	}
	return p, nil
}

// EndSession ends every client process of a session: their tabs hear gone. With
// Hooks.Allow the session's event streams end within a heartbeat, whatever they
// carry, and are asked for anew.
func (s *Site) EndSession(key string) {
	s.mu.Lock()
	var processes []*ClientProcess
	if ses := s.sessions[key]; ses != nil {
		processes = append(processes, ses.processes...)
	}
	s.markDead(key)
	s.mu.Unlock()
	for _, p := range processes {
		p.end(ErrProcessGone)
	}
}
