package scope

import (
	"context"
	"fmt"
	"time"
	"weak"
)

// ensureWithin bounds how long Register waits for a remote engine.
const ensureWithin = 10 * time.Second

// register makes a site channel: the name first, so that nothing is touched when
// it is taken, then the log.
func (s *Site) register(spec Spec) (*Handle, error) {
	if spec.Kind == Pull {
		return nil, fmt.Errorf("%w: channel %s: only a client process has channels that are read on demand", ErrBadSpec, spec.Name)
	}
	if spec.Personal {
		return nil, fmt.Errorf("%w: channel %s: only a client process has personal channels", ErrBadSpec, spec.Name)
	}
	sl, err := s.reserve(spec)
	if err != nil {
		return nil, err
	}
	defer s.work.Done()
	c := newSiteChannel(s, spec, sl)
	ctx, cancel := context.WithTimeout(s.ctx, ensureWithin)
	defer cancel()
	if err := c.open(ctx); err != nil {
		sl.state.stop = nil // nothing was made
		sl.state.end(ErrClosed)
		sl.free()
		return nil, fmt.Errorf("channel %s: %w", spec.Name, err)
	}
	s.mu.Lock()
	sl.channel, sl.opened = weak.Make(c), true
	down := s.down
	s.mu.Unlock()
	if down {
		c.state.stop = nil
		c.end(ErrShutdown)
		return nil, ErrShutdown
	}
	return &Handle{c}, nil
}

// reserve takes the name. One whose channel was collected, but not yet cleaned
// up, is cleaned up here.
func (s *Site) reserve(spec Spec) (*slot, error) {
	for {
		s.mu.Lock()
		if s.down {
			s.mu.Unlock()
			return nil, ErrShutdown
		}
		old := s.channels[spec.Name]
		if old == nil {
			sl := &slot{
				site: s, name: spec.Name, state: newLife(spec.Stop), cancel: func() {},
				account: &channelAccount{total: &s.totals[spec.siteKind()]},
			}
			s.channels[spec.Name] = sl
			s.work.Add(1) // until register is done
			s.mu.Unlock()
			return sl, nil
		}
		abandoned := old.opened && old.channel.Value() == nil
		s.mu.Unlock()
		if !abandoned {
			return nil, fmt.Errorf("%w: %s", ErrNameTaken, spec.Name)
		}
		old.state.end(ErrClosed)
		old.free()
	}
}

// find returns the living channel of a name.
func (s *Site) find(name string) *siteChannel {
	s.mu.Lock()
	sl := s.channels[name]
	var c *siteChannel
	if sl != nil && sl.opened {
		c = sl.channel.Value()
	}
	s.mu.Unlock()
	return c
}

// Find returns a hold on the site's channel of a name, if it carries values of
// typ. Otherwise ErrNotFound or ErrOtherType.
func Find(s *Site, name string, typ any) (*Handle, error) {
	c := s.find(name)
	switch {
	case c == nil:
		return nil, fmt.Errorf("%w: %.140s", ErrNotFound, name)
	case c.spec.Type != typ:
		return nil, fmt.Errorf("%w: %s carries %v, asked for was %v", ErrOtherType, name, c.spec.Type, typ)
	}
	return &Handle{c}, nil
}
