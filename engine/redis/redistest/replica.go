package redistest

import "context"

// CutReplicas closes the connections to the replicas, which come back by themselves
// unless they are paused: what is written then, a paused replica never gets.
func (s *Server) CutReplicas() {
	s.tb.Helper()
	if err := s.Client().Do(context.Background(), "client", "kill", "type", "replica").Err(); err != nil {
		s.tb.Fatal(err)
	}
}
