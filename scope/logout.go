package scope

// What a reader may hear was decided for who asked when the event stream began.
// Where Allow decides it, a logout takes that back: the event streams of the
// session say what they have to say, gone included, and end. Who comes back is
// asked for anew, and misses nothing that is still allowed.

// markDead remembers a session that is over, for the next sweep. It needs s.mu.
func (s *Site) markDead(session string) {
	if s.hooks.Allow == nil || s.carried.sessions[session] == 0 {
		return
	}
	if s.dead == nil {
		s.dead = map[string]struct{}{}
	}
	s.dead[session] = struct{}{}
}

// takeBack ends the event streams of the sessions that are over, by one look at
// all of them.
func (s *Site) takeBack() {
	s.mu.Lock()
	var streams []*EventStream
	if len(s.dead) > 0 {
		for es := range s.streams {
			if _, over := s.dead[es.reader.Session]; over {
				streams = append(streams, es)
			}
		}
		s.dead = nil
	}
	s.mu.Unlock()
	for _, es := range streams {
		es.sendBack()
	}
}

// sendBack has the event stream end when it has said everything.
func (s *EventStream) sendBack() {
	s.mu.Lock()
	s.brief = true
	s.mu.Unlock()
	s.Wake()
}

// streamSessions returns the sessions that have event streams and no client
// process, to be asked about as the others are where Allow goes by them. It needs
// s.mu.
func (s *Site) streamSessions() (sessions []*session) {
	if s.hooks.Allow == nil {
		return nil
	}
	for key := range s.carried.sessions {
		if s.sessions[key] == nil {
			sessions = append(sessions, &session{key: key})
		}
	}
	return sessions
}
