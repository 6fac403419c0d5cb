package scope

// What the first byte of a request between nodes is, for tests that lose some.
const (
	AskKnock  = byte(askKnock)
	AskAttach = byte(askAttach)
	AskNext   = byte(askNext)
	AskLeave  = byte(askLeave)
	AskStep   = byte(askStep)
	AskBoard  = byte(askBoard)
	AskAdopt  = byte(askAdopt)
)

// RememberedUsers is how many users and processes of theirs are remembered.
func (s *Site) RememberedUsers() int {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	return len(s.users.all) + len(s.users.of)
}

// KeptForRelay is how many channels are to be named to the newest relay.
func (p *ClientProcess) KeptForRelay() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lodged.fresh)
}
