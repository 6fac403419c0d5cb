// Package memory is the default engine: logs in this process's memory.
//
// It knows one epoch, random for each Engine, so that positions and the cursors
// made of them stay short. What survives nothing (a restart, another process) is
// therefore always seen as another epoch, never as a hole.
//
// # Guarantees beyond the contract
//
// Sequences are contiguous in a channel. The feed is reliable: each entry is
// offered inside its Append, under the lock that orders the channel, to any
// number of watchers. An Append stores all its items or none, and its outcome is
// never unknown.
//
// A log made anew under the name of a deleted one starts above every sequence
// that any deleted log of the Engine used. All positions of the old life, its
// genesis included, are below the new genesis and get ErrEpoch; nothing is
// remembered of dead names. So the genesis of a log is not always at 0.
//
// # Costs and bounds
//
// An Engine has no goroutine and no timer. An idle log costs a few hundred bytes
// and its name; a busy one what its Spec lets it keep. IdleTTL is looked at when
// the name is used: a log that expired and is never asked for again stays until
// Close. The IDs of items are kept for two to four minutes of the channel's own
// appends, at most Config.MaxIDs of them a channel.
//
// # Prefork
//
// The children of Fiber's Prefork do not share memory: with this engine each
// would have its own logs. They need a Shared one.
package memory
