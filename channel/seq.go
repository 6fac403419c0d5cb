package channel

import (
	"context"
	"io"
	"iter"
)

// A seqSource runs an iterator on a goroutine of its own, which stands still
// between two demands: iter.Pull would be shorter, but its next cannot be given
// up, and a reader must be able to.
type seqSource[T any] struct {
	seq    func(context.Context) iter.Seq2[T, error]
	ctx    context.Context // the iterator's, ended by stop
	cancel context.CancelCauseFunc
	demand chan struct{}  // one for every value but the first; room for the one outstanding
	got    chan result[T] // room for the one outstanding

	// The reader's, of which there is one at a time.
	started, asked bool
}

type result[T any] struct {
	v   T
	err error
}

func newSeqSource[T any](seq func(context.Context) iter.Seq2[T, error]) *seqSource[T] {
	s := &seqSource[T]{seq: seq, demand: make(chan struct{}, 1), got: make(chan result[T], 1)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// next asks once: a demand whose reader gave up stands, and its value goes to
// the next reader.
func (s *seqSource[T]) next(ctx context.Context) (any, error) {
	switch {
	case !s.started:
		s.started = true
		go s.run()
	case !s.asked:
		s.demand <- struct{}{}
	}
	s.asked = true
	select {
	case r := <-s.got:
		s.asked = false
		return r.v, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *seqSource[T]) stop(cause error) { s.cancel(cause) }

// run answers the first demand and, by yield, all others; then it says how the
// iterator ended.
func (s *seqSource[T]) run() {
	end := result[T]{err: errExited}
	defer func() {
		select {
		case s.got <- end:
		case <-s.ctx.Done():
		}
	}()
	defer catch(&end.err)
	for v, err := range s.seq(s.ctx) {
		if err != nil {
			end.err = err
			return
		}
		if !s.yield(v) {
			return
		}
	}
	end.err = io.EOF
}

// yield hands over the value that was asked for and waits until another is.
func (s *seqSource[T]) yield(v T) bool {
	s.got <- result[T]{v: v}
	select {
	case <-s.demand:
		return s.ctx.Err() == nil
	case <-s.ctx.Done():
		return false
	}
}
