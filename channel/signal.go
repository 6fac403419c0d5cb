package channel

import (
	"bytes"
	"context"
	"fmt"
	"reflect"

	"github.com/ocsigo/comet/scope"
)

// A Signal is a value that changes, and a channel of what it changes to: Eliom's
// React.S. It always has a value. A page gets that and the changes after it in one
// step, by Sample; of changes that come faster than its connection takes them, it
// hears the newest. It is itself a Ref, by which a page hears the value too. Safe
// for concurrent use.
type Signal[T any] struct {
	ref
	handle *scope.Handle
	enc    Encoding
	cell   cell
	turn   chan struct{} // held by whoever changes the value; room for one
}

// A cell keeps a signal's value, encoded. What it returns is not to be changed.
type cell interface {
	value(ctx context.Context) ([]byte, error)
	// sample returns the value and a Ref that begins after it, in one step.
	sample(ctx context.Context) ([]byte, scope.Ref, error)
	put(ctx context.Context, data []byte) error
}

// CreateSignal makes a signal in o. In a Site it is a newest channel, whose log
// keeps the value: initial is its first, unless the log has one already, which on
// a shared engine another node may have set. In a ClientProcess it is an unlimited
// channel which is read whenever its tab can take the newest value and has not
// got it: by itself, or with pull=ask in the URL when the tab asks.
//
// Errors are those of CreateNewest and CreateUnlimited, and what the encoding says
// of initial; then nothing was made. It waits only for a shared engine.
func CreateSignal[T any](o scope.Owner, initial T, config ...NewestConfig) (*Signal[T], error) {
	c, err := one("CreateSignal", config)
	if err == nil {
		err = checkOwner(o)
	}
	if err != nil {
		return nil, err
	}
	enc, err := signalEncoding[T](c.Encoding)
	var first []byte
	if err == nil {
		first, err = encodeOne(enc, initial)
	}
	if err != nil {
		return nil, named(c.Name, err)
	}
	s := &Signal[T]{enc: enc, turn: make(chan struct{}, 1)}
	sp := spec(scope.Newest, c.Name, c.Event, c.Unnamed)
	sp.Type = carriedAs[T](enc)
	if _, private := o.(*scope.ClientProcess); private {
		s.handle, s.cell, err = tabCellOf(o, sp, first)
	} else {
		s.handle, s.cell, err = siteCell(o, sp, first)
	}
	if err != nil {
		return nil, named(c.Name, err)
	}
	s.ref = s.handle
	return s, nil
}

// signalEncoding is encodingFor, where values have to be read back too.
func signalEncoding[T any](e Encoding) (Encoding, error) {
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Interface && t.NumMethod() > 0 {
		return nil, fmt.Errorf("%w: a signal's value is read back from what was encoded, and that does not become a %v: name a type without methods of its own", ErrBadConfig, t)
	}
	return encodingFor[T](e)
}

// Name returns the name of the signal's channel.
func (s *Signal[T]) Name() string { return s.handle.Name() }

// Value returns the value: a fresh copy. It is what was set last, on whichever
// node; it waits only for a shared engine.
func (s *Signal[T]) Value(ctx context.Context) (v T, err error) {
	data, err := s.cell.value(ctx)
	if err == nil {
		err = decode(s.enc, data, &v)
	}
	return v, s.failed(err)
}

// Sample returns the value for a page to show, and a Ref for Open to what it
// changes to after, in one step: no change is missed between the two, and none is
// heard that the page shows already.
func (s *Signal[T]) Sample(ctx context.Context) (v T, after scope.Ref, err error) {
	data, after, err := s.cell.sample(ctx)
	if err == nil {
		err = decode(s.enc, data, &v)
	}
	if err != nil {
		return v, nil, s.failed(err)
	}
	return v, after, nil
}

// failed says of an error whether it is the signal's end.
func (s *Signal[T]) failed(err error) error {
	if cause := s.handle.Err(); err != nil && cause != nil {
		return ended(s.Name(), cause)
	}
	return named(s.Name(), err)
}

// Set changes the value to v, unless it is that already: then nothing is sent.
// Two values are the same when they are encoded alike. It marshals before it
// returns, as [Sender.Send], and has its errors, but for ErrUnclaimed and ErrFull.
func (s *Signal[T]) Set(ctx context.Context, v T) error {
	return s.change(ctx, func([]byte) (T, error) { return v, nil })
}

// Update changes the value to what change makes of it: no other Set or Update of
// this Signal comes between. Between the nodes of a shared engine the last write
// wins. change should be quick, for others wait, each as long as its ctx allows;
// its error changes nothing and is returned.
func (s *Signal[T]) Update(ctx context.Context, change func(T) (T, error)) error {
	return s.change(ctx, func(data []byte) (v T, err error) {
		if err := decode(s.enc, data, &v); err != nil {
			return v, err
		}
		return change(v)
	})
}

func (s *Signal[T]) change(ctx context.Context, change func([]byte) (T, error)) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if cause := s.handle.Err(); cause != nil {
		return ended(s.Name(), cause)
	}
	old, err := s.cell.value(ctx)
	if err != nil {
		return s.failed(err)
	}
	v, err := change(old)
	if err != nil {
		return err
	}
	data, err := encodeOne(s.enc, v)
	if err == nil && !bytes.Equal(old, data) {
		err = s.cell.put(ctx, data)
	}
	return s.failed(err)
}

// Close ends the signal's channel, as [Channel.Close].
func (s *Signal[T]) Close() { s.handle.Close() }

// Done is closed when the channel has ended, whatever the cause.
func (s *Signal[T]) Done() <-chan struct{} { return s.handle.Done() }

// Err is as [Channel.Err].
func (s *Signal[T]) Err() error { return named(s.Name(), s.handle.Err()) }
