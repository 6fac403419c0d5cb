// Package scope is who may hear a channel, for how long, and from where.
//
// An app needs few names of it, and most under their names in package comet: a
// [Site] with its [SiteConfig] and Shutdown; a [ClientProcess] with its Token,
// Session, Done, Close, Active, WaitTimeout, WaitActive, AfterInactive and
// AfterActive; a [Reader] in Config.Allow; a [Ref] in a slice for Open; the
// errors. The rest is for package channel, where values have types, and package
// middleware, where HTTP happens. A rule that a comment names by its number is
// one of docs/rules.md.
//
// A Site is one application: it knows its site channels by name, its sessions
// and their client processes, and the event streams that carry them. A
// ClientProcess is one tab's page, with channels of its own. An EventStream is
// one connection's hearing: it merges any site channels and up to 16 processes,
// and after every event it knows how far it has come.
//
// This package has neither types of values nor HTTP: values are bytes here, a
// request is a Request, and a connection is whoever calls an EventStream's
// methods. It has no sockets and no clock but package time, so that all of it can
// be tested in a synctest bubble.
//
// # What is guaranteed
//
// An event stream hears each channel's values in order, each at most once
// between two cursors, and none is left out in silence: what it cannot have any
// more is named by comet:full with a reason (overflow, trimmed, reset, future,
// cursor), the end of a channel by comet:end or comet:closed, the end of a
// process by comet:gone. Every event that moves a position carries the cursor
// after it, and whoever presents that cursor goes on from there.
//
// A site channel's memory does not depend on its readers: they hold positions,
// its ring holds the values, and a reader too slow for the ring is told so and
// goes on with the oldest value kept. A private channel counts what its tab has
// not been sent; over its size it is full for good.
//
// A client process lives on the node that made it. Where the engine is an
// engine.Cluster its tab may come to any node of the app: that one relays, asking
// the owner for events and handing it commands. Every guarantee holds across nodes;
// a dead owner is told as gone within SiteConfig.Lease, a slow one is waited for.
//
// Nothing here waits while it holds a lock, and no event stream has a goroutine,
// unless it carries processes of other nodes, for each of which one asks their owner.
// Goroutines are besides: one read of each unlimited channel that was asked for, a
// repair of a follower that found a hole, one that wakes the readers of a channel
// with many, one that publishes for each channel with values on their way to a
// shared engine, one sweep a heartbeat that asks for sessions and permissions, on a
// shared engine now and then one that asks for its health and its tails, and one
// that keeps a node's record.
// Shutdown ends them all.
//
// What is published to a shared engine is tried again while that may help, under an
// ID that has it stored once, in order, within bounds: nil means stored. A node that
// its engine has been away from for long sends its event streams away until it is
// back.
//
// # Less formally
//
// Ask a Site for a Link to what a page should hear, and put it into the page.
// Open the link, and you hear everything since. Come back with the last id you
// heard, and you hear everything since that. If you cannot have something, you
// are told what, and why.
package scope
