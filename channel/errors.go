package channel

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/ocsigo/comet/scope"
)

// Errors of package scope under the names by which users of channels meet them.
// Every error of this package that concerns one channel is wrapped with that
// channel's name: compare with errors.Is.
var (
	// ErrFull: the bounded room in front of a reader is used up. It means
	//   - from [Sender.Send] without ErrClosed, in front of an unlimited channel:
	//     this one value was not taken, later ones may be;
	//   - from Send otherwise, and from Err: the channel has ended of it, because
	//     more than its Size waited for its tab, or what the tab missed is no
	//     longer kept, or its Clone's head fell behind. To go on, create another;
	//   - from a constructor: the stream is a Clone's head that fell behind.
	ErrFull = scope.ErrFull
	// ErrClosed: the channel has ended, or is not to be had.
	ErrClosed = scope.ErrClosed
	// ErrNameTaken: a living channel of the same owner has this name.
	ErrNameTaken = scope.ErrNameTaken
	// ErrBadName: the name or the event name is not one that may go over the
	// wire.
	ErrBadName = scope.ErrBadName
	// ErrNoProcess: the client process is missing or had ended before the call.
	ErrNoProcess = scope.ErrNoProcess
	// ErrProcessGone: the channel's client process has ended.
	ErrProcessGone = scope.ErrProcessGone
	// ErrBadConfig: a config contradicts itself, or there are two.
	ErrBadConfig = scope.ErrBadSpec
	// ErrTooMany: the client process has as many channels as the site allows.
	ErrTooMany = scope.ErrTooMany
	// ErrShutdown: the site was shut down.
	ErrShutdown = scope.ErrShutdown
	// ErrTooLarge: the marshalled value is larger than a message or the channel
	// may be.
	ErrTooLarge = scope.ErrTooLarge
	// ErrNotFound: the site has no channel of this name.
	ErrNotFound = scope.ErrNotFound
	// ErrOtherType: the channel carries another type, or carries it in another
	// encoding.
	ErrOtherType = scope.ErrOtherType
)

var (
	// ErrReused: the stream feeds, or has fed, another channel. [Stream.Clone]
	// gives a second head while there is time.
	ErrReused = errors.New("stream is already used; one stream feeds one channel, clone it before it is used")
	// ErrUnclaimed: no channel has been created over the sender's stream yet,
	// so that nobody could ever hear the value.
	ErrUnclaimed = errors.New("no channel uses the sender's stream yet")
)

// errExited ends the channel of a source that left its goroutine by
// runtime.Goexit.
var errExited = errors.New("the source ended its goroutine (runtime.Goexit)")

// PanicError is a panic in a source, or in an encoding while it carried a
// value; see [scope.PanicError].
type PanicError = scope.PanicError

// catch turns a panic of its deferring function into a *PanicError.
func catch(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

func isPanic(err error) bool {
	var p *PanicError
	return errors.As(err, &p)
}

// named says of which channel err speaks, unless it says so already, as scope's
// errors do. io.EOF is nobody's fault and stays as it is; an error around it is
// a failure, and told as one.
func named(name string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = failure{err}
	}
	prefix := "channel " + name + ": "
	if name == "" || strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	return fmt.Errorf("%s%w", prefix, err)
}

// A failure is an error that wraps io.EOF without being the end of a stream:
// what net/http says of a server that hung up is one. It is its error in all
// but that.
type failure struct{ err error }

func (f failure) Error() string        { return f.err.Error() }
func (f failure) As(target any) bool   { return errors.As(f.err, target) }
func (f failure) Is(target error) bool { return target != io.EOF && errors.Is(f.err, target) }

// ended is what a Sender says once its stream's last channel has ended with
// cause: it is ErrClosed and, but for a graceful end, the cause too.
func ended(name string, cause error) error {
	if cause == io.EOF || errors.Is(cause, ErrClosed) {
		return named(name, ErrClosed)
	}
	return named(name, fmt.Errorf("%w: %w", ErrClosed, cause))
}
