package middleware

import (
	"errors"

	"github.com/ocsigo/comet/internal/wire"
)

// causes are wire's, by the names that scope counts them under.
var causes = []struct {
	err  error
	name string
}{
	{wire.ErrWriteTimeout, "write_timeout"},
	{wire.ErrPeerSpoke, "peer_spoke"},
	{wire.ErrPeerClosed, "peer_closed"},
	{wire.ErrNotStarted, "not_started"},
	{wire.ErrShutdown, "shutdown"},
	{wire.ErrPanic, "panic"},
}

// causeOf names why a connection ended.
func causeOf(err error) string {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return "other"
}
