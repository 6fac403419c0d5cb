package engine

import (
	"fmt"
	"unicode/utf8"
)

// MaxName is the longest Prefix and the longest Channel in bytes.
const MaxName = 255

// Name names one log: a channel, and the prefix that is the namespace of one
// instance in an engine that several share.
type Name struct{ Prefix, Channel string }

// Validate returns ErrBadName unless both parts are valid UTF-8 of at most
// MaxName bytes and Channel is not empty. There is no other restriction: an
// engine encodes what its store cannot take as it is.
func (n Name) Validate() error {
	if n.Channel == "" {
		return fmt.Errorf("%w: the channel is empty", ErrBadName)
	}
	for _, part := range [...]string{n.Prefix, n.Channel} {
		if len(part) > MaxName {
			return fmt.Errorf("%w: %.40q… has %d bytes, at most %d are allowed", ErrBadName, part, len(part), MaxName)
		}
		if !utf8.ValidString(part) {
			return fmt.Errorf("%w: %q is not valid UTF-8", ErrBadName, part)
		}
	}
	return nil
}

// String returns "prefix/channel", or the channel alone without a prefix. It is
// for messages: two names may have the same String.
func (n Name) String() string {
	if n.Prefix == "" {
		return n.Channel
	}
	return n.Prefix + "/" + n.Channel
}
