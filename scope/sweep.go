package scope

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// sweepers is how many questions one sweep has open at once: a slow answer must
// not hold up all others.
const sweepers = 8

// A sweep asks the app about something again and again, with the heartbeat, as
// long as there are event streams. There are two, so that neither waits for the
// other: for sessions, and for what readers may hear.
type sweep struct {
	armed bool // guarded by Site.mu
}

// startSweeps needs s.mu.
func (s *Site) startSweeps() {
	if s.hooks.Alive != nil {
		s.arm(&s.sessionSweep, s.askSessions)
	}
	if s.hooks.Allow != nil {
		s.arm(&s.readerSweep, s.askReaders)
	}
	s.startCheckups()
}

// watchSessions is startSweeps where a process is carried by another node.
func (s *Site) watchSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.startSweeps()
	}
}

// heard reports whether somebody hears what sweeps are about: an event stream here,
// or one on another node. It needs s.mu.
func (s *Site) heard() bool {
	return s.carried.all > 0 || s.node != nil && len(s.processes) > 0
}

// arm needs s.mu.
func (s *Site) arm(w *sweep, ask func()) {
	if w.armed {
		return
	}
	w.armed = true
	s.wheel.After(s.config.Heartbeat*3/4, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if w.armed = false; s.closing || !s.heard() {
			return
		}
		s.work.Add(1)
		go func() {
			defer s.work.Done()
			ask()
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.closing && s.heard() {
				s.arm(w, ask)
			}
		}()
	})
}

// askSessions ends the sessions that are no more.
func (s *Site) askSessions() {
	s.mu.Lock()
	hooks := s.hooks
	sessions := s.streamSessions()
	for _, ses := range s.sessions {
		sessions = append(sessions, ses)
	}
	s.mu.Unlock()
	ask(s, sessions, func(ctx context.Context, ses *session) {
		if !s.alive(ctx, hooks, ses.key) {
			s.endSession(ses.key) // other nodes ask by themselves
		}
	})
	s.takeBack()
}

// askReaders takes away what readers may not hear any more.
func (s *Site) askReaders() {
	s.takeBack()
	ask(s, s.listStreams(), func(ctx context.Context, es *EventStream) { es.recheck(ctx) })
}

// askable is what a question can be about: one at a time.
type askable interface{ asking() *atomic.Bool }

func (s *session) asking() *atomic.Bool     { return &s.asked }
func (s *EventStream) asking() *atomic.Bool { return &s.asked }

// ask asks about every item, a few at a time. An answer that takes longer than a
// heartbeat is no longer waited for; until it comes, nothing more is asked about
// that item, and it is as it was.
func ask[T askable](s *Site, items []T, question func(context.Context, T)) {
	open := make(chan struct{}, sweepers)
	items = slices.DeleteFunc(items, func(item T) bool { return item.asking().Swap(true) })
	for _, item := range items {
		open <- struct{}{}
		s.work.Add(1)
		answered := make(chan struct{})
		ctx, cancel := context.WithTimeout(s.ctx, s.config.Heartbeat)
		go func() {
			defer s.work.Done()
			defer item.asking().Store(false)
			defer close(answered)
			question(ctx, item)
		}()
		go func() {
			select {
			case <-answered:
			case <-ctx.Done():
			}
			cancel()
			<-open
		}()
	}
	for range sweepers { // until the last is answered, or given up
		open <- struct{}{}
	}
}

// alive asks for a session. A panic is no logout.
func (s *Site) alive(ctx context.Context, hooks Hooks, key string) (alive bool) {
	defer func() {
		if v := recover(); v != nil {
			hooks.Logger.Error("comet: asking for a session panicked", "panic", fmt.Sprint(v))
			alive = true
		}
	}()
	return hooks.Alive(ctx, key)
}

// recheck asks Allow again for every site channel that is heard here.
func (s *EventStream) recheck(ctx context.Context) {
	s.mu.Lock()
	var names []string
	for _, r := range s.sites {
		if !r.removed && r.channel != nil {
			names = append(names, r.name)
		}
	}
	s.mu.Unlock()
	for _, name := range names {
		if ctx.Err() == nil && s.site.allow(ctx, s.reader, name) != nil && ctx.Err() == nil {
			s.revoke(name)
		}
	}
}

// revoke takes a channel away, as if it were not there (rule 14).
func (s *EventStream) revoke(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sites {
		if r.name == name && !r.removed && !s.gone {
			r.closing = byUnavailable
		}
	}
	s.Wake()
}
