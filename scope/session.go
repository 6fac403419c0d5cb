package scope

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
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
// an empty session; engine.ErrUnavailable where the engine is a Cluster and has not
// taken this node's record, for which the first call waits up to ten seconds.
func (s *Site) NewProcess(key string) (*ClientProcess, error) {
	if key == "" {
		return nil, fmt.Errorf("%w: a client process needs a session", ErrNoProcess)
	}
	if err := s.node.mayMake(); err != nil {
		return nil, err
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
// session and of this node. Anything else (unknown, another session's, ended,
// another node's) is the same ErrNoProcess (rule 8).
func (s *Site) Process(key, token string) (*ClientProcess, error) {
	p, _ := s.whereIs(token)
	if p == nil || !p.isOf(key) || p.adopted {
		return nil, ErrNoProcess
	}
	return p, nil
}

// Lookup is Process that tells a client process which lives on another node:
// ErrElsewhere. It asks that node, as ctx allows; one that lives and does not answer
// is ErrElsewhere, too.
func (s *Site) Lookup(ctx context.Context, key, token string) (*ClientProcess, error) {
	p, err := s.Process(key, token)
	if err == nil {
		return p, nil
	}
	_, owner := s.whereIs(token)
	if owner == "" {
		return nil, err
	}
	_, err = s.takeThere(ctx, owner, step{What: "lookup", Token: token, Session: key})
	if refused := (*CommandError)(nil); errors.As(err, &refused) && refused.Code == "gone" {
		return nil, ErrNoProcess
	}
	return nil, ErrElsewhere
}

// isOf compares the session.
func (p *ClientProcess) isOf(session string) bool {
	return subtle.ConstantTimeCompare([]byte(p.session), []byte(session)) == 1
}

// EndSession ends every client process of a session: their tabs hear gone. With
// Hooks.Allow the session's event streams end within a heartbeat, whatever they
// carry, and are asked for anew. Other nodes do the same soon: they are asked in the
// background, and one that cannot be reached asks for its sessions with the
// heartbeat.
func (s *Site) EndSession(key string) {
	s.endSession(key)
	s.node.endSession(key)
}

func (s *Site) endSession(key string) {
	s.mu.Lock()
	var processes []*ClientProcess
	if ses := s.sessions[key]; ses != nil {
		processes = append(processes, ses.processes...)
	}
	s.markDead(key)
	s.mu.Unlock()
	s.node.noteEnded(key)
	for _, p := range processes {
		p.end(ErrProcessGone)
	}
}

// endsSession ends a session for another node. Who has this one's processes is to be
// asked, too: there may be some that ended here when they were on their way.
func (n *node) endsSession(key string) []byte {
	n.site.endSession(key)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.follows != "" {
		return parcel{byte(wasMoved)}.text(n.follows)
	}
	return []byte{byte(wasDone)}
}

// noteEnded has a session end at the node that is being given its processes, as well.
func (n *node) noteEnded(key string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended != nil {
		n.ended[key] = struct{}{}
	}
}

// endSession has the other nodes end a session.
func (n *node) endSession(key string) {
	if n == nil || !n.enter() {
		return
	}
	go func() {
		defer n.site.work.Done()
		ctx, cancel := context.WithTimeout(n.site.ctx, n.lease)
		defer cancel()
		ids, err := n.neighbours(ctx)
		var asked sync.WaitGroup
		for _, id := range ids {
			asked.Go(func() {
				_, _, _, _ = n.askWherever(ctx, id, parcel{byte(askEndSession)}.text(key)) // who is not reached finds out by the heartbeat
			})
		}
		asked.Wait()
		if err != nil && ctx.Err() == nil {
			n.site.getHooks().Logger.Warn("comet: the other nodes could not be told of a session's end; their heartbeats will find it", "error", err)
		}
	}()
}
