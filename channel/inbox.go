package channel

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/ocsigo/comet/scope"
)

// ReceiveConfig says what Receive cannot know. Every field is optional.
type ReceiveConfig[T any] struct {
	// Name is what the page sends to, as a channel's is; inboxes and channels have
	// their names apart. Default: a fresh name that cannot be guessed.
	Name string
	// Validate says what is wrong with a value: the page is told its error. It runs
	// while the page waits, for many pages at once.
	Validate func(T) error
	// Allow says whether a reader may send at all: nil for yes. Its error is not
	// told. ctx ends after ten seconds.
	Allow func(ctx context.Context, r scope.Reader) error
	// Rate is how many values a second one tab may send in the long run, and Burst
	// how many at once. Defaults: 50 and 100.
	Rate  float64
	Burst int
	// MaxValue is how long the JSON of one value may be, in bytes. Default: 16 KiB.
	// What a command may hold in all is SiteConfig.MaxCommand.
	MaxValue int
	// Waiting is how many values wait to be read, of all tabs together, and
	// WaitingBytes how much JSON these were. Defaults: 1000 and 8 MiB.
	Waiting, WaitingBytes int
}

// Received is a value that a tab sent, and who did.
type Received[T any] struct {
	Value   T
	Process *scope.ClientProcess // the tab's
	Reader  scope.Reader         // its session, and what Config.User makes of the request
}

// An Inbox is where the values arrive that tabs send: Eliom's server functions
// and React.Up, as a stream of Go values. Safe for concurrent use.
//
// In a Site it is open to every client process that knows its name and that Allow
// lets; in a ClientProcess to that tab alone, before a site's inbox of the same
// name. It is open until Close, or until its owner ends; nothing collects it.
type Inbox[T any] struct {
	inbox *scope.Inbox
	queue *inQueue[T]
}

// Receive opens an inbox in o. A page sends to it by a command, a POST to its
// event stream's URL, whether or not that is connected:
//
//	fetch(url, {method: "POST", body: new URLSearchParams({send: name, value: JSON.stringify(v)})})
//
// with several fields value for several values, of which then all or none are
// taken, and with n, which numbers the page's sends to the inbox from 1, so that
// it may repeat one whose answer was lost and have it taken once. The answer
// {"state": "taken"} says that the values wait to be read, after all that the tab
// sent before. Values of different tabs come in any order.
//
// A value has to be exactly one JSON value of a T as encoding/json reads it, with
// no field that T does not have, and not null where T has no nil. That, or what
// Validate says, is answered 422; what does not keep to Rate 429, and 503 when
// nobody reads and Waiting is reached, both with Retry-After. docs/sending.md has
// all of it.
//
// Errors: ErrBadConfig (two configs, fields out of bounds, a T that JSON cannot
// fill), ErrBadName, ErrNameTaken, ErrNoProcess, ErrTooMany (a process has as many
// inboxes as channels), ErrShutdown. It does not block.
func Receive[T any](o scope.Owner, config ...ReceiveConfig[T]) (*Inbox[T], error) {
	c, err := one("Receive", config)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, err
	}
	q := newInQueue[T](c.Waiting, c.WaitingBytes)
	inbox, err := receive(o, c, false, q.take, q.finish)
	if err != nil {
		return nil, err
	}
	return &Inbox[T]{inbox, q}, nil
}

func (c *ReceiveConfig[T]) check() error {
	if c.Waiting < 0 || c.WaitingBytes < 0 {
		return fmt.Errorf("%w: Waiting %d and WaitingBytes %d must not be negative; 0 is the default", ErrBadConfig, c.Waiting, c.WaitingBytes)
	}
	return nil
}

// Name returns what the page sends to.
func (i *Inbox[T]) Name() string { return i.inbox.Name() }

// Next waits for the next value. Each goes to one caller. After Close it returns
// those that wait, and then io.EOF; where the owner ended, ErrProcessGone or
// ErrShutdown. ctx's error loses no value. It fits From: the values of an inbox
// can be the source of a channel.
func (i *Inbox[T]) Next(ctx context.Context) (Received[T], error) {
	r, err := i.queue.next(ctx)
	return r, ofInbox(i.Name(), err)
}

// All yields what Next returns, until that is an error, which it yields last
// unless it is io.EOF.
func (i *Inbox[T]) All(ctx context.Context) iter.Seq2[Received[T], error] {
	return func(yield func(Received[T], error) bool) {
		for {
			r, err := i.Next(ctx)
			if err == io.EOF || !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the inbox: who sends is answered that there is none, and its name is
// free. What waits can still be read. It may be called again, and has no error
// result for the reason of [Sender.Close].
func (i *Inbox[T]) Close() { i.inbox.Close() }

// Done is closed when the inbox has ended, whatever the cause.
func (i *Inbox[T]) Done() <-chan struct{} { return i.inbox.Done() }

// Err is nil before Done is closed, then ErrClosed, ErrProcessGone or ErrShutdown.
func (i *Inbox[T]) Err() error { return ofInbox(i.Name(), i.inbox.Err()) }
