package scope

import (
	"context"
	"time"

	"github.com/ocsigo/comet/engine"
)

const (
	// maxReading is how many calls that read logs a Site has open at its engine.
	maxReading = 8

	// readWithin is how long one may take: none keeps its place for good.
	readWithin = 10 * time.Second
)

// A gate lets a few calls at a time through to the engine. When a node comes back
// all of its logs are read again, and all of its tabs ask for what they missed: an
// engine that answers them all at once answers none in time.
type gate chan struct{}

// through makes one call of the engine as soon as there is a place, within ctx.
func through[R any](ctx context.Context, g gate, call func(context.Context) (R, error)) (r R, err error) {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return r, ctx.Err()
	}
	defer func() { <-g }()
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	return call(ctx)
}

func (f *follower) askRead(ctx context.Context, after engine.Position, max int) (engine.Batch, error) {
	return through(ctx, f.gate, func(ctx context.Context) (engine.Batch, error) { return f.log.Read(ctx, f.name, after, max) })
}

func (f *follower) askLast(ctx context.Context) (engine.Batch, error) {
	return through(ctx, f.gate, func(ctx context.Context) (engine.Batch, error) { return f.log.Last(ctx, f.name, f.size) })
}

func (f *follower) askTail(ctx context.Context) (engine.Position, error) {
	return through(ctx, f.gate, func(ctx context.Context) (engine.Position, error) { return f.log.Tail(ctx, f.name) })
}
