// Package engine is the contract of the log behind a site channel.
//
// An [Engine] keeps, per [Name], the newest entries of one log. The log is the
// truth: a reader holds a [Position] and asks for what came after it with
// [Engine.Read], which answers completely or says by an error why it cannot.
// The live feed of [Engine.Watch] is only a hint that something is new; unless
// [Caps.ReliableFeed] says otherwise it may lose, duplicate, delay and reorder.
//
// The package engine/memory is the default engine, for one process. The package
// engine/enginetest proves that an implementation keeps this contract.
//
// # Positions
//
// A position names an entry of one log, or the log's genesis: the place before
// its first entry, which is what [Engine.Tail] gives for an empty log. Seq
// strictly increases within a channel and an epoch. It need not be contiguous
// (an engine may number all its channels together), and the genesis need not be
// at 0: nobody does arithmetic on it, positions are only compared.
//
// An epoch is one life of a log (or of many logs, when an engine says so for all
// of them at once). A position of another life is never mistaken for one of
// this: it gets [ErrEpoch].
//
// # The anchor rule
//
// A read after a position is complete only if the engine can prove that nothing
// after that position was discarded. Keeping the entry at the position itself
// (the anchor) is such a proof; so is a genesis of which nothing was trimmed; so
// are contiguous sequences whose oldest kept entry follows the anchor. Where
// there is no proof the answer is [ErrTrimmed], never a guess. An engine without
// contiguous sequences therefore keeps one entry more than Spec.Size and still
// answers as if it kept Size: more than Size entries after a position, or more
// than MaxBytes bytes, is ErrTrimmed on every engine.
//
// # From replay to live
//
// A reader that wants all of a log and then what is new does, in this order,
//
//	stop, err := e.Watch(ctx, name, sink) // interest first
//	tail, err := e.Tail(ctx, name)        // then the authoritative end
//
// and reads until tail; what the sink was offered meanwhile joins on by its Prev.
// An offer whose Prev is not the last position seen is a hole of the feed, and is
// mended by a Read. The last offers of all may be lost too, which no later one
// betrays: whoever watches a feed that is not reliable compares with [Engine.Tails]
// now and then.
//
// # Tags
//
// A store that copies to its replicas after it has answered may lose entries that
// it acknowledged when one of them takes over, and give their numbers to others in
// the same epoch. Its engine marks every entry with a Tag, which is part of the
// position: a position of what was lost is [ErrEpoch], and Prev with PrevTag is the
// predecessor and not merely one of its number.
//
// A tag tells nothing to a reader who has none of what was lost. Such a store begins
// another epoch whenever it may have lost something, and keeps its entries in it.
//
// # Who owns what
//
// An engine copies what Append is given before it returns. Entries handed out
// are shared between all readers: Data is read-only.
package engine
