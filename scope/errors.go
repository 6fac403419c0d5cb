package scope

import (
	"errors"
	"fmt"
)

// What scope answers. Each is wrapped with the name it concerns: compare with
// errors.Is.
var (
	// ErrFull: a private channel went over its size, or what a reader missed of
	// it is no longer kept. It is final.
	ErrFull = errors.New("channel is full")
	// ErrClosed: the channel was closed, by the app, the page or the end of its
	// process, or was collected.
	ErrClosed = errors.New("channel is closed")
	// ErrNameTaken: a living channel has the name, here or (as another kind of
	// channel) on the shared engine.
	ErrNameTaken = errors.New("channel name is taken")
	// ErrBadName: a name is 1 to 128 of A-Z a-z 0-9 _ . : / -, the first a letter,
	// a digit or _; and not open, error, message or comet:….
	ErrBadName = errors.New("bad channel name")
	// ErrBadSpec: the Spec contradicts itself or the owner.
	ErrBadSpec = errors.New("bad channel spec")
	// ErrNoProcess: no such client process: unknown, of another session, or ended.
	ErrNoProcess = errors.New("no client process")
	// ErrElsewhere: the client process lives on another node of the app, and so do
	// the Go values that belong to it. Route such requests to the node that made the
	// page (sticky sessions), or do what they do by commands, inboxes and site
	// channels, which reach every node.
	ErrElsewhere = errors.New("client process is on another node: make the balancer sticky for requests that name their tab, or use commands, inboxes and site channels")
	// ErrProcessGone: the client process ended.
	ErrProcessGone = errors.New("client process is gone")
	// ErrTooMany: a bound of the SiteConfig is reached.
	ErrTooMany = errors.New("too many")
	// ErrTooLarge: a message is over SiteConfig.MaxMessage or its channel's
	// MaxBytes. Nothing of it is kept.
	ErrTooLarge = errors.New("message is too large")
	// ErrNotFound: no living channel has the name.
	ErrNotFound = errors.New("no such channel")
	// ErrOtherType: the channel carries values of another type or encoding.
	ErrOtherType = errors.New("channel of another type")
	// ErrBadRef: a Ref cannot be heard by the event stream it was given to.
	ErrBadRef = errors.New("channel cannot be heard here")
	// ErrTooLong: the event stream's address would leave too little of the
	// request's header buffer for cookies.
	ErrTooLong = errors.New("event stream's address is too long")
	// ErrOver: the event stream is over for good; the answer is 204.
	ErrOver = errors.New("event stream is over")
	// ErrShutdown: the site was shut down.
	ErrShutdown = errors.New("site is shut down")
)

// PanicError is a panic in a source, or in an encoding while it carried a value.
// It ends the one channel it happened in, whose Err wraps it; the program goes
// on. It does not unwrap to a panicking error value: a panic with io.EOF is no
// graceful end.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the panicking goroutine's stack, as runtime/debug.Stack formats it
}

// Error returns what was given to panic, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }
