package scope

import "time"

// What HTTP has to know of a Site's bounds.

// Heartbeat returns SiteConfig.Heartbeat, the default filled in.
func (s *Site) Heartbeat() time.Duration { return s.config.Heartbeat }

// CountsAddresses reports whether a bound of this Site goes by network address.
func (s *Site) CountsAddresses() bool {
	return s.config.MaxAddressStreams > 0 || s.config.MaxAddressCommandRate > 0
}
