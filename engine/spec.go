package engine

import (
	"fmt"
	"time"
)

// What Spec.Normal puts in place of 0, for programs that use an engine by itself:
// a Comet channel always names both bounds, its own defaults being 1000 and 8 MiB.
const (
	DefaultSize     = 1000
	DefaultMaxBytes = 16 << 20
)

// Spec is what a log keeps. Both bounds are exact: a position with Size entries
// and MaxBytes bytes after it can be resumed from, one with more of either
// cannot. The newest entry is always kept, since Append refuses an item over
// MaxBytes.
type Spec struct {
	// Size is how many entries are kept; 0 means DefaultSize.
	Size int
	// MaxBytes is how many bytes of Data are kept; 0 means DefaultMaxBytes.
	MaxBytes int
	// Newest logs keep one entry, whatever Size says, and are never trimmed: what
	// a newer entry replaced is not missed, so Read gives the kept one to anyone
	// behind it.
	Newest bool
	// IdleTTL is the least time that a log is kept without an Ensure, an Append or
	// a watcher on any node; after it the engine deletes the log, as Delete does,
	// at the latest when the name is used again. 0 keeps it for ever.
	IdleTTL time.Duration
}

// Normal returns s with its defaults filled in, which is the form that engines
// keep, compare and give back. A negative field is ErrBadSpec.
func (s Spec) Normal() (Spec, error) {
	if s.Size < 0 || s.MaxBytes < 0 || s.IdleTTL < 0 {
		return Spec{}, fmt.Errorf("%w: %+v: no field may be negative; 0 is the default", ErrBadSpec, s)
	}
	switch {
	case s.Newest:
		s.Size = 1
	case s.Size == 0:
		s.Size = DefaultSize
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = DefaultMaxBytes
	}
	return s, nil
}
