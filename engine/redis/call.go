package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ocsigo/comet/engine"
)

// call runs f on a goroutine and returns with its answer, or when ctx ends: a
// go-redis command that waits for its reply heeds no cancelled context. f goes on
// then until its command has an answer or the client's ReadTimeout has passed, and
// must hold nothing that the caller owns.
func call[R any](e *Engine, ctx context.Context, f func() (R, error)) (R, error) {
	var none R
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if !e.enter() {
		return none, engine.ErrClosed
	}
	if ctx.Done() == nil {
		defer e.leave()
		return f()
	}
	type answer struct {
		r   R
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		defer e.leave()
		r, err := f()
		answers <- answer{r, err}
	}()
	select {
	case a := <-answers:
		return a.r, a.err
	case <-ctx.Done():
	}
	select {
	case a := <-answers: // it came at the same time
		return a.r, a.err
	default:
		return none, ctx.Err()
	}
}

// once is a command that go-redis does not send a second time after a lost
// connection or a timeout, as it would another.
type once struct{ *goredis.Cmd }

func (once) NoRetry() bool { return true }

// run runs a script that may be run again after a lost answer.
func (e *Engine) run(ctx context.Context, s script, keys []string, args ...any) ([]any, error) {
	return e.eval(s, keys, args, func(cmd *goredis.Cmd) error { return e.client.Process(ctx, cmd) })
}

// runOnce runs a script that is sent at most once.
func (e *Engine) runOnce(ctx context.Context, s script, keys []string, args ...any) ([]any, error) {
	return e.eval(s, keys, args, func(cmd *goredis.Cmd) error { return e.client.Process(ctx, once{cmd}) })
}

// eval sends a script's digest, and its text where the server does not know it: a
// server that says so has run nothing.
func (e *Engine) eval(s script, keys []string, args []any, process func(*goredis.Cmd) error) ([]any, error) {
	cmd := evalCommand("evalsha", s.sha, keys, args)
	err := process(cmd)
	if goredis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = evalCommand("eval", s.source, keys, args)
		err = process(cmd)
	}
	if err != nil {
		return nil, err
	}
	if reply, ok := cmd.Val().([]any); ok {
		return reply, nil
	}
	return nil, nil
}

func evalCommand(name, script string, keys []string, args []any) *goredis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, name, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	cmd := goredis.NewCmd(context.Background(), append(all, args...)...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// errReplicas is that an entry was stored and Config.Replicas were not heard to have
// it in time.
type errReplicas struct{ got, want int64 }

func (e errReplicas) Error() string {
	return fmt.Sprintf("%d of the %d replicas that Config.Replicas asks for have confirmed it in time", e.got, e.want)
}

// runAndWait is runOnce followed by WAIT on the same connection, in one write: WAIT
// speaks of what its own connection wrote.
func (e *Engine) runAndWait(ctx context.Context, s script, keys []string, args ...any) ([]any, error) {
	node, err := e.master(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	var confirmed int64
	reply, err := e.eval(s, keys, args, func(cmd *goredis.Cmd) error {
		wait := goredis.NewCmd(context.Background(), "wait", e.config.Replicas, e.config.ReplicaTimeout.Milliseconds())
		pipe := node.Pipeline()
		_ = pipe.Process(ctx, once{cmd}) // only queued
		_ = pipe.Process(ctx, once{wait})
		if _, err := pipe.Exec(ctx); err != nil {
			if goredis.HasErrorPrefix(err, "MOVED") {
				e.reloadCluster(ctx)
			}
			return err
		}
		var err error
		confirmed, err = wait.Int64()
		return err
	})
	if err == nil && confirmed < int64(e.config.Replicas) {
		err = errReplicas{confirmed, int64(e.config.Replicas)}
	}
	return reply, err
}

// master returns a client of the one server that holds key.
func (e *Engine) master(ctx context.Context, key string) (goredis.UniversalClient, error) {
	if c, ok := e.client.(interface {
		MasterForKey(context.Context, string) (*goredis.Client, error)
	}); ok {
		return c.MasterForKey(ctx, key)
	}
	return e.client, nil
}

func (e *Engine) reloadCluster(ctx context.Context) {
	if c, ok := e.client.(interface{ ReloadState(context.Context) }); ok {
		c.ReloadState(ctx)
	}
}

// refusals begin the errors with which a server, or a proxy before it, has done
// nothing of a command and may do it later.
var refusals = []string{
	"READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "MISCONF", "OOM", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "MOVED",
	"ASK", "UNBLOCKED", "max number of clients", "NOAUTH", "WRONGPASS",
}

// outcome says what is known of a command that ended with err.
type outcome int

const (
	done     outcome = iota
	refused          // the server did nothing
	unsent           // it never reached the server
	unknown          // no answer came
	rejected         // the server did nothing, and will not
)

func outcomeOf(err error) outcome {
	var reply goredis.Error
	var network *net.OpError
	switch {
	case err == nil:
		return done
	case errors.As(err, &reply):
		for _, prefix := range refusals {
			if goredis.HasErrorPrefix(err, prefix) {
				return refused
			}
		}
		return rejected
	case errors.As(err, &network) && network.Op == "dial",
		errors.Is(err, goredis.ErrPoolTimeout), errors.Is(err, goredis.ErrPoolExhausted), errors.Is(err, goredis.ErrClosed):
		return unsent
	default:
		return unknown
	}
}

// readError is the contract's error of a call that changed nothing, or that may be
// made again without harm.
func readError(ctx context.Context, err error) error {
	switch {
	case err == nil, isOurs(err):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case outcomeOf(err) == rejected:
		return err
	}
	return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
}

// writeError is the contract's error of a call that must not be made twice.
func writeError(ctx context.Context, err error) error {
	var wait errReplicas
	switch o := outcomeOf(err); {
	case err == nil, isOurs(err):
		return err
	case errors.As(err, &wait):
		return fmt.Errorf("%w: %w", engine.ErrUnknown, err)
	case o == rejected:
		return err
	case o == refused, o == unsent:
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", engine.ErrUnknown, ctx.Err())
	}
	return fmt.Errorf("%w: %w", engine.ErrUnknown, err)
}

var contract = []error{
	engine.ErrTrimmed, engine.ErrEpoch, engine.ErrStale, engine.ErrNoChannel, engine.ErrSpecConflict, engine.ErrUnavailable,
	engine.ErrUnknown, engine.ErrTooLarge, engine.ErrBadName, engine.ErrBadSpec, engine.ErrNoNode, engine.ErrClosed,
}

// isOurs reports an error that is the contract's already.
func isOurs(err error) bool {
	return slices.ContainsFunc(contract, func(ours error) bool { return errors.Is(err, ours) })
}

func explain(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("engine/redis: %s %q: %w", op, name, err)
}
