package channel

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/ocsigo/comet/scope"
)

// Create makes a channel that carries every value of s, read as soon as it
// comes, whether or not anybody listens.
//
// In a Site the last Size values are kept, for any number of readers; one that
// falls behind hears full, and from where it can go on. In a ClientProcess at
// most Size values wait for its one tab: over that all of them are dropped, the
// tab hears full, and the channel has ended with ErrFull (Eliom: Channel_full).
// To go on, create it anew; the page hears that one by register=NAME, or reloads.
//
// A site's channel lives while somebody holds it: its Channel, attached readers
// and, if it has a name, its running stream or Sender. Then it is collected, as
// if closed. A client process holds its channels until it ends.
//
// While a shared engine is away, a stream that is read waits for it; if it may have
// the last value and does not say so within 90 s, the channel ends with
// engine.ErrUnknown, and with SiteConfig.PublishWithin below 0 at the first error.
//
// Errors, all before s is touched, so that it can be used again: ErrBadConfig
// (two configs, fields that contradict each other, an encoding that cannot
// carry a T), ErrBadName, ErrNameTaken, ErrReused, ErrFull (a clone that fell
// behind), ErrNoProcess (missing or ended), ErrTooMany, ErrShutdown, or the
// engine's. Create waits only for a shared engine, at most ten seconds for the
// channel and then for what already waited in front of a clone.
func Create[T any](o scope.Owner, s *Stream[T], config ...Config) (*Channel[T], error) {
	c, err := one("Create", config)
	if err != nil {
		return nil, err
	}
	sp := spec(scope.Queue, c.Name, c.Event, c.Unnamed)
	sp.Size, sp.MaxBytes = c.Size, c.MaxBytes
	return create(o, s, sp, c.Encoding)
}

// CreateNewest makes a channel that keeps the newest value alone: whoever comes
// hears it at once, and then each newer one that the connection has room for.
// What a newer value replaced is no loss, by contract; after a restart of the
// server a page hears full, reason reset, and then the value. Otherwise as Create
// in a Site.
func CreateNewest[T any](site *scope.Site, s *Stream[T], config ...NewestConfig) (*Channel[T], error) {
	c, err := one("CreateNewest", config)
	if err != nil {
		return nil, err
	}
	return create(site, s, spec(scope.Newest, c.Name, c.Event, c.Unnamed), c.Encoding)
}

// create makes a channel whose values go into it as they come.
func create[T any](o scope.Owner, s *Stream[T], sp scope.Spec, e Encoding) (*Channel[T], error) {
	sp.Patient = s != nil && s.head != nil && s.head.fan.source != nil
	h, enc, err := register(o, s, sp, e)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s.head.claim(h.Name(), enc, nil, cancel)
	if f := h.Feed(); s.head.fan.source != nil {
		go pump(ctx, s.head, f)
	} else if err := s.head.drain(ctx, f); err != nil {
		f.End(named(h.Name(), err))
	}
	return &Channel[T]{ref: h, handle: h, enc: enc}, nil
}

// CreateUnlimited makes a channel private to p's tab that reads s one value at
// a time: when the tab connects or comes back, and for each of its pulls (with
// pull=ask in the URL, for these only). Each value is as fresh as the request,
// nothing is read ahead, and nothing while the tab is away. It has no size, for
// nothing waits to be sent; the last 1000 values that were sent are kept, for a
// tab that lost them, and one that comes back from before those hears full. What
// is Sent to its stream waits in front of it, within the StreamConfig's bounds.
// The stream's end is read as its values are: after io.EOF or Sender.Close the tab hears it, and the channel ends, when it
// next asks.
//
// Errors as for Create.
func CreateUnlimited[T any](p *scope.ClientProcess, s *Stream[T], config ...UnlimitedConfig) (*Unlimited[T], error) {
	c, err := one("CreateUnlimited", config)
	if err != nil {
		return nil, err
	}
	sp := spec(scope.Pull, c.Name, c.Event, c.Unnamed)
	sp.Continuous = c.Continuous
	if s != nil && s.head != nil {
		sp.Pull = s.head.pull
	}
	h, enc, err := register(p, s, sp, c.Encoding)
	if err != nil {
		return nil, err
	}
	s.head.claim(h.Name(), enc, h.Feed(), nil)
	return &Unlimited[T]{ref: h, handle: h}, nil
}

// register makes sp's channel in o and leaves s's head reserved for it; on an
// error s is as it was.
func register[T any](o scope.Owner, s *Stream[T], sp scope.Spec, e Encoding) (*scope.Handle, Encoding, error) {
	defer runtime.KeepAlive(s)
	enc, err := encodingFor[T](e)
	if err == nil {
		err = errors.Join(checkOwner(o), checkStream(s))
	}
	if err != nil {
		return nil, nil, named(sp.Name, err)
	}
	if err := s.head.reserve(); err != nil {
		return nil, nil, named(sp.Name, err)
	}
	sp.Type = carriedAs[T](enc)
	sp.Stop = s.head.stopper()
	h, err := scope.Register(o, sp)
	if err != nil {
		s.head.release()
		return nil, nil, named(sp.Name, err)
	}
	return h, enc, nil
}

func checkOwner(o scope.Owner) error {
	switch o := o.(type) {
	case *scope.ClientProcess:
		if o == nil {
			return fmt.Errorf("%w: it is nil", ErrNoProcess)
		}
	case *scope.Site:
		if o == nil {
			return fmt.Errorf("%w: the *scope.Site is nil", ErrBadConfig)
		}
	case nil:
		return fmt.Errorf("%w: the owner is nil: give a *scope.Site or a *scope.ClientProcess", ErrBadConfig)
	}
	return nil
}

func checkStream[T any](s *Stream[T]) error {
	switch {
	case s == nil:
		return fmt.Errorf("%w: the stream is nil: make one with From, FromChan, FromSeq or Push", ErrBadConfig)
	case s.head == nil && s.err == nil:
		return fmt.Errorf("%w: the stream is empty: make one with From, FromChan, FromSeq or Push", ErrBadConfig)
	}
	return s.err
}
