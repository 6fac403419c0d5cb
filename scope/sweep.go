package scope

import (
	"context"
	"fmt"
	"sync"
)

// sweepers is how many sessions and readers are asked about at once: one slow
// answer must not hold up all others.
const sweepers = 8

// startSweep has sessions and readers asked about with the heartbeat, as long as
// there are event streams. It needs s.mu.
func (s *Site) startSweep() {
	if s.sweeping || s.hooks.Alive == nil && s.hooks.Allow == nil {
		return
	}
	s.sweeping = true
	s.armSweep()
}

func (s *Site) armSweep() {
	s.wheel.After(s.config.Heartbeat*3/4, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down || len(s.streams) == 0 {
			s.sweeping = false
			return
		}
		s.work.Add(1)
		go s.sweep()
	})
}

// sweep ends what its session or the app no longer allows, off the writers.
func (s *Site) sweep() {
	defer s.work.Done()
	ctx, cancel := context.WithTimeout(s.ctx, s.config.Heartbeat)
	defer cancel()
	s.mu.Lock()
	hooks := s.hooks
	var sessions []string
	for key, ses := range s.sessions {
		if attached(ses.processes) {
			sessions = append(sessions, key)
		}
	}
	streams := make([]*EventStream, 0, len(s.streams))
	for es := range s.streams {
		streams = append(streams, es)
	}
	s.mu.Unlock()

	if hooks.Alive != nil {
		inParallel(sessions, func(key string) {
			if ctx.Err() == nil && !s.alive(ctx, hooks, key) {
				s.EndSession(key)
			}
		})
	}
	if hooks.Allow != nil {
		inParallel(streams, func(es *EventStream) { es.recheck(ctx) })
	}
	s.armSweep()
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

func attached(processes []*ClientProcess) bool {
	for _, p := range processes {
		if _, away := p.awaySince(); !away {
			return true
		}
	}
	return false
}

func inParallel[T any](items []T, f func(T)) {
	var wait sync.WaitGroup
	todo := make(chan T)
	for range min(sweepers, len(items)) {
		wait.Go(func() {
			for item := range todo {
				f(item)
			}
		})
	}
	for _, item := range items {
		todo <- item
	}
	close(todo)
	wait.Wait()
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
			r.closing = "unavailable"
		}
	}
	s.Wake()
}
