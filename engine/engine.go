package engine

import (
	"context"
	"time"
)

// MaxID is the longest Item.ID in bytes.
const MaxID = 255

// Entry is one entry of a log.
type Entry struct {
	Position Position
	// Prev is the Seq of the entry before this one in this channel, also when that
	// one is no longer kept; the Seq of the genesis for the first of all.
	Prev uint64
	// PrevTag is the Tag of that entry; 0 where the engine makes none, or does not
	// know it here.
	PrevTag uint32
	// Data is shared by all readers and read-only.
	Data []byte
	// At is when the engine took the entry, by the engine's clock: for show, not
	// for order.
	At time.Time
}

// Item is what Append stores.
type Item struct {
	// ID makes the append idempotent: for at least two minutes after an item was
	// stored, another with the same ID in the same channel is not stored, and gets
	// the position of the first, whatever its Data. At most MaxID bytes. Empty
	// means none.
	ID   string
	Data []byte
}

// Info is what Ensure knows of a log.
type Info struct {
	Spec Spec     // in its Normal form
	Tail Position // the newest entry, or the genesis
}

// Batch is one answer of Read or Last.
type Batch struct {
	Entries []Entry
	// Top is the log's newest position as this same read saw it, the genesis of an
	// empty log. It is always valid when there is no error.
	Top Position
	// More says that Read left entries out because of its max.
	More bool
}

// Durability is what a nil error of Append promises.
type Durability int

const (
	None    Durability = iota // in this process's memory
	Primary                   // on one node; a failover may lose it
	Quorum                    // on a majority of nodes
)

// String returns the name in lower case.
func (d Durability) String() string {
	switch d {
	case None:
		return "none"
	case Primary:
		return "primary"
	case Quorum:
		return "quorum"
	}
	return "unknown durability"
}

// Caps is what an engine can do. It never changes during an engine's life.
type Caps struct {
	Durability Durability
	// MaxEntry is the largest Data in bytes.
	MaxEntry int
	// ContiguousSeq: the Seq after n is n+1 within a channel and epoch.
	ContiguousSeq bool
	// ReliableFeed: every entry is offered to every watcher exactly once, in order,
	// before its Append returns; Dirty comes only with the end of the log.
	ReliableFeed bool
	// Shared: other Sites see the same logs: those of other processes, or, of an
	// engine whose Durability is None, those of this one.
	Shared bool
	// Tags: positions of entries carry a Tag.
	Tags bool
	// Cluster: the engine is a Cluster, too.
	Cluster bool
}

// Sink hears of new entries. Its calls come one at a time and must neither block
// nor call the engine back (the stop function of its own Watch included): an
// engine may make them under the lock that orders the channel.
type Sink interface {
	// Offer hands over an entry that is in the log.
	Offer(Entry)
	// Dirty says that offers may have been lost (cause: why) and that the log has
	// to be asked. Causes ErrNoChannel and ErrClosed say that no offer will follow:
	// the log was deleted or has expired, the engine was closed.
	Dirty(cause error)
}

// Engine keeps logs. All methods may be called from any goroutines at once. Those
// with a context return soon after it ends, with its error, and check it before
// they do anything. The context bounds the call alone, not what the call began.
// A name that Name.Validate refuses is ErrBadName; a closed engine is ErrClosed.
type Engine interface {
	// Ensure makes the log if there is none, atomically among all who ask, and
	// returns what is there. An equal Spec (in Normal form) joins; another is
	// ErrSpecConflict, with the Info of what exists.
	Ensure(ctx context.Context, n Name, s Spec) (Info, error)

	// Append stores items in their order, not necessarily next to each other, and
	// returns one Position for each. A nil error means stored as Caps.Durability
	// says. On an error the items of the returned positions are certainly stored;
	// the others are certainly not, unless the error is ErrUnknown: then nobody
	// knows, and they may only be appended again under the same IDs. A context that
	// ends after the engine began is ErrUnknown too. ErrTooLarge and ErrNoChannel
	// store nothing.
	Append(ctx context.Context, n Name, items ...Item) ([]Position, error)

	// Read returns the entries after a position, ascending, at most max of them
	// (max < 1: as many as the engine likes, at least one if there is one). It is
	// complete: every entry after the position, up to the last returned, or an
	// error: ErrTrimmed, ErrEpoch, ErrStale, ErrNoChannel, ErrUnavailable. A Newest
	// log gives its entry if that is after the position, and is never ErrTrimmed.
	Read(ctx context.Context, n Name, after Position, max int) (Batch, error)

	// Last returns the newest k entries, or all if fewer are kept, ascending; none
	// for k < 1. It may be behind on no engine: what was acknowledged before the
	// call is in it.
	Last(ctx context.Context, n Name, k int) (Batch, error)

	// Tail returns the position of the newest entry, or the genesis of an empty
	// log. It is authoritative: what was acknowledged before the call is not after
	// it.
	Tail(ctx context.Context, n Name) (Position, error)

	// Tails is Tail for many names at once, at less than the cost of as many calls:
	// the position of each name in the order of the names, the zero Position for
	// one without a log. Each is authoritative by itself; together they are no
	// snapshot. One bad name is ErrBadName for all.
	Tails(ctx context.Context, names []Name) ([]Position, error)

	// Watch offers new entries to sink until stop is called. Every entry
	// acknowledged after Watch returned is offered, or else visible to Tail at
	// once. Without ReliableFeed an offer may be missing, doubled, late or out of
	// order; what the engine knows it lost, it tells by Dirty. After stop returned,
	// sink is not called any more; stop may be called twice, and not while holding
	// a lock that sink takes. A name without a log is ErrNoChannel.
	Watch(ctx context.Context, n Name, sink Sink) (stop func(), err error)

	// Delete ends the log; its watchers hear Dirty(ErrNoChannel). A log made later
	// under the name is a new life: positions of the old are ErrEpoch (or
	// ErrTrimmed) in it for ever. Deleting what is not there is no error.
	Delete(ctx context.Context, n Name) error

	// Caps says what the engine can do. It does not block.
	Caps() Caps

	// Health fails while appends and tails cannot be served from here.
	Health(ctx context.Context) error

	// Close ends the engine: watchers hear Dirty(ErrClosed), every later call is
	// ErrClosed, and once Close returned nothing of the engine runs and no sink is
	// called. It waits no longer than ctx allows. A second Close is no error.
	Close(ctx context.Context) error
}
