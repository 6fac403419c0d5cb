package channel

import (
	"context"
	"fmt"
	"iter"
	"runtime"
)

// A Stream is where a channel's values come from: a handle that one channel
// claims, once. Nothing is read before that. A second use is ErrReused and
// reads nothing; a constructor that fails leaves the stream as it was, for
// another try.
//
// From, FromChan and FromSeq make streams that their channel reads: as fast as
// values come for Create and CreateNewest, one at a time and when asked for
// CreateUnlimited. [Push] makes one that is sent to. The stream ends, and with
// it its channel, when the source says io.EOF; any other error, or a panic,
// ends the channel with that error. After its end a source is not read again.
//
// A Stream may be handed to another goroutine; its methods and the constructors
// are safe for concurrent use.
type Stream[T any] struct {
	head *head
	err  error // of the call that made the stream, told by whoever uses it
}

// StreamConfig bounds what may wait in front of a reader that reads when it
// likes: an unlimited channel over a Push, and the heads of a Clone.
type StreamConfig struct {
	Waiting      int // marshalled values. Default: 1000
	WaitingBytes int // their bytes together. Default: 8 MiB
}

var errNilSource = fmt.Errorf("%w: the stream's source is nil: give it a function or a Go channel", ErrBadConfig)

// From returns a stream of what next returns. next waits for a value until its
// context ends, and then returns the context's error; the context ends with the
// channel and carries no values of a request. For an unlimited channel it also
// ends when the tab goes away: next is called again when it is back. next is
// never called twice at a time. The error io.EOF ends the stream; any other
// one, also one that wraps io.EOF, ends it as a failure. In both cases the
// value is ignored.
func From[T any](next func(context.Context) (T, error)) *Stream[T] {
	if next == nil {
		return &Stream[T]{err: errNilSource}
	}
	return newStream[T](funcSource[T](next))
}

// FromChan returns a stream of what is received from c, which ends when c is
// closed. Once the channel has ended nobody receives from c: a goroutine that
// sends to it should also watch the channel's Done. Two streams over one c
// share its values out between them; to have them doubled, Clone one stream.
func FromChan[T any](c <-chan T) *Stream[T] {
	if c == nil {
		return &Stream[T]{err: errNilSource}
	}
	return newStream[T](chanSource[T](c))
}

// FromSeq returns a stream of what an iterator yields. The iterator runs on one
// goroutine of its own, which begins with the first demand and advances to the
// next value only when that is asked for. It ends when the iterator returns, or
// yields an error, or when the channel ends: then its context ends and its next
// yield returns false. An iterator that waits for something without watching
// its context keeps its goroutine for as long as that takes.
func FromSeq[T any](seq func(context.Context) iter.Seq2[T, error]) *Stream[T] {
	if seq == nil {
		return &Stream[T]{err: errNilSource}
	}
	return newStream[T](newSeqSource(seq))
}

func newStream[T any](src source) *Stream[T] {
	return streamOf[T](newFan(src, newQueue(defaultWaiting, defaultWaitingBytes), recode[T]))
}

// streamOf makes the handle. When it is dropped before a channel used it,
// nothing waits for its head any more.
func streamOf[T any](h *head) *Stream[T] {
	s := &Stream[T]{head: h}
	runtime.AddCleanup(s, (*head).abandon, h)
	return s
}

// Clone returns a second stream of the same values, from here on: the two are
// independent heads, each for one channel (Eliom's Lwt_stream.clone). No
// goroutine stands between them. Whichever needs a value reads the source, and
// what it reads waits for the other, marshalled: within the bounds of config,
// which holds for both, or else the defaults. A head that falls further behind
// loses what waits and ends with ErrFull; the others go on. So does a head that
// no channel uses: one that is kept only to be cloned again falls behind, too.
//
// Values that wait for a head without a channel wait as JSON. A channel with
// another encoding reads them back into a T and encodes that; T must survive
// it, and an interface type does not.
//
// A stream that a channel has claimed cannot be cloned: the clone is a stream
// that every constructor refuses with ErrReused. A config out of bounds is told
// in the same way, as ErrBadConfig.
func (s *Stream[T]) Clone(config ...StreamConfig) *Stream[T] {
	if s.err != nil {
		return &Stream[T]{err: s.err}
	}
	c, err := one("Clone", config)
	if err == nil {
		err = c.check()
	}
	var h *head
	if err == nil {
		h, err = s.head.fan.clone(s.head, c.limit)
	}
	runtime.KeepAlive(s)
	if err != nil {
		return &Stream[T]{err: err}
	}
	return streamOf[T](h)
}

func (c StreamConfig) check() error {
	if c.Waiting < 0 || c.WaitingBytes < 0 {
		return fmt.Errorf("%w: Waiting %d and WaitingBytes %d must not be negative; 0 is the default", ErrBadConfig, c.Waiting, c.WaitingBytes)
	}
	return nil
}

// limit sets the bounds that c names.
func (c StreamConfig) limit(q *queue) {
	if c.Waiting > 0 {
		q.maxValues = c.Waiting
	}
	if c.WaitingBytes > 0 {
		q.maxBytes = c.WaitingBytes
	}
}
