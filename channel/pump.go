package channel

import "context"

// pump carries values from a stream that is read to its channel: the one
// goroutine of such a channel. It ends with the stream, or with the channel,
// which then ends ctx. It holds the feed and never the Channel, so that an
// unnamed one can be collected while the pump waits.
//
// Whatever ends it ends the channel, visibly: also a value that the channel
// does not take.
func pump(ctx context.Context, h *head, f feed) {
	err := errExited
	defer func() { f.End(named(h.name, err)) }()
	err = carry(ctx, h, f)
}

func carry(ctx context.Context, h *head, f feed) error {
	for {
		data, err := h.next(ctx)
		if err != nil {
			return err
		}
		if err := f.Put(ctx, data); err != nil {
			return err
		}
	}
}
