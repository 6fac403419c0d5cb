package scope

import "time"

const (
	leastAge = 10 * time.Second // SiteConfig.MaxStreamAge
	mostAge  = 30 * 24 * time.Hour
	ageUnit  = 100 * time.Millisecond // an event stream notes its end in four bytes
)

// endOfAge is when an event stream that begins now has its age, 0 for never. Those that
// began together do not end together.
func (s *Site) endOfAge() uint32 {
	most := s.config.MaxStreamAge
	if most == 0 {
		return 0
	}
	return uint32((time.Since(s.started) + jitter(most*9/10, 1./9)) / ageUnit)
}

// left is how long that is.
func (s *EventStream) left() time.Duration {
	return time.Duration(s.ends)*ageUnit - time.Since(s.site.started)
}
