package engine

import (
	"context"
	"fmt"
	"time"
)

// MaxNode is the longest Node.ID in bytes.
const MaxNode = 32

// Node names one process of an app among those that share a prefix. A process that
// starts again is another node.
type Node struct {
	Prefix string // as in Name
	ID     string // 1 to MaxNode of the characters 0-9 and a-z
}

// Validate returns ErrBadName unless Prefix is one that Name.Validate takes and ID
// has the form that the field says.
func (n Node) Validate() error {
	if err := (Name{Prefix: n.Prefix, Channel: "any"}).Validate(); err != nil {
		return err
	}
	if len(n.ID) < 1 || len(n.ID) > MaxNode || !allBase36(n.ID) {
		return fmt.Errorf("%w: node %.40q, want 1 to %d characters of 0-9 and a-z", ErrBadName, n.ID, MaxNode)
	}
	return nil
}

// String returns "prefix/id", or the ID alone without a prefix. It is for messages.
func (n Node) String() string { return Name{Prefix: n.Prefix, Channel: n.ID}.String() }

// An Answer answers one request that was asked of a node. It may block, and is
// called by a goroutine of its own for every request; ctx ends with the stop of
// its Serve. request is its to keep, and the reply is the engine's once returned.
type Answer func(ctx context.Context, request []byte) (reply []byte)

// Cluster is what an Engine can do besides where the nodes of an app find each
// other through it: they ask each other, and each keeps a record that says it
// lives. An engine that has it says so in Caps.Cluster; the methods have the
// manners of Engine's (contexts, ErrBadName, ErrClosed).
//
// Who asks tells three things apart. A node that nobody serves is ErrNoNode at
// once. One that serves and does not answer is ErrUnknown when the context ends:
// it is slow, or cut off, or has just died. Whether it is dead is what its record
// says, and nothing else.
type Cluster interface {
	// Serve has answer hear what is asked of n from now on: what is asked after
	// Serve returned reaches it. One process serves a node; what two do is not
	// defined. What is asked after stop returned does not reach answer, and the
	// contexts of those that still run have ended; stop does not wait for them, and
	// may be called twice. Close does what stop does.
	Serve(ctx context.Context, n Node, answer Answer) (stop func(), err error)

	// Ask asks n, and waits for the reply. Request and reply have at most
	// Caps.MaxEntry bytes: a longer request is ErrTooLarge, a longer reply ErrTooLarge
	// to who asked. ErrNoNode: nobody serves n, at once and not when the context
	// ends; nothing was done. ErrUnavailable: it was not sent. ErrUnknown, with the
	// context's error where that is why: it was sent, and no reply came.
	// A request is heard at most once.
	Ask(ctx context.Context, n Node, request []byte) (reply []byte, err error)

	// SetRecord creates or replaces the record of n: a few bytes that every node
	// may read. It lives for ttl from the time that the engine took it, which is
	// after the call began and before it returned; never less, and at most a second
	// more. ttl is at least MinTTL.
	SetRecord(ctx context.Context, n Node, record []byte, ttl time.Duration) error

	// Record returns the record of n; ErrNoNode when there is none, or it has
	// expired. It is authoritative: what was set before the call is seen, and a
	// replica that cannot know says ErrUnavailable.
	Record(ctx context.Context, n Node) (record []byte, err error)

	// DropRecord ends the record of n. One that is not there is no error.
	DropRecord(ctx context.Context, n Node) error

	// Records returns the records of all nodes of a prefix by their IDs. It may
	// be a moment behind.
	Records(ctx context.Context, prefix string) (map[string][]byte, error)
}

// MinTTL is the shortest life of a node's record, and MaxRecord its longest length
// in bytes; a longer one is ErrTooLarge.
const (
	MinTTL    = time.Second
	MaxRecord = 1024
)
