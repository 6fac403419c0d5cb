package channel

import (
	"context"
	"errors"
	"fmt"

	"github.com/ocsigo/comet/engine"
	"github.com/ocsigo/comet/scope"
)

// DuplexConfig says what CreateDuplex cannot know. Every field is optional.
type DuplexConfig[In any] struct {
	// Channel is the channel's, its name the inbox's too.
	Channel Config
	// Receive is the inbox's. Name, Waiting and WaitingBytes have no meaning here:
	// the name is the channel's, and nothing waits.
	Receive ReceiveConfig[In]
}

// A Duplex is a channel that those who hear it may send to: Eliom's bus. It is
// itself a Ref, as a Channel is. Safe for concurrent use.
type Duplex[In, Out any] struct {
	ref
	channel *Channel[Out]
	sender  *Sender[Out]
	inbox   *scope.Inbox
}

// CreateDuplex makes a channel of Out in o, and an inbox of In of the same name:
// each value that a tab sends to it is given to accept, and what that makes of it
// is said in the channel, to all who hear it, the one who sent it included. accept
// adds what a page must not say of itself (who it is, when it was), or refuses:
// a *Refusal, which Refuse makes, is answered 422 with its message; any other
// error is logged, and answered 500 without it. Where In is Out and nothing is to
// be added, accept is AsSent. It runs while the page waits, one value of a tab at
// a time, for many tabs at once, for ten seconds at most.
//
// The answer {"state": "taken"} says that the value is in the channel. One that is
// repeated under its number, because a shared engine did not answer, is there once,
// if no more than two minutes have passed. Of several
// values in one command those before a refused one have been said; the answer
// tells how many. Who may not hear a site's channel, by Config.Allow, may not send
// to it either.
//
// A page that does not want to hear its own values tells them by what they say,
// such as an id that it made up: the order in the channel is the one that all
// pages share, so its own values are worth hearing.
//
// The Duplex is the channel's sender: the program says something itself by Send.
// It is open until Close, or until its owner ends. Errors: those of Create and of
// Receive, of which nothing remains.
func CreateDuplex[In, Out any](o scope.Owner, accept func(context.Context, Received[In]) (Out, error), config ...DuplexConfig[In]) (*Duplex[In, Out], error) {
	c, err := one("CreateDuplex", config)
	if err == nil {
		err = c.check(accept == nil)
	}
	if err != nil {
		return nil, err
	}
	sender, stream := Push[Out]()
	ch, err := Create(o, stream, c.Channel)
	if err != nil {
		return nil, err
	}
	d := &Duplex[In, Out]{ref: ch, channel: ch, sender: sender}
	c.Receive.Name = ch.Name()
	d.inbox, err = receive(o, c.Receive, true, func(ctx context.Context, values []arrival[In]) (int, error) {
		return d.say(ctx, accept, values) // holds the channel, also one without a name
	}, nil)
	if err != nil {
		ch.Close()
		return nil, err
	}
	return d, nil
}

// AsSent says to all what a tab sent, as it is: an accept for CreateDuplex.
func AsSent[T any](_ context.Context, r Received[T]) (T, error) { return r.Value, nil }

func (c *DuplexConfig[In]) check(noAccept bool) error {
	switch {
	case noAccept:
		return fmt.Errorf("%w: CreateDuplex needs a function that accepts values: AsSent takes them as they are", ErrBadConfig)
	case c.Receive.Name != "":
		return fmt.Errorf("%w: Receive.Name %q: a Duplex has one name, Channel.Name", ErrBadConfig, c.Receive.Name)
	case c.Receive.Waiting != 0 || c.Receive.WaitingBytes != 0:
		return fmt.Errorf("%w: nothing waits in front of a Duplex: leave Receive.Waiting and WaitingBytes out", ErrBadConfig)
	}
	return nil
}

// say puts values into the channel, one after the other, and tells how many.
func (d *Duplex[In, Out]) say(ctx context.Context, accept func(context.Context, Received[In]) (Out, error), values []arrival[In]) (taken int, err error) {
	for i, v := range values {
		out, err := accept(ctx, v.Received)
		if err == nil {
			err = unpublished(d.sender.sendOnce(ctx, v.id, out))
		}
		var refusal *Refusal
		switch {
		case err == nil:
		case errors.As(err, &refusal):
			return i, invalid(i, refusal)
		case errors.Is(err, ErrClosed):
			return i, &scope.CommandError{Code: "gone", Message: "the channel has ended"}
		default:
			return i, err
		}
	}
	return len(values), nil
}

// unpublished asks the page to send again what an engine did not take in time.
func unpublished(err error) error {
	for _, temporary := range []error{engine.ErrUnknown, engine.ErrUnavailable, context.DeadlineExceeded} {
		if errors.Is(err, temporary) && !errors.Is(err, ErrClosed) {
			return &scope.CommandError{
				Code: "full", RetryAfter: fullAgain,
				Message: "the channel cannot take values now: send this again, with the same number if it has one",
			}
		}
	}
	return err
}

// Name returns the name of the channel and of the inbox.
func (d *Duplex[In, Out]) Name() string { return d.channel.Name() }

// Send says v in the channel, as [Sender.Send].
func (d *Duplex[In, Out]) Send(ctx context.Context, v Out) error { return d.sender.Send(ctx, v) }

// History is as [Channel.History].
func (d *Duplex[In, Out]) History(n int) scope.Ref { return d.channel.History(n) }

// After is as [Channel.After].
func (d *Duplex[In, Out]) After(p engine.Position) scope.Ref { return d.channel.After(p) }

// Recent is as [Channel.Recent].
func (d *Duplex[In, Out]) Recent(ctx context.Context, n int) ([]Out, engine.Position, error) {
	return d.channel.Recent(ctx, n)
}

// Close ends the inbox and then the channel, as [Channel.Close].
func (d *Duplex[In, Out]) Close() {
	d.inbox.Close()
	d.channel.Close()
}

// Done is closed when the channel has ended, whatever the cause.
func (d *Duplex[In, Out]) Done() <-chan struct{} { return d.channel.Done() }

// Err is as [Channel.Err].
func (d *Duplex[In, Out]) Err() error { return d.channel.Err() }
