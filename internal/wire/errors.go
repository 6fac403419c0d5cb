package wire

import "errors"

// Causes given to [Source.Gone]; test with errors.Is. Each may be wrapped with
// what was observed.
var (
	// ErrPeerClosed: the peer closed the connection, or the connection broke.
	ErrPeerClosed = errors.New("wire: connection closed by peer")

	// ErrPeerSpoke: the peer went on sending after its request.
	ErrPeerSpoke = errors.New("wire: peer keeps sending after its request")

	// ErrWriteTimeout: the peer did not accept a write in time.
	ErrWriteTimeout = errors.New("wire: peer does not take what is written")

	// ErrNotStarted: there never was an event stream. The request was HEAD, or
	// something other than the event stream answered it.
	ErrNotStarted = errors.New("wire: event stream not started")

	// ErrShutdown: the server shuts down and waits for the connection. Only
	// in-memory connections end so.
	ErrShutdown = errors.New("wire: server is shutting down")

	// ErrPanic: a method of the Source panicked; the log has the stack.
	ErrPanic = errors.New("wire: panic in event stream")
)
