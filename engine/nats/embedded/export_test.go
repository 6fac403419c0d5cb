package embedded

// Listens are the addresses that the server takes clients on.
func (s *Server) Listens() []string {
	if s.server.Addr() == nil {
		return nil
	}
	return []string{s.server.Addr().String()}
}
