package engine

import "errors"

// What an Engine answers when it cannot do what it was asked. Engines wrap these
// with what was asked of them: compare with errors.Is.
var (
	// ErrTrimmed: an entry after the position was discarded, or the engine cannot
	// prove that none was. The reader hears full.
	ErrTrimmed = errors.New("engine: entries after this position are no longer kept")

	// ErrEpoch: the position belongs to another life of the log, or is not in the
	// history of this one. The reader hears full, reason reset.
	ErrEpoch = errors.New("engine: position of another epoch")

	// ErrStale: this replica is behind the position. Asking again, here or
	// elsewhere, will help; it must not be reported as trimmed.
	ErrStale = errors.New("engine: replica behind this position")

	// ErrNoChannel: no log has this name: never made, deleted, or expired by its
	// Spec.IdleTTL.
	ErrNoChannel = errors.New("engine: no such channel")

	// ErrSpecConflict: the log exists with another Spec.
	ErrSpecConflict = errors.New("engine: channel exists with another spec")

	// ErrUnavailable: the engine cannot serve this now (overloaded, electing,
	// disconnected). Nothing was done.
	ErrUnavailable = errors.New("engine: unavailable")

	// ErrUnknown: an Append ended without an answer, so its items may or may not be
	// stored. Only the same items under the same IDs may be appended again. Of an
	// Ask: whether the request was heard is not known.
	ErrUnknown = errors.New("engine: outcome unknown")

	// ErrTooLarge: an item is over the engine's MaxEntry or the log's MaxBytes, or
	// its ID is over MaxID. Nothing was stored.
	ErrTooLarge = errors.New("engine: too large")

	// ErrBadName and ErrBadSpec: Name.Validate and Spec.Normal say what is allowed.
	ErrBadName = errors.New("engine: bad name")
	ErrBadSpec = errors.New("engine: bad spec")

	// ErrNoNode: nobody serves this node; or it has no record, which means that it
	// is dead.
	ErrNoNode = errors.New("engine: no such node")

	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("engine: closed")
)

// Retryable reports whether the same call, made again without any change, may
// succeed and can do no harm: ErrUnavailable and ErrStale. It is false for
// everything that is also ErrUnknown, because a blind second Append could store
// twice: that one is safe only for items that carry an ID.
func Retryable(err error) bool {
	if errors.Is(err, ErrUnknown) {
		return false
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrStale)
}
