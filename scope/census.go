package scope

// A census counts a Site's event streams against its bounds: in all, by session
// and by network address. The Site's lock guards it.
type census struct {
	all       int
	sessions  map[string]int
	addresses map[string]int
}

// enter counts one event stream, unless a bound is reached. An empty session or
// address is not bounded by itself.
func (n *census) enter(c *SiteConfig, session, address string) bool {
	if !n.room(c, session, address) {
		return false
	}
	n.all++
	if session != "" {
		n.sessions = count(n.sessions, session, 1)
	}
	if c.MaxAddressStreams > 0 {
		n.addresses = count(n.addresses, address, 1)
	}
	return true
}

// room reports whether enter would count one.
func (n *census) room(c *SiteConfig, session, address string) bool {
	return n.all < c.MaxStreams &&
		(session == "" || n.sessions[session] < c.MaxSessionStreams) &&
		(c.MaxAddressStreams == 0 || n.addresses[address] < c.MaxAddressStreams)
}

// leave takes back what enter counted.
func (n *census) leave(c *SiteConfig, session, address string) {
	n.all--
	if session != "" {
		n.sessions = count(n.sessions, session, -1)
	}
	if c.MaxAddressStreams > 0 {
		n.addresses = count(n.addresses, address, -1)
	}
}

func count(m map[string]int, key string, change int) map[string]int {
	if m == nil {
		m = map[string]int{}
	}
	if m[key] += change; m[key] == 0 {
		delete(m, key)
	}
	return m
}
